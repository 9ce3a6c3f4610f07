/**
 * The eviction policies a user names: built-in names, `all`, and paths of files of one's own (erasable TypeScript or
 * JavaScript that exports `policy`), separated by commas. A mistake is one line: the nearest name, or what the file lacks.
 */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { EvictPolicyType } from "../../kernel/abi/evict.ts";
import { EVICT_POLICIES } from "../../mm/index.ts";
import { UserError } from "./exit.ts";
import { suggestion } from "./nearest.ts";

const isPath = (word: string): boolean => /[/\\]|\.[cm]?[jt]s$/.test(word);

async function fromFile(path: string): Promise<EvictPolicyType> {
  if (!existsSync(path)) throw new UserError(`there is no policy file ${path}`);
  let loaded: unknown;
  try {
    loaded = await import(pathToFileURL(resolve(path)).href);
  } catch (error) {
    throw new UserError(
      `policy file ${path} cannot be loaded: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  const type = (loaded as { policy?: unknown }).policy;
  if (typeof type !== "object" || type === null)
    throw new UserError(`policy file ${path} exports no "policy"; see examples/evict_mru.ts`);
  const { name, help, create } = type as Partial<EvictPolicyType>;
  for (const [what, value, kind] of [
    ["name", name, "string"],
    ["help", help, "string"],
    ["create", create, "function"],
  ] as const)
    if (typeof value !== kind) throw new UserError(`policy file ${path}: policy.${what} is not a ${kind}`);
  return type as EvictPolicyType;
}

export async function evictPolicies(words: string): Promise<EvictPolicyType[]> {
  const chosen: EvictPolicyType[] = [];
  for (const word of words.split(",").map((part) => part.trim())) {
    const found = EVICT_POLICIES.find((type) => type.name === word);
    if (word === "all") chosen.push(...EVICT_POLICIES);
    else if (found !== undefined) chosen.push(found);
    else if (isPath(word)) chosen.push(await fromFile(word));
    else {
      const names = [...EVICT_POLICIES.map((type) => type.name), "all"];
      throw new UserError(`there is no eviction policy "${word}"${suggestion(word, names)}`);
    }
  }
  return chosen;
}

/**
 * Policies by name or path: the four that come with the house, or a user's own file.
 *
 * - POLICIES                  names of the built-in ones
 * - loadPolicy(text)          what boot needs to have it; a mistake is one line that names the nearest
 */
import { existsSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { PolicyFactory } from "../../kernel/abi/sched.ts";
import type { Feature } from "../../kernel/worlds.ts";
import { UserError } from "../cli/exit.ts";
import { suggestion } from "../cli/nearest.ts";

/** Name -> the feature that brings it; cfs is the kernel's default and needs none. */
const FEATURE_OF = {
  fifo: "SCHED_FIFO",
  rr: "SCHED_RR",
  cfs: undefined,
  eevdf: "SCHED_EEVDF",
} as const satisfies Record<string, Feature | undefined>;
export type PolicyName = keyof typeof FEATURE_OF;
export const POLICIES = Object.keys(FEATURE_OF) as readonly PolicyName[];

export interface ChosenPolicy {
  /** As the user wrote it, for tables. */
  readonly name: string;
  readonly feature: Feature | undefined;
  readonly factory: PolicyFactory | undefined;
  /** The file it came from. */
  readonly file: string | undefined;
}

export const builtIn = (name: PolicyName): ChosenPolicy => ({
  name,
  feature: FEATURE_OF[name],
  factory: undefined,
  file: undefined,
});

export async function loadPolicy(text: string): Promise<ChosenPolicy> {
  if (Object.hasOwn(FEATURE_OF, text)) return builtIn(text as PolicyName);
  const isPath = /[/\\]|\.[cm]?[jt]s$/.test(text);
  if (!isPath)
    throw new UserError(`no policy is named "${text}"${suggestion(text, POLICIES)}; your own: --policy ./my_policy.ts`);
  if (!existsSync(text) || !statSync(text).isFile()) throw new UserError(`--policy ${text}: there is no such file`);
  let module: Readonly<Record<string, unknown>>;
  try {
    module = (await import(pathToFileURL(resolve(text)).href)) as typeof module;
  } catch (error) {
    throw new UserError(`--policy ${text} cannot be loaded: ${error instanceof Error ? error.message : String(error)}`);
  }
  const { policy } = module;
  if (typeof policy !== "function")
    throw new UserError(`--policy ${text} exports no function "policy" (kernel) => ({ name, enqueue, ... })`);
  return { name: text, feature: "SCHED_CUSTOM", factory: policy as PolicyFactory, file: text };
}

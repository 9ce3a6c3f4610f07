/**
 * Workloads of a booted machine by name or path: those of userspace/, or a user's own file, which exports `workload`.
 *
 * - loadWorkload(text)    a mistake is one line that names the nearest
 */
import { existsSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { UserWorkload } from "../../kernel/abi/program.ts";
import { WORKLOADS } from "../../userspace/index.ts";
import { UserError } from "../cli/exit.ts";
import { suggestion } from "../cli/nearest.ts";

export async function loadWorkload(text: string): Promise<UserWorkload> {
  const known = WORKLOADS.find(({ name }) => name === text);
  if (known !== undefined) return known;
  const names = WORKLOADS.map(({ name }) => name);
  if (!/[/\\]|\.[cm]?[jt]s$/.test(text))
    throw new UserError(`no workload is named "${text}"${suggestion(text, names)}; your own: --workload ./my_load.ts`);
  if (!existsSync(text) || !statSync(text).isFile()) throw new UserError(`--workload ${text}: there is no such file`);
  let module: Readonly<Record<string, unknown>>;
  try {
    module = (await import(pathToFileURL(resolve(text)).href)) as typeof module;
  } catch (error) {
    throw new UserError(
      `--workload ${text} cannot be loaded: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  const workload = module["workload"] as Partial<UserWorkload> | undefined;
  if (typeof workload !== "object" || typeof workload.tasks !== "function")
    throw new UserError(`--workload ${text} exports no "workload" { name, help, tasks(machine) }`);
  return { name: workload.name ?? text, help: workload.help ?? "", tasks: workload.tasks };
}

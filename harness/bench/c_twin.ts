/**
 * A benchmark's plain C twin: our own reference in the language that has no runtime to hide behind, compiled when a C
 * compiler is there. It stands beside the benchmark as NAME_twin.c.
 *
 * - buildTwin(source, dir)   path of the program, or why there is none
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export type Twin = { readonly program: string } | { readonly missing: string };

export function buildTwin(source: URL, dir: string): Twin {
  const path = fileURLToPath(source);
  if (!existsSync(path)) return { missing: "the C source is in the checkout only" };
  const program = join(dir, "twin");
  const cc = spawnSync("cc", ["-O2", "-o", program, path, "-lm"], { encoding: "utf8" });
  if (cc.error !== undefined) return { missing: "there is no C compiler (apt-get install gcc)" };
  if (cc.status !== 0) return { missing: `cc failed: ${cc.stderr.split("\n")[0] ?? ""}` };
  return { program };
}

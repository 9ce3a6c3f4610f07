/** RUN on the command line: an ID below orrery-runs, a run's directory, or its manifest. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { UserError } from "../cli/exit.ts";
import { nearest } from "../cli/nearest.ts";
import { MANIFEST_NAME, readManifest } from "./manifest.ts";
import type { Manifest } from "./manifest.ts";
import { RUNS_DIR } from "./runs_dir.ts";

export interface FoundRun {
  readonly dir: string;
  readonly manifest: Manifest;
}

export function findRun(name: string): FoundRun {
  for (const path of [name, join(RUNS_DIR, name)]) {
    if (!existsSync(path)) continue;
    if (statSync(path).isFile()) return { dir: dirname(path), manifest: readManifest(path) };
    const manifest = join(path, MANIFEST_NAME);
    if (existsSync(manifest)) return { dir: path, manifest: readManifest(manifest) };
    throw new UserError(`${path} holds no ${MANIFEST_NAME}: that run was not finished, or it is no run`);
  }
  const known = existsSync(RUNS_DIR) ? readdirSync(RUNS_DIR).sort() : [];
  const near = nearest(basename(name), known);
  const hint = near === undefined ? `; runs lie in ${RUNS_DIR}` : ` (did you mean ${near}?)`;
  throw new UserError(`no run, directory or manifest "${name}"${hint}`);
}

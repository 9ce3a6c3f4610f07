/**
 * The manifest of a run: what was run, on what, with which sources, and the hash of all that happened. `orrery replay`
 * reaches the same hash from it. manifest.json is written last: a run directory without one was not finished.
 *
 * - readManifest(file)    checked field by field; a damaged or newer one is a UserError that names file and field
 * - writeManifest(...)    whole or not at all
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { z } from "zod";
import { UserError } from "../cli/exit.ts";

export const MANIFEST_SCHEMA = 1;
export const MANIFEST_NAME = "manifest.json";

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, "64 hexadecimal digits");

const manifest = z.strictObject({
  schema: z.literal(MANIFEST_SCHEMA),
  id: z.string().min(1),
  /** Name of the command without options: `sched fair`. */
  command: z.string().min(1),
  /** Words after `orrery`, without --out. */
  argv: z.array(z.string()),
  /** Where relative paths among them begin. */
  cwd: z.string(),
  started: z.iso.datetime(),
  seconds: z.number().nonnegative(),
  orrery: z.string(),
  node: z.string(),
  platform: z.string(),
  revision: z.string().nullable(),
  /** The checkout had changes beyond the revision; null without one. */
  dirty: z.boolean().nullable(),
  lockHash: sha256.nullable(),
  seed: z.int().nonnegative().nullable(),
  /** Hash of every option's value, defaults among them: equal hashes mean the same experiment. */
  configHash: sha256,
  /** Null: the run has no event log, or is declared nondeterministic. */
  eventLogHash: sha256.nullable(),
  inputs: z.array(z.strictObject({ path: z.string(), bytes: z.int().nonnegative(), sha256 })),
  /** Files that options asked for outside the run's directory; a replay writes elsewhere. */
  outputs: z.array(z.string()),
});
export type Manifest = z.infer<typeof manifest>;

export function readManifest(file: string): Manifest {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new UserError(`cannot read the manifest ${file}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new UserError(`${file} is no manifest: it is not whole JSON (${text.length} characters)`);
  }
  const parsed = manifest.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  const where = issue.path.length === 0 ? "the document" : issue.path.join(".");
  throw new UserError(`${file} is no manifest of schema ${MANIFEST_SCHEMA}: ${where}: ${issue.message}`);
}

export function writeManifest(file: string, value: Manifest): void {
  const draft = `${file}.new`;
  writeFileSync(draft, `${JSON.stringify(manifest.parse(value), null, 2)}\n`);
  renameSync(draft, file);
}

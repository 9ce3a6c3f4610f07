/**
 * `orrery replay RUN`: runs the recorded command again, in a process of its own and a directory that is thrown away,
 * and compares the hash of the event log. 0 the same, 1 another, 2 the manifest is damaged or its inputs have changed.
 */
import { createHash } from "node:crypto";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { MANIFEST_NAME, readManifest } from "../run/manifest.ts";
import type { Manifest } from "../run/manifest.ts";
import { findRun } from "../run/find_run.ts";
import { formatOption } from "./args.ts";
import { EXIT, UserError } from "./exit.ts";
import { commandLine } from "./invocation.ts";
import { emit } from "./output.ts";
import type { Format } from "./output.ts";
import { packageRoot } from "./package.ts";
import { progressLine } from "./progress.ts";

export function register(program: Command): void {
  program
    .command("replay")
    .description("Run a recorded command again and compare the hash of its event log: exit code 1 when it differs.")
    .argument("<run>", "ID, directory or manifest of the run")
    .addOption(formatOption("json"))
    .action(async (name: string, { format }: { format: Format }) => {
      const { manifest } = findRun(name);
      const recorded = manifest.eventLogHash;
      if (recorded === null)
        throw new UserError(`run ${manifest.id} (${manifest.command}) recorded no event-log hash: nothing to compare`);
      const cwd = existsSync(manifest.cwd) ? manifest.cwd : process.cwd();
      for (const input of manifest.inputs) checkInput(input, cwd);
      const replayed = await runAgain(manifest, cwd);
      const same = replayed === recorded;
      const facts = { run: manifest.id, seed: manifest.seed, recorded, replayed, same };
      const title = `${same ? "same event log" : "ANOTHER event log"}: ${commandLine(manifest.argv, manifest.seed)}`;
      const rows = Object.entries(facts).map(([what, value]) => ({ what, value }));
      emit(format, { document: { schema: 1, ...facts }, rows, title });
      if (!same) process.exitCode = EXIT.missed;
    });
}

function checkInput(input: Manifest["inputs"][number], cwd: string): void {
  const file = resolve(cwd, input.path);
  if (!existsSync(file)) throw new UserError(`the run's input ${file} is not there any more`);
  const hash = createHash("sha256").update(readFileSync(file)).digest("hex");
  if (hash !== input.sha256) throw new UserError(`the run's input ${file} has changed since (SHA-256 ${hash})`);
}

/** The event-log hash of the second run. */
async function runAgain(manifest: Manifest, cwd: string): Promise<string | null> {
  const scratch = mkdtempSync(join(tmpdir(), "orrery-replay-"));
  const line = progressLine(`replay ${manifest.id}`);
  line.update(commandLine(manifest.argv));
  try {
    const out = join(scratch, "run");
    const aside = (word: string): string => {
      const at = manifest.outputs.findIndex((path) => path === word || word.endsWith(`=${path}`));
      return at < 0 ? word : word.slice(0, word.length - manifest.outputs[at]!.length) + join(scratch, `output-${at}`);
    };
    const words = [...manifest.argv.map(aside), "--out", out];
    const { code, errors } = await runOrrery(words, cwd);
    const written = join(out, MANIFEST_NAME);
    if (!existsSync(written))
      throw new UserError(`the recorded command failed (exit code ${code}): ${errors.trim() || "it left no manifest"}`);
    return readManifest(written).eventLogHash;
  } finally {
    line.end();
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function runOrrery(words: readonly string[], cwd: string): Promise<{ code: number | null; errors: string }> {
  const launcher = join(packageRoot, "harness", "launcher.js");
  const child = spawn(process.execPath, [launcher, ...words], { cwd, stdio: ["ignore", "ignore", "pipe"] });
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
  const code = await new Promise<number | null>((done, failed) => child.on("error", failed).on("close", done));
  return { code, errors };
}

/**
 * `orrery doctor`: what this machine has and lacks, what each lack costs, and the one command that mends it. 0 when all
 * that any command may need is there, else 4 (a tool) or 2 (Node, packages, or no place to write).
 */
import { accessSync, constants, existsSync, mkdirSync, rmdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { availableParallelism, totalmem } from "node:os";
import type { Command } from "commander";
import { RUNS_DIR } from "../run/runs_dir.ts";
import { aptCommand, findProgram, missingTools, TOOLS } from "../tools.js";
import { formatOption } from "./args.ts";
import { EXIT } from "./exit.ts";
import { emit } from "./output.ts";
import type { Format } from "./output.ts";
import { packageRoot } from "./package.ts";

interface Check {
  readonly [column: string]: string | boolean;
  readonly part: string;
  readonly ok: boolean;
  /** What was found, or what its lack costs. */
  readonly detail: string;
  /** The command that mends it; empty when nothing is to be mended. */
  readonly mend: string;
}

export function register(program: Command): void {
  program
    .command("doctor")
    .description("Say what is there, what is missing, and the one command that mends it. 4 when a tool is missing.")
    .addOption(formatOption("json"))
    .action(({ format }: { format: Format }) => {
      const groups = Object.keys(TOOLS);
      const missing = missingTools(groups);
      const tools = groups.flatMap((group) => TOOLS[group]!.map((tool) => toolCheck(tool)));
      const own = [nodeCheck(), packagesCheck(), spaceCheck(), coresCheck()];
      const mend = missing.length === 0 ? null : aptCommand(missing);
      const checks = [...own, ...tools];
      const broken = own.some((check) => !check.ok);
      const rows = checks.map(({ part, ok, detail }) => ({ part, there: ok ? "yes" : "NO", detail }));
      const notes = own.filter((check) => check.mend !== "").map((check) => `mend: ${check.mend}`);
      if (mend !== null) notes.push(`mend: ${mend}`);
      if (notes.length === 0) notes.push("nothing is missing");
      emit(format, { document: { schema: 1, ok: !broken && mend === null, mend, checks }, rows, notes });
      if (broken) process.exitCode = EXIT.usage;
      else if (mend !== null) process.exitCode = EXIT.tool;
    });
}

function toolCheck(tool: { program: string; package: string; why: string }): Check {
  const path = findProgram(tool.program);
  const detail = path ?? `for: ${tool.why}`;
  return { part: tool.program, ok: path !== undefined, detail, mend: path === undefined ? aptCommand([tool]) : "" };
}

/** The launcher lets no older Node this far: this row is for the reader. */
function nodeCheck(): Check {
  return { part: "node", ok: true, detail: `${process.versions.node} at ${process.execPath}`, mend: "" };
}

function packagesCheck(): Check {
  const lock = join(packageRoot, "package-lock.json");
  if (!existsSync(lock)) return { part: "packages", ok: true, detail: "installed with this package", mend: "" };
  const ok = existsSync(join(packageRoot, "node_modules", "commander"));
  return { part: "packages", ok, detail: ok ? "node_modules" : "node_modules is missing", mend: ok ? "" : "npm ci" };
}

/** Can a run be written here? The nearest folder that exists decides. */
function spaceCheck(): Check {
  let folder = resolve(RUNS_DIR);
  while (!existsSync(folder)) folder = dirname(folder);
  try {
    accessSync(folder, constants.W_OK);
    const probe = join(folder, `.orrery-doctor-${process.pid}`);
    mkdirSync(probe);
    rmdirSync(probe);
    return { part: "runs", ok: true, detail: `${resolve(RUNS_DIR)} can be written`, mend: "" };
  } catch {
    const detail = `${folder} cannot be written, and runs go to ${resolve(RUNS_DIR)}`;
    return { part: "runs", ok: false, detail, mend: "choose another directory with --out DIR" };
  }
}

function coresCheck(): Check {
  const cores = availableParallelism();
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB`;
  return { part: "machine", ok: true, detail: `${cores} core${cores === 1 ? "" : "s"}, ${memory}`, mend: "" };
}

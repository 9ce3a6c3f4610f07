/**
 * One run of a command and its directory.
 *
 * - openRun(command, out)   makes the directory (--out, or orrery-runs/ID) and starts the clock
 * - run.path(name)          a file of its own in the directory
 * - run.input(file)         notes a file that was read, with its hash: a replay refuses another content
 * - run.output(file)        notes a file outside the directory that an option asked for
 * - run.finish(facts)       writes result.json and, last, manifest.json
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { Command } from "commander";
import { UserError } from "../cli/exit.ts";
import { honestJson } from "../cli/output.ts";
import { packageRoot, packageVersion } from "../cli/package.ts";
import { pathOf } from "../cli/program.ts";
import { MANIFEST_NAME, MANIFEST_SCHEMA, writeManifest } from "./manifest.ts";
import type { Manifest } from "./manifest.ts";
import { gitState, lockHash } from "./revision.ts";
import { RUNS_DIR } from "./runs_dir.ts";

export interface RunFacts {
  readonly seed?: number;
  /** SHA-256 of the event log; leave out where there is none or it may differ. */
  readonly eventLogHash?: string;
  /** What --format json prints, kept as result.json. */
  readonly document?: unknown;
}

export interface Run {
  readonly id: string;
  readonly dir: string;
  path(name: string): string;
  input(file: string, content?: Uint8Array): void;
  output(file: string): void;
  finish(facts: RunFacts): void;
}

export function openRun(command: Command, out: string | undefined, now = new Date()): Run {
  const name = pathOf(command).split(" ").slice(1).join(" ");
  const { id, dir } = makeDirectory(idStem(name, command), out, now);
  const startedMs = performance.now();
  const inputs: Manifest["inputs"] = [];
  const outputs: string[] = [];
  return {
    id,
    dir,
    path: (file) => join(dir, file),
    input(file, content = readFileSync(file)) {
      inputs.push({ path: file, bytes: content.length, sha256: sha256(content) });
    },
    output: (file) => void outputs.push(file),
    finish({ seed, eventLogHash, document }) {
      if (document !== undefined) writeFileSync(join(dir, "result.json"), `${honestJson(document, 2)}\n`);
      const git = gitState(packageRoot);
      writeManifest(join(dir, MANIFEST_NAME), {
        schema: MANIFEST_SCHEMA,
        id,
        command: name,
        argv: withoutOut(process.argv.slice(2)),
        cwd: process.cwd(),
        started: now.toISOString(),
        seconds: Number(((performance.now() - startedMs) / 1000).toFixed(3)),
        orrery: packageVersion(),
        node: process.versions.node,
        platform: `${process.platform} ${process.arch}`,
        revision: git?.revision ?? null,
        dirty: git?.dirty ?? null,
        lockHash: lockHash(packageRoot),
        seed: seed ?? null,
        configHash: configHash(name, command),
        eventLogHash: eventLogHash ?? null,
        inputs,
        outputs,
      });
    },
  };
}

/** `fuzz-prng`: the command and, where it is a plain name, what it was about. */
function idStem(name: string, command: Command): string {
  const about = command.processedArgs
    .flat()
    .filter((word) => typeof word === "string" && /^[a-z0-9_]{1,20}$/.test(word));
  return [...name.split(" "), ...about.slice(0, 2)].join("-");
}

function makeDirectory(name: string, out: string | undefined, now: Date): { id: string; dir: string } {
  const stamp = now.toISOString().slice(0, 19).replaceAll(/[-:]/g, "").replace("T", "-");
  try {
    if (out !== undefined) {
      const dir = resolve(out);
      if (existsSync(join(dir, MANIFEST_NAME)))
        throw new UserError(`--out ${out} holds a run already: choose another directory, or remove it`);
      makeFolder(dir);
      return { id: `${name}-${stamp}`, dir };
    }
    makeFolder(resolve(RUNS_DIR));
    for (let count = 1; ; count++) {
      const id = `${name}-${stamp}${count === 1 ? "" : `-${count}`}`;
      const dir = resolve(RUNS_DIR, id);
      if (existsSync(dir)) continue;
      mkdirSync(dir);
      return { id, dir };
    }
  } catch (error) {
    if (error instanceof UserError) throw error;
    const reason = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new UserError(`cannot make the run's directory ${out ?? RUNS_DIR}: ${reason}; choose one with --out DIR`);
  }
}

/** Node's own recursive mkdir never returns on a path such as /proc/x, where a parent exists and mkdir says it does not. */
function makeFolder(folder: string): void {
  if (existsSync(folder)) return;
  makeFolder(dirname(folder));
  mkdirSync(folder);
}

/** Where a run's files go is no part of what was run. */
export function withoutOut(words: readonly string[]): string[] {
  const kept: string[] = [];
  for (let at = 0; at < words.length; at++) {
    if (words[at] === "--out") at++;
    else if (!words[at]!.startsWith("--out=")) kept.push(words[at]!);
  }
  return kept;
}

function configHash(name: string, command: Command): string {
  const { out: _out, format: _format, ...options } = command.opts();
  const sorted = Object.entries(options).sort(([a], [b]) => (a < b ? -1 : 1));
  return sha256(JSON.stringify([name, command.processedArgs, sorted]));
}

const sha256 = (content: string | Uint8Array): string => createHash("sha256").update(content).digest("hex");

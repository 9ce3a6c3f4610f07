/**
 * Traces as files: what a command reads when it is given a FILE or a RUN, and what it writes.
 *
 * - openTrace(name)             a file of ftrace text; or a run (ID, directory or manifest), whose trace it reads
 * - saveTrace(log, form, path)  ftrace text (packed with gzip if the name ends in .gz) or Perfetto; `-` is stdout
 * - RUN_TRACE                   the name of the trace in a run's directory
 *
 * A file is written beside its place and renamed at the end: half a trace is never left under the name asked for.
 */
import { createWriteStream, existsSync, renameSync, rmSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import type { EventLog } from "../../kernel/worlds.ts";
import { UserError } from "../cli/exit.ts";
import { findRun } from "../run/find_run.ts";
import { MANIFEST_NAME } from "../run/manifest.ts";
import { RUNS_DIR } from "../run/runs_dir.ts";
import { readFtrace } from "./ftrace_read.ts";
import type { Recording } from "./ftrace_read.ts";

export const RUN_TRACE = "trace.ftrace.gz";
export type TraceForm = "ftrace" | "perfetto";

export interface OpenedTrace extends Recording {
  /** The file it was read from. */
  readonly path: string;
}

export async function openTrace(name: string): Promise<OpenedTrace> {
  const path = pathOf(name);
  return { path, ...(await readFtrace(path)) };
}

function pathOf(name: string): string {
  const isRun = existsSync(name) ? statSync(name).isDirectory() : existsSync(join(RUNS_DIR, name));
  if (!isRun && basename(name) !== MANIFEST_NAME) return name;
  const { dir, manifest } = findRun(name);
  const path = join(dir, RUN_TRACE);
  if (!existsSync(path)) throw new UserError(`run ${manifest.id} (${manifest.command}) kept no trace: no ${path}`);
  return path;
}

export async function saveTrace(log: EventLog, form: TraceForm, path: string): Promise<void> {
  const pieces = form === "ftrace" ? (await import("./ftrace_write.ts")).ftraceText(log) : await perfettoPieces(log);
  const source = Readable.from(pieces);
  if (path === "-") {
    await pipeline(source, process.stdout, { end: false });
    return;
  }
  const part = `${path}.part`;
  try {
    if (path.endsWith(".gz")) await pipeline(source, createGzip(), createWriteStream(part));
    else await pipeline(source, createWriteStream(part));
    renameSync(part, path);
  } catch (error) {
    rmSync(part, { force: true });
    const reason = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new UserError(`cannot write ${path}: ${reason}; choose another file`);
  }
}

const perfettoPieces = async (log: EventLog): Promise<Iterable<Uint8Array>> =>
  (await import("./perfetto_write.ts")).perfettoTrace(log);

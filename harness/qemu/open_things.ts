/**
 * What a run leaves outside this process (QEMU processes, FIFOs, RAM files, sockets) and the promise that it goes
 * whichever way the process ends: normally, by an exception, by Ctrl-C or SIGTERM.
 *
 * - runFolder()      a private folder in memory (/dev/shm, else the temporary folder), removed at the end
 * - atEnd(undo)      registers a synchronous undo; the returned function runs it now, once
 *
 * A process that was killed by SIGKILL cannot clean up; the next run's first runFolder() does it: folders carry their
 * owner's process id, and a QEMU whose command line names an ownerless folder is ended with it.
 */
import { accessSync, constants, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EXIT } from "../cli/exit.ts";

const PREFIX = "orrery-";
const SIGNALS: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"];

const undos = new Set<() => void>();
let serial = 0;
let swept = false;

const undoAll = (): void => {
  for (const undo of undos) undo();
};

/** A command that listens itself (harness/cli/interrupt.ts) ends in its own way, and `exit` cleans up then. */
const onSignal = (signal: NodeJS.Signals): void => {
  if (process.listenerCount(signal) === 1) process.exit(EXIT.interrupted);
};

export function atEnd(undo: () => void): () => void {
  const once = (): void => {
    if (!undos.delete(once)) return;
    if (undos.size === 0) {
      process.off("exit", undoAll);
      for (const signal of SIGNALS) process.off(signal, onSignal);
    }
    undo();
  };
  if (undos.size === 0) {
    process.on("exit", undoAll);
    for (const signal of SIGNALS) process.on(signal, onSignal);
  }
  undos.add(once);
  return once;
}

export interface RunFolder {
  readonly path: string;
  remove(): void;
}

export function runFolder(): RunFolder {
  if (!swept) sweepOwnerless(memoryFolder());
  swept = true;
  const path = join(memoryFolder(), `${PREFIX}${process.pid}-${++serial}`);
  rmSync(path, { recursive: true, force: true });
  mkdirSync(path, { mode: 0o700 });
  return { path, remove: atEnd(() => rmSync(path, { recursive: true, force: true })) };
}

/** RAM files and FIFOs belong in memory. */
function memoryFolder(): string {
  try {
    accessSync("/dev/shm", constants.W_OK);
    return "/dev/shm";
  } catch {
    return tmpdir();
  }
}

/** Ends and removes what processes that no longer live left in `parent`. */
export function sweepOwnerless(parent: string): void {
  const ownerless = readdirSync(parent)
    .filter((name) => {
      const owner = new RegExp(`^${PREFIX}(\\d+)-\\d+$`).exec(name)?.[1];
      return owner !== undefined && !existsSync(`/proc/${owner}`);
    })
    .map((name) => join(parent, name));
  if (ownerless.length === 0) return;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    const words = commandLine(pid);
    if (words.includes("qemu-system") && ownerless.some((folder) => words.includes(`${folder}/`)))
      process.kill(Number(pid), "SIGKILL");
  }
  for (const folder of ownerless) rmSync(folder, { recursive: true, force: true });
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}

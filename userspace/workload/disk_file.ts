/**
 * What the workloads' programs on files have in common: where a file's state lies in the task's memory, how its next
 * bytes are made, and what is said about them.
 *
 * A table of files at SCRATCH_AT, one row a file: its size, and the generation of its last write. Programs write whole
 * records of promise.ts, each write a generation of its own.
 */
import { ENOSPC } from "../../kernel/abi/errno.ts";
import type { UserTask } from "../../kernel/abi/program.ts";
import { DATA_AT, peek, poke, pread, pwrite, SCRATCH_AT, SCRATCH_BYTES } from "../libc.ts";
import { fillUnits, firstWrong, sayWrong } from "../promise.ts";

const ROW_BYTES = 8;
export const FILES_MAX = Math.floor(SCRATCH_BYTES / ROW_BYTES);

export const sizeOf = (t: UserTask, file: number): number => peek(t, SCRATCH_AT + file * ROW_BYTES);
export const setSize = (t: UserTask, file: number, bytes: number): void =>
  poke(t, SCRATCH_AT + file * ROW_BYTES, bytes);
export const generationOf = (t: UserTask, file: number): number => peek(t, SCRATCH_AT + file * ROW_BYTES + 4);
export function nextGeneration(t: UserTask, file: number): number {
  const generation = generationOf(t, file) + 1;
  poke(t, SCRATCH_AT + file * ROW_BYTES + 4, generation);
  return generation;
}

/** The next generation of some bytes of a file goes out. */
export function putUnits(t: UserTask, fd: number, path: string, file: number, offset: number, bytes: number): void {
  fillUnits(t.memory, DATA_AT, path, offset, bytes, nextGeneration(t, file));
  pwrite(t, fd, DATA_AT, bytes, offset);
}

export const getUnits = (t: UserTask, fd: number, offset: number, bytes: number): void =>
  pread(t, fd, DATA_AT, bytes, offset);

/** Looks at what was read: a record that is none of the file's is said. */
export function verifyUnits(t: UserTask, path: string, offset: number, bytes: number): void {
  const wrong = firstWrong(t.memory, DATA_AT, path, offset, bytes);
  if (wrong >= 0) sayWrong(t, path, wrong);
}

/** How long a program leaves the disk alone after an error: longer when it is full. */
export const recoveryNs = (errno: number): number => (errno === ENOSPC ? 50_000_000 : 10_000_000);

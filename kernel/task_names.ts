/**
 * Names of tasks by row, for people (Linux: comm), in memory that all workers of a machine see.
 *
 *   row p: COMM_MAX letters of one byte, 0 behind the last
 */
import { COMM_MAX } from "./abi/limits.ts";
import type { Arena } from "./lib/arena.ts";

const BYTES = COMM_MAX + 1;

export class TaskNames {
  readonly #bytes: Uint8Array;

  constructor(arena: Arena, rows: number) {
    this.#bytes = arena.u8(rows * BYTES);
  }

  static bytes(rows: number): number {
    return rows * BYTES + 64;
  }

  set(p: number, name: string): void {
    for (let at = 0; at < BYTES; at++) this.#bytes[p * BYTES + at] = at < COMM_MAX ? name.charCodeAt(at) : 0;
  }

  /** "" for a row that never had a task. */
  get(p: number): string {
    const row = this.#bytes.subarray(p * BYTES, (p + 1) * BYTES);
    return String.fromCharCode(...row.subarray(0, row.indexOf(0)));
  }
}

/**
 * Bytes and calls by which a task has read and written since it began (Linux: task_io_accounting; /proc/PID/io). Whoever
 * answers a task's call counts it.
 */
import { Nr } from "../abi/syscall_nr.ts";
import type { Arena } from "../lib/arena.ts";

export class IoCounts {
  readonly rchar: Float64Array;
  readonly wchar: Float64Array;
  readonly syscr: Float64Array;
  readonly syscw: Float64Array;

  constructor(arena: Arena, rows: number) {
    this.rchar = arena.f64(rows);
    this.wchar = arena.f64(rows);
    this.syscr = arena.f64(rows);
    this.syscw = arena.f64(rows);
  }

  static bytes(rows: number): number {
    return rows * 32 + 4 * 64;
  }

  clear(p: number): void {
    this.rchar[p] = this.wchar[p] = this.syscr[p] = this.syscw[p] = 0;
  }

  count(p: number, nr: number, result: number): void {
    if (nr === Nr.read || nr === Nr.pread64) {
      this.syscr[p]!++;
      this.rchar[p]! += Math.max(0, result);
    } else if (nr === Nr.write || nr === Nr.pwrite64) {
      this.syscw[p]!++;
      this.wchar[p]! += Math.max(0, result);
    }
  }
}

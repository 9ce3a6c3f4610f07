/**
 * Block I/O by task: what each has read and written, and how long its requests waited and were served. One row of
 * doubles a task, so that it can be shared and saved.
 */
import { BlockOp, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import { TASKS_MAX } from "../../kernel/abi/limits.ts";
import { layout } from "../../kernel/lib/layout.ts";
import { assert } from "../../kernel/lib/assert.ts";

/**
 * Bytes read and written, requests by kind, nanoseconds in the queue and at the device, requests that failed; of the
 * nanoseconds of both, those of reads and of writes.
 */
export const TASK_IO = layout(
  "readBytes",
  "writeBytes",
  "reads",
  "writes",
  "others",
  "waitNs",
  "serviceNs",
  "errors",
  "readNs",
  "writeNs",
);

export class TaskAccounts {
  readonly #rows: Float64Array;
  readonly #tasks: number;

  /** @param tasks rows; row 0 is the kernel's, and takes what has a row beyond the table. */
  constructor(tasks: number) {
    assert(tasks > 0 && tasks <= TASKS_MAX, "TaskAccounts: rows");
    this.#tasks = tasks;
    this.#rows = new Float64Array(tasks * TASK_IO.words);
  }

  ended(task: number, op: BlockOp, sectors: number, waitNs: number, serviceNs: number, isError: boolean): void {
    const at = (task >= 0 && task < this.#tasks ? task : 0) * TASK_IO.words;
    const rows = this.#rows;
    if (op === BlockOp.Read) {
      rows[at + TASK_IO.reads]!++;
      rows[at + TASK_IO.readBytes]! += sectors * SECTOR_SIZE;
      rows[at + TASK_IO.readNs]! += waitNs + serviceNs;
    } else if (op === BlockOp.Write) {
      rows[at + TASK_IO.writes]!++;
      rows[at + TASK_IO.writeBytes]! += sectors * SECTOR_SIZE;
      rows[at + TASK_IO.writeNs]! += waitNs + serviceNs;
    } else rows[at + TASK_IO.others]!++;
    rows[at + TASK_IO.waitNs]! += waitNs;
    rows[at + TASK_IO.serviceNs]! += serviceNs;
    if (isError) rows[at + TASK_IO.errors]!++;
  }

  /** A field of TASK_IO of all tasks together. */
  total(field: number): number {
    let sum = 0;
    for (let at = field; at < this.#rows.length; at += TASK_IO.words) sum += this.#rows[at]!;
    return sum;
  }

  /** A field of TASK_IO of a task. */
  get(task: number, field: number): number {
    return this.#rows[task * TASK_IO.words + field]!;
  }
}

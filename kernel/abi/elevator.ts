/**
 * An elevator (I/O scheduler) decides in which order waiting requests of one hardware queue go to the device. It is a
 * plug-in: users pass their own. Requests are rows of a table that the block queue owns; an elevator keeps row numbers.
 *
 * - insert(row)             the request waits now
 * - dispatch(nowNs)         takes out the row to issue next; -1: nothing now (then wakeAtNs says when to ask again)
 * - grown(row)              a merge made the request longer, perhaps at its front
 * - completed(row, ...)     the device has ended it; the row is valid during the call
 * - waiting                 rows inserted and not dispatched
 *
 * Contract (test/contract/elevator.ts): every row inserted is dispatched exactly once; with free device slots and time
 * moving on, dispatch gives something within a bounded time while something waits. Flushes never come here.
 */
export interface ElevatorTable {
  /** BlockOp, by row. */
  readonly op: Uint8Array;
  readonly flags: Uint8Array;
  readonly sector: Float64Array;
  readonly sectors: Int32Array;
  readonly task: Int32Array;
  readonly arrivedNs: Float64Array;
  readonly issuedNs: Float64Array;
}

export interface ElevatorSetup {
  readonly table: ElevatorTable;
  /** Rows of the table: no more wait at once. */
  readonly rows: number;
  /** Requests the device takes at once. */
  readonly depth: number;
  /** Weight of a task, 1 .. 1000 (100 is usual). */
  weightOf(task: number): number;
}

export interface ElevatorQueue {
  readonly waiting: number;
  /** When dispatch() may give something though it has just given nothing; Infinity: after an insert or a completion. */
  readonly wakeAtNs: number;
  insert(row: number): void;
  dispatch(nowNs: number): number;
  grown(row: number): void;
  completed(row: number, nowNs: number): void;
}

export interface Elevator {
  readonly name: string;
  create(setup: ElevatorSetup): ElevatorQueue;
}

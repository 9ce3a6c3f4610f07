/**
 * The kernel tasks whose work the storage worker does: kworker/u:files makes calls, jbd2, the flusher and kswapd0 are steps
 * between them. They have rows as all tasks have, and for the scheduler they sleep all the time: the storage worker is a
 * CPU of its own, numbered behind the last, on which one of them runs or nobody does. It alone writes their rows.
 *
 * - takes(name)     from now on that one runs, if it is there; "": nobody
 *
 * Events: on this CPU a task is woken when it has something to do, and sleeps when it has not.
 */
import { Ev, TaskLeft, WakeContext } from "../abi/events.ts";
import type { EventSink } from "../abi/machine.ts";
import type { TaskTimes } from "../observe/task_times.ts";

const { Sleeping } = TaskLeft;

export interface StorageTasksParts {
  /** By name. */
  readonly rows: ReadonlyMap<string, number>;
  readonly cpu: number;
  readonly now: () => number;
  /** To the ring alone: what is counted of CPUs is that of those the scheduler has. */
  readonly trace: EventSink;
  /** The scheduler's column. */
  readonly sumExec: Float64Array;
  readonly times: Pick<TaskTimes, "runs" | "sleeps">;
}

export class StorageTasks {
  readonly #parts: StorageTasksParts;
  #running = 0;
  #since = 0;

  constructor(parts: StorageTasksParts) {
    this.#parts = parts;
  }

  takes(name: string): void {
    const { rows, cpu, now, trace, sumExec, times } = this.#parts;
    const next = rows.get(name) ?? 0;
    const prev = this.#running;
    if (next === prev) return;
    const at = now();
    if (prev !== 0) {
      sumExec[prev]! += at - this.#since;
      times.sleeps[prev]!++;
    }
    if (next !== 0) {
      times.runs[next]!++;
      trace(Ev.SchedWaking, cpu, next, cpu, WakeContext.Device, 0);
      trace(Ev.SchedWakeup, cpu, next, cpu, 0, 0);
    }
    trace(Ev.SchedSwitch, cpu, prev, next, Sleeping, 0);
    this.#running = next;
    this.#since = at;
  }
}

/**
 * Who has what name and where time goes in a parallel machine: tables in shared memory that every worker has an instance of,
 * in the same order. Each CPU counts what happens on it; the storage worker counts the calls that it answers, and what
 * those wait for.
 *
 * - sink(trace)        what a worker tells is written to its ring and counted
 * - computed(p, ns)    CPU time of p's program, on this worker's CPU
 * - begins(p)          row p has a new task
 */
import type { EventSink } from "../abi/machine.ts";
import type { Nanos } from "../abi/units.ts";
import type { Arena } from "../lib/arena.ts";
import type { LockOps } from "../lib/lock_ops.ts";
import { LOAD_WORDS, LoadAverage } from "../fs/pseudo/proc_sched.ts";
import { CallTimes } from "../observe/call_times.ts";
import { IoCounts } from "../observe/io_counts.ts";
import { TaskTimes } from "../observe/task_times.ts";
import { TaskNames } from "../task_names.ts";
import type { MachineShare } from "./share.ts";
import { Psi } from "../../mm/index.ts";

export interface TimesParts {
  readonly share: MachineShare;
  readonly arena: Arena;
  /** Of the names, which come first. */
  readonly names: TaskNames;
  /** The worker's row: its CPU, or one behind the last for storage. */
  readonly row: number;
  readonly locks: LockOps;
  readonly now: () => Nanos;
}

export class MachineTimes {
  readonly names: TaskNames;
  readonly tasks: TaskTimes;
  readonly io: IoCounts;
  /** Time in programs, ns: by CPU, by row. */
  readonly userNs: Float64Array;
  readonly taskUserNs: Float64Array;
  readonly psi: Psi | undefined;
  /** Three averages of the load, and when the next step is due. */
  readonly load: LoadAverage;
  /** By worker. */
  readonly calls: readonly CallTimes[];
  readonly #row: number;

  constructor({ share, arena, names, row, locks, now }: TimesParts) {
    const { cpus, rows, calls } = share;
    this.#row = row;
    this.names = names;
    this.psi = share.psi === undefined ? undefined : new Psi({ now }, cpus, share.psi, locks);
    this.load = new LoadAverage(arena.f64(LOAD_WORDS), now());
    this.tasks = new TaskTimes(arena, rows, cpus, { now, psi: this.psi, thrashes: () => false, locks });
    this.io = new IoCounts(arena, rows);
    this.userNs = arena.f64(cpus);
    this.taskUserNs = arena.f64(rows);
    const entered = arena.f64(rows);
    this.calls = Array.from({ length: cpus + 1 }, (_, at) => new CallTimes(now, entered, calls, at * CallTimes.bytes));
  }

  static bytes(cpus: number, rows: number): number {
    const columns = cpus * 8 + rows * 16 + LOAD_WORDS * 8 + 4 * 64;
    return TaskNames.bytes(rows) + TaskTimes.bytes(rows, cpus) + IoCounts.bytes(rows) + columns;
  }

  sink(trace: EventSink): EventSink {
    const { tasks } = this;
    const calls = this.calls[this.#row]!;
    return (type, cpu, a, b, c, d) => {
      trace(type, cpu, a, b, c, d);
      tasks.take(type, cpu, a, b, c);
      calls.take(type, cpu, a, b);
    };
  }

  readonly computed = (p: number, ns: number): void => {
    this.userNs[this.#row]! += ns;
    this.taskUserNs[p]! += ns;
  };

  begins(p: number): void {
    this.taskUserNs[p] = 0;
    this.io.clear(p);
  }
}

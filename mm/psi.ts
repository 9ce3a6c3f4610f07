/**
 * Pressure stall information: the share of time in which tasks wait for a resource (Linux 6.1: kernel/sched/psi.c).
 *
 * - change(cpu, kind, delta)   a task began or ceased to run, to wait for I/O, to stall for memory
 * - sample()                        averages, every 2 s and one tick: call it at `next()` or later
 * - averages(resource), totalUs     percent * 2048 over 10, 60, 300 s; microseconds
 * - text(resource)                  /proc/pressure/{cpu,io,memory}
 *
 * some: at least one task waits. full: tasks wait and none makes progress. CPUs are weighted by their non-idle time.
 * A CPU's row is written by that CPU, by whoever wakes a task that waited there, and by whoever samples; where CPUs race
 * each row has a lock, and the averages have one, taken before it.
 */
import type { TaskStalls } from "../kernel/abi/reclaim.ts";
import type { Machine } from "../kernel/abi/machine.ts";
import { NS_PER_SEC, NS_PER_US } from "../kernel/abi/units.ts";
import { assert } from "../kernel/lib/assert.ts";
import { noLocks } from "../kernel/lib/lock_ops.ts";
import type { LockOps } from "../kernel/lib/lock_ops.ts";

export const PsiTask = { Running: 0, MemStall: 1, MemStallRunning: 2, IoWait: 3, OnCpu: 4 } as const;
export type PsiTask = (typeof PsiTask)[keyof typeof PsiTask];
/** Numbers of tasks, and behind them a lock: a cache line. */
const TASKS = 16;
const LOCK = TASKS - 1;

export const PsiResource = { Io: 0, Memory: 1, Cpu: 2 } as const;
export type PsiResource = (typeof PsiResource)[keyof typeof PsiResource];
/** State 2 * resource is "some", the next "full". */
const STATES = 6;
const NONIDLE = STATES;
const TIMES = STATES + 1;

const HZ = 250;
const TICK_NS = NS_PER_SEC / HZ;
const PERIOD_NS = 2 * NS_PER_SEC + TICK_NS;
const FSHIFT = 11;
const FIXED_1 = 1 << FSHIFT;
/** e^(-2 s / window) * 2048 for 10, 60 and 300 s. */
const EXP = [1677, 1981, 2034] as const;

/** One step of the decaying average; rounds up while rising, so that a constant 100 % is reached. */
export function decay(load: number, exp: number, active: number): number {
  const next = load * exp + active * (FIXED_1 - exp);
  return Math.floor((active >= load ? next + FIXED_1 - 1 : next) / FIXED_1);
}

/** exp to the power of n, in fixed point. */
export function fixedPower(exp: number, n: number): number {
  let result = FIXED_1;
  let power = exp;
  for (let rest = n; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) result = (result * power + (FIXED_1 >> 1)) >> FSHIFT;
    power = (power * power + (FIXED_1 >> 1)) >> FSHIFT;
  }
  return result;
}

const percent = (load: number): string =>
  `${load >> FSHIFT}.${String(((load & (FIXED_1 - 1)) * 100) >> FSHIFT).padStart(2, "0")}`;

export class Psi implements TaskStalls {
  readonly buffer: SharedArrayBuffer;
  readonly #machine: Pick<Machine, "now">;
  readonly #cpus: number;
  /** [cpu][PsiTask] */
  readonly #tasks: Int32Array;
  readonly #locks: LockOps;
  /** [cpu][state] ns, then the time of the CPU's last change. */
  readonly #times: Float64Array;
  /** [cpu][state] ns already taken into the totals. */
  readonly #seen: Float64Array;
  /** [state] total ns; [state] total at the last average; [state * 3] averages; last sample, next sample. */
  readonly #group: Float64Array;

  constructor(machine: Pick<Machine, "now">, cpus: number, shared?: SharedArrayBuffer, locks: LockOps = noLocks) {
    this.#machine = machine;
    this.#locks = locks;
    this.#cpus = cpus;
    const group = STATES * 5 + 2;
    const floats = cpus * (TIMES + 1) + cpus * TIMES + group;
    this.buffer = shared ?? new SharedArrayBuffer(floats * 8 + (cpus + 1) * TASKS * 4);
    this.#times = new Float64Array(this.buffer, 0, cpus * (TIMES + 1));
    this.#seen = new Float64Array(this.buffer, cpus * (TIMES + 1) * 8, cpus * TIMES);
    this.#group = new Float64Array(this.buffer, (floats - group) * 8, group);
    this.#tasks = new Int32Array(this.buffer, floats * 8, (cpus + 1) * TASKS);
    if (shared !== undefined) return;
    const now = machine.now();
    for (let cpu = 0; cpu < cpus; cpu++) this.#times[cpu * (TIMES + 1) + TIMES] = now;
    this.#group[STATES * 5] = now;
    this.#group[STATES * 5 + 1] = now + PERIOD_NS;
  }

  change(cpu: number, kind: PsiTask, delta: number): void {
    this.#lock(cpu);
    this.#record(cpu);
    const at = cpu * TASKS + kind;
    const count = this.#tasks[at]! + delta;
    assert(count >= 0, "Psi: fewer than no tasks");
    this.#tasks[at] = count;
    this.#unlock(cpu);
  }

  memstallEnter(cpu: number): void {
    this.change(cpu, PsiTask.MemStall, 1);
    this.change(cpu, PsiTask.MemStallRunning, 1);
  }

  memstallLeave(cpu: number): void {
    this.change(cpu, PsiTask.MemStall, -1);
    this.change(cpu, PsiTask.MemStallRunning, -1);
  }

  /** Time of the next sample. */
  next(): number {
    return this.#group[STATES * 5 + 1]!;
  }

  sample(): void {
    this.#lock(this.#cpus);
    this.#average();
    this.#unlock(this.#cpus);
  }

  #average(): void {
    const now = this.#machine.now();
    const group = this.#group;
    this.#collect();
    const due = group[STATES * 5 + 1]!;
    if (now < due) return;
    const missed = now - due >= PERIOD_NS ? Math.floor((now - due) / PERIOD_NS) : 0;
    const period = now - (group[STATES * 5]! + missed * PERIOD_NS);
    group[STATES * 5] = now;
    group[STATES * 5 + 1] = due + (1 + missed) * PERIOD_NS;
    for (let state = 0; state < STATES; state++) {
      // A CPU's last change may lie a little after the sample: what exceeds the period waits for the next.
      const stalled = Math.min(group[state]! - group[STATES + state]!, period);
      group[STATES + state]! += stalled;
      const active = Math.floor((stalled * 100) / period) * FIXED_1;
      for (const [window, exp] of EXP.entries()) {
        const at = STATES * 2 + state * 3 + window;
        if (missed > 0) group[at] = decay(group[at]!, fixedPower(exp, missed), 0);
        group[at] = decay(group[at]!, exp, active);
      }
    }
  }

  /** [avg10, avg60, avg300] of "some" or "full", percent * 2048. */
  averages(resource: PsiResource, full: boolean): readonly [number, number, number] {
    const at = STATES * 2 + (resource * 2 + (full ? 1 : 0)) * 3;
    return [this.#group[at]!, this.#group[at + 1]!, this.#group[at + 2]!];
  }

  totalUs(resource: PsiResource, full: boolean): number {
    return Math.floor(this.#group[resource * 2 + (full ? 1 : 0)]! / NS_PER_US);
  }

  text(resource: PsiResource): string {
    const line = (full: boolean): string => {
      const [avg10, avg60, avg300] = this.averages(resource, full).map(percent);
      const total = this.totalUs(resource, full);
      return `${full ? "full" : "some"} avg10=${avg10} avg60=${avg60} avg300=${avg300} total=${total}\n`;
    };
    return line(false) + line(true);
  }

  /** Of a CPU's row; behind the last that of the averages. */
  #lock(cpu: number): void {
    this.#locks.lock(this.#tasks, cpu * TASKS + LOCK);
  }

  #unlock(cpu: number): void {
    this.#locks.unlock(this.#tasks, cpu * TASKS + LOCK);
  }

  #record(cpu: number): void {
    const row = cpu * (TIMES + 1);
    const now = this.#machine.now();
    const passed = now - this.#times[row + TIMES]!;
    this.#times[row + TIMES] = now;
    if (passed <= 0) return;
    for (let state = 0; state < TIMES; state++) if (this.#holds(cpu, state)) this.#times[row + state]! += passed;
  }

  #holds(cpu: number, state: number): boolean {
    const tasks = this.#tasks;
    const at = cpu * TASKS;
    const running = tasks[at + PsiTask.Running]!;
    const stalled = tasks[at + PsiTask.MemStall]!;
    const waiting = tasks[at + PsiTask.IoWait]!;
    const onCpu = tasks[at + PsiTask.OnCpu]!;
    switch (state) {
      case PsiResource.Io * 2:
        return waiting > 0;
      case PsiResource.Io * 2 + 1:
        return waiting > 0 && running === 0;
      case PsiResource.Memory * 2:
        return stalled > 0;
      case PsiResource.Memory * 2 + 1:
        return stalled > 0 && running === tasks[at + PsiTask.MemStallRunning]!;
      case PsiResource.Cpu * 2:
        return running > onCpu;
      case PsiResource.Cpu * 2 + 1:
        return running > 0 && onCpu === 0;
      default:
        return waiting > 0 || stalled > 0 || running > 0;
    }
  }

  /** CPUs' times into the totals, each CPU weighted by the ticks in which it was not idle. */
  #collect(): void {
    const sums = Array.from({ length: STATES }, () => 0);
    let weights = 0;
    for (let cpu = 0; cpu < this.#cpus; cpu++) {
      this.#lock(cpu);
      this.#record(cpu);
      const row = cpu * (TIMES + 1);
      const passed = (state: number): number => this.#times[row + state]! - this.#seen[cpu * TIMES + state]!;
      const weight = Math.floor(passed(NONIDLE) / TICK_NS);
      weights += weight;
      for (let state = 0; state < STATES; state++) sums[state]! += passed(state) * weight;
      for (let state = 0; state < TIMES; state++) this.#seen[cpu * TIMES + state] = this.#times[row + state]!;
      this.#unlock(cpu);
    }
    for (let state = 0; state < STATES; state++) this.#group[state]! += Math.floor(sums[state]! / Math.max(weights, 1));
  }
}

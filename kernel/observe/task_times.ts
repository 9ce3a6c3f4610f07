/**
 * Where CPU time goes and where tasks stall, from the stream of events: what /proc/stat and /proc/pressure tell.
 *
 * - take(...)               an event sink; knows the scheduler's events and those of a task that goes to sleep
 * - busyNs, idleNs, iowaitNs, switches     by CPU, ns and counts, as of the last event on it; settle(now) brings them up to now
 * - runnable, blocked       tasks that can run; that wait for a disk
 *
 * iowait is time in which a CPU is idle while a task that ran on it last waits for a disk, as in Linux, with Linux's
 * caveat: it says nothing of what else could have run.
 */
import { Ev, SysEv, TaskLeft } from "../abi/events.ts";
import { isDiskWait, Wait } from "../wait.ts";
import type { Arena } from "../lib/arena.ts";
import { PsiTask } from "../../mm/index.ts";
import type { Psi } from "../../mm/index.ts";

const { Dead, Preempted } = TaskLeft;

/** Of a task. */
const At = { Gone: 0, Asleep: 1, DiskWait: 2, Queued: 3, OnCpu: 4 } as const;

export interface TaskTimesParts {
  readonly now: () => number;
  readonly psi: Psi | undefined;
  /** The call of a task waits for a page that it had lately: for want of memory, not only of the disk. */
  readonly thrashes: (p: number) => boolean;
}

export class TaskTimes {
  readonly busyNs: Float64Array;
  readonly idleNs: Float64Array;
  readonly iowaitNs: Float64Array;
  readonly switches: Float64Array;
  readonly forks: Float64Array;
  /** By CPU: switches to idle, tasks put on its queue, by a task on it, time that tasks waited for it, times one got it. */
  readonly idles: Float64Array;
  readonly wakeups: Float64Array;
  readonly localWakeups: Float64Array;
  readonly queueNs: Float64Array;
  readonly cpuRuns: Float64Array;
  /** By task: time queued, times it got a CPU, and left one because it waited, or for another reason. */
  readonly waitedNs: Float64Array;
  readonly runs: Float64Array;
  readonly sleeps: Float64Array;
  readonly preempted: Float64Array;
  readonly #queuedAt: Float64Array;
  readonly #psi: Psi | undefined;
  readonly #now: () => number;
  readonly #thrashes: (p: number) => boolean;
  readonly #at: Uint8Array;
  /** 1 while a sleeping task stalls for memory. */
  readonly #short: Uint8Array;
  readonly #cpu: Int32Array;
  readonly #channel: Uint8Array;
  /** When the CPU's present state began; 1 while it is busy; tasks of it that wait for a disk. */
  readonly #since: Float64Array;
  readonly #busy: Uint8Array;
  readonly #waiting: Int32Array;

  constructor(arena: Arena, rows: number, cpus: number, parts: TaskTimesParts) {
    this.#psi = parts.psi;
    this.#now = parts.now;
    this.#thrashes = parts.thrashes;
    this.busyNs = arena.f64(cpus);
    this.idleNs = arena.f64(cpus);
    this.iowaitNs = arena.f64(cpus);
    this.switches = arena.f64(cpus);
    this.forks = arena.f64(1);
    this.idles = arena.f64(cpus);
    this.wakeups = arena.f64(cpus);
    this.localWakeups = arena.f64(cpus);
    this.queueNs = arena.f64(cpus);
    this.cpuRuns = arena.f64(cpus);
    this.waitedNs = arena.f64(rows);
    this.runs = arena.f64(rows);
    this.sleeps = arena.f64(rows);
    this.preempted = arena.f64(rows);
    this.#queuedAt = arena.f64(rows);
    this.#at = arena.u8(rows);
    this.#short = arena.u8(rows);
    this.#cpu = arena.i32(rows);
    this.#channel = arena.u8(rows);
    this.#since = arena.f64(cpus);
    this.#busy = arena.u8(cpus);
    this.#waiting = arena.i32(cpus);
  }

  static bytes(rows: number, cpus: number): number {
    return rows * 47 + cpus * 90 + 64 * 24;
  }

  get runnable(): number {
    return this.#count(At.Queued) + this.#count(At.OnCpu);
  }

  get blocked(): number {
    return this.#count(At.DiskWait);
  }

  #count(state: number): number {
    return this.#at.reduce((sum, at) => sum + (at === state ? 1 : 0), 0);
  }

  /** Brings a CPU's times up to now. */
  settle(cpu: number): void {
    const now = this.#now();
    const passed = now - this.#since[cpu]!;
    if (passed <= 0) return;
    this.#since[cpu] = now;
    if (this.#busy[cpu] === 1) this.busyNs[cpu]! += passed;
    else if (this.#waiting[cpu]! > 0) this.iowaitNs[cpu]! += passed;
    else this.idleNs[cpu]! += passed;
  }

  readonly take = (type: number, cpu: number, a: number, b: number, c: number): void => {
    switch (type) {
      case SysEv.Sleep:
        this.#channel[a] = b;
        return;
      case Ev.SchedFork:
        this.forks[0]!++;
        return;
      case Ev.SchedWakeupNew:
        this.#begins(a);
        this.#woken(a, b, cpu);
        return;
      case Ev.SchedWakeup:
        this.#woken(a, b, cpu);
        return;
      case Ev.SchedMigrate:
        this.#moved(a, c);
        return;
      case Ev.SchedSwitch:
        this.settle(cpu);
        this.switches[cpu]!++;
        if (b === 0) this.idles[cpu]!++;
        if (a !== 0) this.#leaves(a, cpu, c);
        if (b !== 0) this.#comes(b, cpu);
        this.#busy[cpu] = b === 0 ? 0 : 1;
        return;
      default:
    }
  };

  /** A row's counts begin at 0 with each task. */
  #begins(p: number): void {
    this.waitedNs[p] = this.runs[p] = this.sleeps[p] = this.preempted[p] = 0;
  }

  #woken(p: number, cpu: number, by: number): void {
    this.wakeups[cpu]!++;
    if (cpu === by) this.localWakeups[cpu]!++;
    this.#queuedAt[p] = this.#now();
    if (this.#short[p] === 1) {
      this.#short[p] = 0;
      this.#psi?.change(this.#cpu[p]!, PsiTask.MemStall, -1);
    }
    if (this.#at[p] === At.DiskWait) {
      const home = this.#cpu[p]!;
      this.settle(home);
      this.#waiting[home]!--;
      this.#psi?.change(home, PsiTask.IoWait, -1);
    }
    this.#at[p] = At.Queued;
    this.#cpu[p] = cpu;
    this.#psi?.change(cpu, PsiTask.Running, 1);
  }

  #moved(p: number, to: number): void {
    const from = this.#cpu[p]!;
    // A task that stalls counts where it slept until it is on a run queue.
    if (from === to || this.#at[p] === At.DiskWait || this.#short[p] === 1) return;
    this.#cpu[p] = to;
    if (this.#at[p] !== At.Queued) return;
    this.#psi?.change(from, PsiTask.Running, -1);
    this.#psi?.change(to, PsiTask.Running, 1);
  }

  #comes(p: number, cpu: number): void {
    if (this.#cpu[p] !== cpu) this.#moved(p, cpu);
    this.#at[p] = At.OnCpu;
    const waited = Math.max(0, this.#now() - this.#queuedAt[p]!);
    this.waitedNs[p]! += waited;
    this.queueNs[cpu]! += waited;
    this.runs[p]!++;
    this.cpuRuns[cpu]!++;
    this.#psi?.change(cpu, PsiTask.OnCpu, 1);
  }

  #leaves(p: number, cpu: number, left: number): void {
    this.#psi?.change(cpu, PsiTask.OnCpu, -1);
    if (left <= Preempted) {
      this.#at[p] = At.Queued;
      this.#queuedAt[p] = this.#now();
      this.preempted[p]!++;
      return;
    }
    this.sleeps[p]!++;
    this.#psi?.change(cpu, PsiTask.Running, -1);
    const waits = left !== Dead && isDiskWait(this.#channel[p]!);
    const isShort = this.#channel[p] === Wait.Memory || (waits && this.#thrashes(p));
    if (left !== Dead && isShort) {
      this.#short[p] = 1;
      this.#psi?.change(cpu, PsiTask.MemStall, 1);
    }
    this.#at[p] = left === Dead ? At.Gone : waits ? At.DiskWait : At.Asleep;
    this.#channel[p] = Wait.None;
    if (!waits) return;
    this.#waiting[cpu]!++;
    this.#psi?.change(cpu, PsiTask.IoWait, 1);
  }
}

/**
 * Where CPU time goes and where tasks stall, from the stream of events: what /proc/stat and /proc/pressure tell.
 *
 * - take(...)               an event sink; knows the scheduler's events and those of a task that goes to sleep
 * - busyNs, idleNs, iowaitNs, switches     by CPU, ns and counts, as of the last event on it; settle(cpu) brings them up to now
 * - runnable, blocked       tasks that can run; that wait for a disk
 * - blocks(p, disk, short)  who works for a task elsewhere (a storage worker) says what it waits for
 *
 * Where CPUs race each has an instance over the same arena. A task's row is its owner's, as the scheduler's is; a CPU's row
 * is also written by whoever wakes a task that slept there, so it has a lock, taken after all others but PSI's.
 *
 * iowait is time in which a CPU is idle while a task that ran on it last waits for a disk, as in Linux, with Linux's
 * caveat: it says nothing of what else could have run.
 */
import { Ev, SysEv, TaskLeft } from "../abi/events.ts";
import { isDiskWait, Wait } from "../wait.ts";
import type { Arena } from "../lib/arena.ts";
import { noLocks } from "../lib/lock_ops.ts";
import type { LockOps } from "../lib/lock_ops.ts";
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
  readonly locks?: LockOps;
}

/** Of a cache line, int32 words: each CPU's lock has one. */
const LINE = 16;
/** Bits of what blocks() said before the task had left its CPU. */
const [SAID, DISK, SHORT] = [1, 2, 4];

export class TaskTimes {
  readonly busyNs: Float64Array;
  readonly idleNs: Float64Array;
  readonly iowaitNs: Float64Array;
  readonly switches: Float64Array;
  /** Tasks made there. */
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
  readonly #said: Uint8Array;
  readonly #locks: LockOps;
  readonly #lockWords: Int32Array;

  constructor(arena: Arena, rows: number, cpus: number, parts: TaskTimesParts) {
    this.#psi = parts.psi;
    this.#now = parts.now;
    this.#thrashes = parts.thrashes;
    this.#locks = parts.locks ?? noLocks;
    this.busyNs = arena.f64(cpus);
    this.idleNs = arena.f64(cpus);
    this.iowaitNs = arena.f64(cpus);
    this.switches = arena.f64(cpus);
    this.forks = arena.f64(cpus);
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
    this.#said = arena.u8(rows);
    this.#lockWords = arena.i32(cpus * LINE);
  }

  static bytes(rows: number, cpus: number): number {
    return rows * 48 + cpus * (98 + 4 * LINE) + 64 * 26;
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
    this.#lock(cpu);
    this.#settle(cpu);
    this.#unlock(cpu);
  }

  #lock(cpu: number): void {
    this.#locks.lock(this.#lockWords, cpu * LINE);
  }

  #unlock(cpu: number): void {
    this.#locks.unlock(this.#lockWords, cpu * LINE);
  }

  #settle(cpu: number): void {
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
        this.forks[cpu]!++;
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
        this.#lock(cpu);
        this.#settle(cpu);
        this.switches[cpu]!++;
        if (b === 0) this.idles[cpu]!++;
        if (a !== 0) this.#leaves(a, cpu, c);
        if (b !== 0) this.#comes(b, cpu);
        this.#busy[cpu] = b === 0 ? 0 : 1;
        this.#unlock(cpu);
        return;
      default:
    }
  };

  /** A row's counts begin at 0 with each task. */
  #begins(p: number): void {
    this.waitedNs[p] = this.runs[p] = this.sleeps[p] = this.preempted[p] = 0;
  }

  #woken(p: number, cpu: number, by: number): void {
    this.#lock(cpu);
    this.wakeups[cpu]!++;
    if (cpu === by) this.localWakeups[cpu]!++;
    this.#unlock(cpu);
    this.#queuedAt[p] = this.#now();
    const home = this.#cpu[p]!;
    this.#lock(home);
    this.#waits(p, false, false);
    this.#at[p] = At.Queued;
    this.#cpu[p] = cpu;
    this.#unlock(home);
    this.#psi?.change(cpu, PsiTask.Running, 1);
  }

  /** What p, which has left its CPU, waits for from now on. */
  #waits(p: number, disk: boolean, short: boolean): void {
    const home = this.#cpu[p]!;
    const [wasDisk, wasShort] = [this.#at[p] === At.DiskWait, this.#short[p] === 1];
    if (short !== wasShort) {
      this.#short[p] = short ? 1 : 0;
      this.#psi?.change(home, PsiTask.MemStall, short ? 1 : -1);
    }
    if (disk === wasDisk) return;
    this.#settle(home);
    this.#at[p] = disk ? At.DiskWait : At.Asleep;
    this.#waiting[home]! += disk ? 1 : -1;
    this.#psi?.change(home, PsiTask.IoWait, disk ? 1 : -1);
  }

  /** Task p, which sleeps or is about to, waits for a disk, for want of memory, or for neither. Only who will wake it says so. */
  blocks(p: number, disk: boolean, short: boolean): void {
    const home = this.#cpu[p]!;
    this.#lock(home);
    if (this.#at[p] === At.Asleep || this.#at[p] === At.DiskWait) this.#waits(p, disk, short);
    else this.#said[p] = SAID | (disk ? DISK : 0) | (short ? SHORT : 0);
    this.#unlock(home);
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
    const channel = this.#channel[p]!;
    this.#channel[p] = Wait.None;
    this.#at[p] = left === Dead ? At.Gone : At.Asleep;
    if (left === Dead) return;
    const said = this.#said[p]!;
    this.#said[p] = 0;
    if (said !== 0) this.#waits(p, (said & DISK) !== 0, (said & SHORT) !== 0);
    else {
      const disk = isDiskWait(channel);
      this.#waits(p, disk, channel === Wait.Memory || (disk && this.#thrashes(p)));
    }
  }
}

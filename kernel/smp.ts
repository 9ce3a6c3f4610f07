/**
 * What the CPUs of a parallel machine share beside the scheduler's tables: words to boot, stop and watch each other by,
 * timers, and who runs which task. Made over the same arena by every CPU's worker and by the main thread.
 *
 *   control, a cache line each     TURN      CPU that makes its instances now; `cpus`: all have
 *                                  GO        1: tasks may run
 *                                  STOP      0, or why the machine stops (Stop); set once
 *                                  STOPPED   CPUs that have left their loop
 *                                  IDLE      CPUs that idle and have no timer
 *                                  LEFT_IDLE times a CPU left that state
 *                                  BELL      counts what the supervisor in the main thread should look at
 *                                  RESCHED   byte offset of the scheduler's resched words in the arena
 *                                  SWITCHES  switches of all CPUs, added in lots
 *   one line a CPU                 BEAT      moves while the CPU does; its own to write, as are the next two
 *                                  PHASE     what it is doing (Phase)
 *                                  TASK      task that it runs
 *                                  WAITING   1 around its Atomics.wait on its resched word
 *   owner, a word a task           1 + CPU that runs it, 0 none: taken and released by compare-exchange
 *   timers, a heap a CPU           touched by that CPU alone; a task is in the heap of the CPU it fell asleep on, and may
 *                                  still be there when someone else woke it
 */
import type { Arena } from "./lib/arena.ts";
import { panic } from "./lib/assert.ts";
import { lock, tryLock, unlock } from "./lib/lock.ts";
import type { LockOps } from "./lib/lock_ops.ts";
import { KeyedHeap } from "./lib/keyed_heap.ts";

/** What a CPU is doing. Lock: it waits for one, so it is not the one to blame when nothing moves. */
export const Phase = {
  Boot: 0,
  Idle: 1,
  Pick: 2,
  Run: 3,
  Timer: 4,
  Tick: 5,
  Step: 6,
  Check: 7,
  Done: 8,
  Lock: 9,
} as const;
export type Phase = (typeof Phase)[keyof typeof Phase];
/** "while it ...". */
export const PHASE_TEXT: readonly string[] = [
  "boots",
  "idles",
  "picks a task",
  "runs a task",
  "handles a timer",
  "handles a tick",
  "carries out a task's call",
  "checks the machine at rest",
  "ends",
  "waits for a lock",
];

export const Stop = {
  No: 0,
  /** The time is over. */
  Time: 1,
  Switches: 2,
  /** Every task whose program has an end has exited. */
  Finished: 3,
  /** All CPUs idle, and nothing can wake them. */
  Quiet: 4,
  Interrupted: 5,
  Failed: 6,
} as const;
export type Stop = (typeof Stop)[keyof typeof Stop];

/** Int32 words of a cache line. */
const LINE = 16;
const TURN = 0;
const GO = LINE;
const STOP = 2 * LINE;
const STOPPED = 3 * LINE;
const IDLE = 4 * LINE;
const LEFT_IDLE = 5 * LINE;
const BELL = 6 * LINE;
const RESCHED = 7 * LINE;
const SWITCHES = 8 * LINE;
const CONTROL_WORDS = 9 * LINE;

const BEAT = 0;
const PHASE = 1;
const TASK = 2;
const WAITING = 3;

/** Figures that a CPU keeps of itself, float64. */
export const Stat = { Switches: 0, IdleNs: 1, Kicks: 2, MaxWaitNs: 3, Waits: 4, SeenNs: 5, StolenNs: 6 } as const;
const STATS = 8;

const KIB = 1024;

export class Smp {
  readonly cpus: number;
  readonly rows: number;
  readonly timers: readonly KeyedHeap[];
  readonly stats: Float64Array;
  /** The host's clock at boot, ns. */
  readonly base: Float64Array;
  readonly #control: Int32Array;
  readonly #cpu: Int32Array;
  readonly #owner: Int32Array;
  readonly #arena: Arena;
  #resched: Int32Array | undefined;

  constructor(arena: Arena, cpus: number, rows: number) {
    this.cpus = cpus;
    this.rows = rows;
    this.#arena = arena;
    this.#control = arena.i32(CONTROL_WORDS);
    this.#cpu = arena.i32(cpus * LINE);
    this.stats = arena.f64(cpus * STATS);
    this.base = arena.f64(1);
    this.#owner = arena.i32(rows);
    this.timers = Array.from({ length: cpus }, () => {
      const key = arena.f64(rows);
      return new KeyedHeap(key, arena.f64(rows), arena.i32(rows), arena.i32(rows + 1), 0, rows);
    });
  }

  // --- boot: one CPU after the other makes its instances of the tables, then the first lets all go ---

  awaitTurn(cpu: number): void {
    this.#awaitValue(TURN, cpu);
  }

  /** The CPU's instances are made; `resched` are the scheduler's resched words. */
  endTurn(cpu: number, resched: Int32Array): void {
    Atomics.store(this.#control, RESCHED, resched.byteOffset);
    Atomics.store(this.#control, TURN, cpu + 1);
    Atomics.notify(this.#control, TURN);
  }

  go(): void {
    Atomics.store(this.#control, GO, 1);
    Atomics.notify(this.#control, GO);
  }

  awaitGo(): void {
    this.#awaitValue(GO, 1);
  }

  // --- the end ---

  get stopReason(): Stop {
    return Atomics.load(this.#control, STOP) as Stop;
  }

  /** Stops every CPU at its next look; the first reason counts. */
  stop(reason: Stop): void {
    if (Atomics.compareExchange(this.#control, STOP, Stop.No, reason) !== Stop.No) return;
    this.ring();
    const words = this.#reschedWords();
    if (words === undefined) return;
    for (let cpu = 0; cpu < this.cpus; cpu++) {
      Atomics.or(words, cpu * LINE, 1);
      Atomics.notify(words, cpu * LINE);
    }
  }

  /** The CPU has left its loop; with `all` it waits until every other one has, too. */
  stopped(all: boolean): void {
    Atomics.add(this.#control, STOPPED, 1);
    Atomics.notify(this.#control, STOPPED);
    if (all) this.#awaitValue(STOPPED, this.cpus);
  }

  // --- idle ---

  /** CPU `cpu` sleeps until it is kicked, or for so long; `timed`: it has a timer, and will be back by itself. */
  idle(cpu: number, resched: Int32Array, forMs: number, timed: boolean): void {
    const at = cpu * LINE;
    if (!timed && Atomics.add(this.#control, IDLE, 1) === this.cpus - 1) this.ring();
    Atomics.store(this.#cpu, at + WAITING, 1);
    // A kick stores its word before it looks whether we wait: one of the two sees the other.
    if (this.stopReason === Stop.No) Atomics.wait(resched, at, 0, forMs);
    Atomics.store(this.#cpu, at + WAITING, 0);
    if (timed) return;
    // In this order: whoever saw us among the idle sees that we left, before our word is cleared.
    Atomics.sub(this.#control, IDLE, 1);
    Atomics.add(this.#control, LEFT_IDLE, 1);
  }

  /** Wakes CPU `cpu`, whose resched word is set, if it sleeps. */
  kick(cpu: number, resched: Int32Array): boolean {
    if (Atomics.load(this.#cpu, cpu * LINE + WAITING) === 0) return false;
    Atomics.notify(resched, cpu * LINE, 1);
    return true;
  }

  /**
   * Nothing will ever happen again: all CPUs idle without a timer, and no kick is under way. Kicks come from CPUs that do
   * not idle; none left idling while we read their words, so at one moment all of it was true at once.
   */
  isQuiet(): boolean {
    const words = this.#reschedWords();
    if (words === undefined) return false;
    const left = Atomics.load(this.#control, LEFT_IDLE);
    if (Atomics.load(this.#control, IDLE) !== this.cpus) return false;
    for (let cpu = 0; cpu < this.cpus; cpu++) if (Atomics.load(words, cpu * LINE) !== 0) return false;
    return Atomics.load(this.#control, LEFT_IDLE) === left;
  }

  // --- watched by the supervisor ---

  phase(cpu: number, phase: Phase): void {
    this.#cpu[cpu * LINE + PHASE] = phase;
  }

  beat(cpu: number, task: number): void {
    const at = cpu * LINE;
    this.#cpu[at + TASK] = task;
    this.#cpu[at + BEAT] = (this.#cpu[at + BEAT]! + 1) | 0;
  }

  /** Where a CPU is, as its own words say. */
  seen(cpu: number): { readonly beat: number; readonly phase: Phase; readonly task: number } {
    const at = cpu * LINE;
    return {
      beat: Atomics.load(this.#cpu, at + BEAT),
      phase: Atomics.load(this.#cpu, at + PHASE) as Phase,
      task: Atomics.load(this.#cpu, at + TASK),
    };
  }

  /** Time since boot as CPU 0 saw it last. */
  get seconds(): number {
    return this.stat(0, Stat.SeenNs) / 1e9;
  }

  ring(): void {
    Atomics.add(this.#control, BELL, 1);
    Atomics.notify(this.#control, BELL);
  }

  /** Resolves when the bell rings, or after so long. */
  async listen(heard: number, forMs: number): Promise<number> {
    await Atomics.waitAsync(this.#control, BELL, heard, forMs).value;
    return Atomics.load(this.#control, BELL);
  }

  // --- tasks ---

  /** Panics when another CPU runs the task. */
  take(task: number, cpu: number): void {
    const before = Atomics.compareExchange(this.#owner, task, 0, cpu + 1);
    if (before !== 0) panic("a task is run twice at once: task, here, there", task, cpu, before - 1);
  }

  release(task: number, cpu: number): void {
    const before = Atomics.compareExchange(this.#owner, task, cpu + 1, 0);
    if (before !== cpu + 1) panic("a task was taken from its CPU: task, here, there", task, cpu, before - 1);
  }

  ownerOf(task: number): number {
    return this.#owner[task]! - 1;
  }

  /** Adds to the switches of all CPUs; how many there are now. */
  addSwitches(count: number): number {
    return Atomics.add(this.#control, SWITCHES, count) + count;
  }

  add(cpu: number, stat: number, value: number): void {
    this.stats[cpu * STATS + stat]! += value;
  }

  raise(cpu: number, stat: number, value: number): void {
    const at = cpu * STATS + stat;
    if (value > this.stats[at]!) this.stats[at] = value;
  }

  stat(cpu: number, stat: number): number {
    return this.stats[cpu * STATS + stat]!;
  }

  /** Undefined until the first CPU has made its tables. */
  #reschedWords(): Int32Array | undefined {
    const offset = Atomics.load(this.#control, RESCHED);
    if (offset !== 0) this.#resched ??= new Int32Array(this.#arena.buffer, offset, this.cpus * LINE);
    return this.#resched;
  }

  #awaitValue(word: number, value: number): void {
    for (;;) {
      const seen = Atomics.load(this.#control, word);
      if (seen === value) return;
      Atomics.wait(this.#control, word, seen);
    }
  }
}

/** Enough for every table of a parallel machine, the user's policy's among them. */
export function smpBytes(cpus: number, rows: number): number {
  return 1024 * KIB + rows * 1200 + cpus * 160 * KIB + (cpus + 16) * rows * 16 + cpus * rows * 24;
}

/** Futex locks; a CPU that has to wait for one says so. */
export const watchedLocks = (smp: Smp, cpu: number): LockOps => ({
  lock(words, at) {
    if (tryLock(words, at)) return;
    const { phase } = smp.seen(cpu);
    smp.phase(cpu, Phase.Lock);
    lock(words, at);
    smp.phase(cpu, phase);
  },
  tryLock,
  unlock,
});

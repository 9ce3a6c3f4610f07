/**
 * What the core knows of each CPU: its run-queue lock, its list of waiting tasks, whether it idles, and its wish to pick.
 *
 * - lock, unlock, lockTask          who has a lock sees which policy rules, and that it stays
 * - link, unlink                    the list of waiting tasks, oldest first
 * - setIdle, someIdle, idleFor      the mask of idle CPUs
 * - resched, kickAnIdle             asks a CPU to pick anew
 *
 * The list is written under its CPU's lock; the masks and resched words by anybody, through the world's word operations.
 */
import type { SchedState } from "./state.ts";
import { EPOCH, RULES } from "./state.ts";
import { cpuAt } from "./table.ts";

// Hot code reads names of this module only: an imported binding is loaded and checked anew at each use.
const POLICY = EPOCH;
const rowOf = cpuAt;

/** Bits of a CPU's resched word. */
export const RESCHED = 1;
/** The running task has to give way, whatever its slice. */
export const PREEMPT = 2;

export interface RunQueues {
  readonly lock: (cpu: number) => void;
  readonly tryLock: (cpu: number) => boolean;
  readonly unlock: (cpu: number) => void;
  /** Locks the run queue that guards task p, which may move while we wait for it. */
  readonly lockTask: (p: number) => number;
  /** Follows a change of policy made by another CPU. */
  readonly adopt: () => void;
  /** Appends to the CPU's list of waiting tasks; only policies with per-CPU queues keep one. */
  readonly link: (p: number, cpu: number) => void;
  readonly unlink: (p: number, cpu: number) => void;
  readonly setIdle: (cpu: number, idle: boolean) => void;
  readonly someIdle: () => boolean;
  readonly isIdle: (cpu: number) => boolean;
  /** An idle CPU that task p may use, `prev` first: it no longer counts as idle. -1: there is none. */
  readonly idleFor: (p: number, prev: number) => number;
  /** Work waits and someone idles: let an idle CPU look (it pulls, or takes from a shared queue). */
  readonly kickAnIdle: (p: number) => void;
  readonly resched: (cpu: number, bits: number) => void;
}

export function runQueues(s: SchedState): RunQueues {
  const { cpus, shared } = s;
  const { locks, words, resched: tell } = s.world;
  const { locks: lockWords, reschedWords, idle, queued, queuedLoad, rqHead, rqTail } = s.cpu;
  const { cpu: cpuOf, rqNext, rqPrev, onRq, loadWeight } = s.task;
  const { mayUse } = s.task;

  function adopt(): void {
    s.epoch = shared[POLICY]!;
    s.policy = s.policies[shared[RULES]!]!;
    s.directDsq = 0;
  }

  /** A policy is replaced under all run-queue locks. */
  function lock(cpu: number): void {
    locks.lock(lockWords, rowOf(cpu));
    if (shared[POLICY] !== s.epoch) adopt();
  }

  const tryLock = (cpu: number): boolean => locks.tryLock(lockWords, rowOf(cpu));
  const unlock = (cpu: number): void => locks.unlock(lockWords, rowOf(cpu));

  function lockTask(p: number): number {
    for (;;) {
      const cpu = cpuOf[p]!;
      lock(cpu);
      if (cpuOf[p] === cpu) return cpu;
      unlock(cpu);
    }
  }

  function link(p: number, cpu: number): void {
    if (s.policy.perCpuQueues !== true || onRq[p] !== 0) return;
    const at = rowOf(cpu);
    const last = rqTail[at]!;
    rqPrev[p] = last;
    rqNext[p] = 0;
    if (last === 0) rqHead[at] = p;
    else rqNext[last] = p;
    rqTail[at] = p;
    queued[at]!++;
    queuedLoad[at]! += loadWeight[p]!;
    onRq[p] = 1;
  }

  function unlink(p: number, cpu: number): void {
    if (onRq[p] === 0) return;
    const at = rowOf(cpu);
    const before = rqPrev[p]!;
    const after = rqNext[p]!;
    if (before === 0) rqHead[at] = after;
    else rqNext[before] = after;
    if (after === 0) rqTail[at] = before;
    else rqPrev[after] = before;
    queued[at]!--;
    queuedLoad[at]! -= loadWeight[p]!;
    onRq[p] = 0;
  }

  function setIdle(cpu: number, idles: boolean): void {
    const bit = 1 << (cpu & 31);
    if (idles) words.or(idle, cpu >> 5, bit);
    else words.and(idle, cpu >> 5, ~bit);
  }

  /**
   * Asked after work was queued. A read-modify-write, as setting the bit is one: either we see that a CPU idles, or that
   * CPU, which looks once more after it has set its bit, sees the work.
   */
  function someIdle(): boolean {
    if (cpus === 1) return false;
    return words.or(idle, 0, 0) !== 0 || (cpus > 32 && words.or(idle, 1, 0) !== 0);
  }

  const isIdle = (cpu: number): boolean => (words.load(idle, cpu >> 5) & (1 << (cpu & 31))) !== 0;

  function claimIdle(cpu: number): boolean {
    const word = cpu >> 5;
    const bit = 1 << (cpu & 31);
    return (idle[word]! & bit) !== 0 && (words.and(idle, word, ~bit) & bit) !== 0;
  }

  function idleFor(p: number, prev: number): number {
    if (idle[0] === 0 && idle[1] === 0) return -1;
    if (mayUse(p, prev) && claimIdle(prev)) return prev;
    for (let step = 1; step < cpus; step++) {
      const cpu = prev + step < cpus ? prev + step : prev + step - cpus;
      if (mayUse(p, cpu) && claimIdle(cpu)) return cpu;
    }
    return -1;
  }

  function resched(cpu: number, bits: number): void {
    words.or(reschedWords, rowOf(cpu), bits);
    tell(cpu);
  }

  function kickAnIdle(p: number): void {
    const cpu = idleFor(p, cpuOf[p]!);
    if (cpu >= 0) resched(cpu, RESCHED);
  }

  return {
    lock,
    tryLock,
    unlock,
    lockTask,
    adopt,
    link,
    unlink,
    setIdle,
    someIdle,
    isIdle,
    idleFor,
    kickAnIdle,
    resched,
  };
}

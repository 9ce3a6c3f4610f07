/**
 * How a policy is thrown out: it threw, asked for what cannot be, gave up, or let a task wait too long (the watchdog).
 *
 * - caught(thrown, during)   where a policy's mistake ends: it is recorded, and the policy goes at the next safe point
 * - asked()                  that has happened, here or on another CPU
 * - sync()                   before each entry, no lock held: makes the change of policy that was asked
 * - watchdog()               looks for a task that waits beyond the policy's time-out
 *
 * The change stops the world by taking every run queue, and the fallback rules (rule.ts) until another is chosen; a
 * fallback that errs is a panic.
 */
import { Ev, EjectReason } from "../kernel/abi/events.ts";
import { WATCHDOG_NS_MAX } from "../kernel/abi/limits.ts";
import { KernelPanic } from "../kernel/lib/assert.ts";
import { PolicyError } from "./policy_error.ts";
import type { Rule } from "./rule.ts";
import { RESCHED } from "./run_queue.ts";
import type { RunQueues } from "./run_queue.ts";
import { EJECT_ASKED, EJECTED, FALLBACK, RULES } from "./state.ts";
import type { SchedState } from "./state.ts";
import { TaskState } from "./table.ts";

/** Looked at before each entry. */
const ASKED = EJECT_ASKED;

export interface Ejection {
  /** `during` is the operation that was under way, for errors of which the message does not tell. */
  readonly caught: (thrown: unknown, during: string) => void;
  readonly asked: () => boolean;
  readonly sync: () => void;
  readonly watchdog: () => boolean;
}

export function ejection(s: SchedState, rq: RunQueues, rule: Rule): Ejection {
  const { cpus, task, shared } = s;
  const { now, trace, words } = s.world;
  const { rows, state, waitSince } = task;

  function caught(thrown: unknown, during: string): void {
    if (thrown instanceof KernelPanic) throw thrown;
    s.dispatchCpu = -1;
    if (thrown instanceof PolicyError) return ask(thrown.message, thrown.reason, 0, 0);
    ask(`${during}: ${thrown instanceof Error ? thrown.message : String(thrown)}`, EjectReason.Error, 0, 0);
  }

  function ask(message: string, reason: number, p: number, waitedMs: number): void {
    if (shared[RULES] === FALLBACK) throw new KernelPanic(`fallback policy ${s.policy.name}: ${message}`);
    if (words.compareExchange(shared, EJECT_ASKED, 0, 1) !== 0) return;
    s.ejectMessage = message;
    trace(Ev.SchedEject, 0, reason, p, waitedMs, 0);
  }

  const asked = (): boolean => shared[ASKED] !== 0;

  function sync(): void {
    if (shared[ASKED] !== 0) replace();
  }

  function replace(): void {
    for (let cpu = 0; cpu < cpus; cpu++) rq.lock(cpu);
    if (asked() && shared[RULES] !== FALLBACK) {
      shared[EJECTED] = 1;
      rule.comeUp(FALLBACK);
      rule.handOver(FALLBACK);
    }
    words.store(shared, EJECT_ASKED, 0);
    for (let cpu = cpus - 1; cpu >= 0; cpu--) rq.unlock(cpu);
    for (let cpu = 0; cpu < cpus; cpu++) rq.resched(cpu, RESCHED);
  }

  function watchdog(): boolean {
    sync();
    const limit = Math.min((s.policy.timeoutMs ?? WATCHDOG_NS_MAX / 1e6) * 1e6, WATCHDOG_NS_MAX);
    const at = now();
    let longest = 0;
    for (let p = 1; p < rows; p++)
      if (state[p] === TaskState.Queued && (longest === 0 || waitSince[p]! < waitSince[longest]!)) longest = p;
    if (longest === 0) return false;
    const home = rq.lockTask(longest);
    const waited = state[longest] === TaskState.Queued ? at - waitSince[longest]! : 0;
    rq.unlock(home);
    if (waited > limit && shared[RULES] !== FALLBACK) {
      const waitedMs = Math.round(waited / 1e6);
      ask(`task ${longest} waited ${waitedMs} ms to run`, EjectReason.Stall, longest, waitedMs);
      sync();
    }
    return true;
  }

  return { caught, asked, sync, watchdog };
}

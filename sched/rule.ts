/**
 * Which policy rules, and how one hands over to the next while the machine runs.
 *
 * - comeUp(n)        policy n is made anew, over its own memory, zeroed; it does not rule yet
 * - handOver(n)      policy n, which has come up, rules from here on; every run queue is locked
 * - switchTo(n)      both, when somebody asks for it; 0, or EINVAL: it does not come up, and nothing has changed
 *
 * The world stands still while a policy hands over. All that waits leaves its queues; the new policy gets every task, then
 * what runs, then what waits, longest first, each as a task that has just come. All CPUs pick anew afterwards. A policy
 * that errs meanwhile is ejected, as at any time.
 */
import { EINVAL } from "../kernel/abi/errno.ts";
import { Ev } from "../kernel/abi/events.ts";
import * as abi from "../kernel/abi/sched.ts";
import type { PolicyFactory, SchedKernel } from "../kernel/abi/sched.ts";
import type { Errno } from "../kernel/abi/units.ts";
import { KernelPanic } from "../kernel/lib/assert.ts";
import { NO_DSQ } from "./dsq.ts";
import type { Ejection } from "./eject.ts";
import type { Moves } from "./moves.ts";
import { wellFormed } from "./policy_error.ts";
import type { PolicyMemory } from "./policy_memory.ts";
import { RESCHED } from "./run_queue.ts";
import type { RunQueues } from "./run_queue.ts";
import { EPOCH, RULES } from "./state.ts";
import type { SchedState } from "./state.ts";
import { cpuAt, TaskState } from "./table.ts";

export interface Rule {
  readonly comeUp: (policy: number) => void;
  readonly handOver: (policy: number) => void;
}

export interface RuleParts {
  readonly kernel: SchedKernel;
  readonly factories: readonly PolicyFactory[];
  readonly memories: readonly PolicyMemory[];
}

export function ruling(s: SchedState, parts: RuleParts, rq: RunQueues, { putOn }: Moves): Rule {
  const { cpus, task, cpu, dsqs, shared, policies } = s;
  const { now, trace } = s.world;
  const { rows, state, waitSince, slice, dsq, onRq } = task;

  function comeUp(n: number): void {
    const memory = parts.memories[n]!;
    s.memory = memory;
    memory.begin();
    try {
      const policy = wellFormed(parts.factories[n]!(parts.kernel));
      policy.init?.();
      policies[n] = policy;
    } finally {
      s.memory = undefined;
    }
    memory.end();
  }

  function handOver(n: number): void {
    const old = s.policy;
    const tasks: number[] = [];
    for (let p = 1; p < rows; p++) if (state[p] !== TaskState.Free) tasks.push(p);
    for (const p of tasks) {
      quietly(() => old.disable?.(p));
      quietly(() => old.exitTask?.(p));
    }
    quietly(() => old.exit?.());
    // Only now: a policy may put tasks into queues even as it leaves.
    for (const p of tasks) {
      dsqs.remove(p, dsq[p]!);
      if (onRq[p] !== 0) rq.unlink(p, task.cpu[p]!);
    }
    const waiting = tasks.filter((p) => state[p] === TaskState.Queued);
    waiting.sort((a, b) => waitSince[a]! - waitSince[b]! || a - b);
    trace(Ev.SchedPolicy, 0, n, shared[RULES]!, waiting.length, 0);
    shared[EPOCH]!++;
    shared[RULES] = n;
    rq.adopt();
    const { policy } = s;
    for (const p of tasks) {
      policy.initTask?.(p);
      policy.enable?.(p);
      slice[p] = 0;
      waitSince[p] = now();
    }
    // First what runs: what waits is placed beside it.
    for (let c = 0; c < cpus; c++) {
      const p = cpu.curr[cpuAt(c)]!;
      if (p === 0) continue;
      policy.runnable?.(p, abi.ENQ_NEW);
      policy.running?.(p);
    }
    for (const p of waiting) {
      policy.runnable?.(p, abi.ENQ_NEW);
      putOn(p, task.cpu[p]!, abi.ENQ_NEW);
    }
  }

  return { comeUp, handOver };
}

export function switching(
  s: SchedState,
  rq: RunQueues,
  rule: Rule,
  eject: Ejection,
  account: (cpu: number) => void,
): (policy: number) => 0 | Errno {
  const { cpus, task, shared } = s;
  const { rows, state, dsq } = task;

  /** The policy that rules is told that its tasks go. */
  function takeLeave(): void {
    const { policy } = s;
    for (let c = 0; c < cpus; c++) {
      account(c);
      const p = s.cpu.curr[cpuAt(c)]!;
      if (p === 0) continue;
      quietly(() => policy.stopping?.(p, true));
      quietly(() => policy.quiescent?.(p, abi.DEQ_SAVE));
    }
    for (let p = 1; p < rows; p++)
      if (state[p] === TaskState.Queued && dsq[p] === NO_DSQ) quietly(() => policy.dequeue?.(p, abi.DEQ_SAVE));
  }

  return (n) => {
    eject.sync();
    for (let c = 0; c < cpus; c++) rq.lock(c);
    let result: 0 | Errno = 0;
    if (shared[RULES] !== n) {
      try {
        rule.comeUp(n);
      } catch (thrown) {
        if (thrown instanceof KernelPanic) throw thrown;
        result = EINVAL;
      }
      if (result === 0) {
        takeLeave();
        try {
          rule.handOver(n);
        } catch (thrown) {
          eject.caught(thrown, "enable");
        }
      }
    }
    for (let c = cpus - 1; c >= 0; c--) rq.unlock(c);
    for (let c = 0; c < cpus; c++) rq.resched(c, RESCHED);
    eject.sync();
    return result;
  };
}

/** Calls a leaving policy: its farewell may fail, too; it no longer matters. */
export function quietly(call: () => void): void {
  try {
    call();
  } catch (thrown) {
    if (thrown instanceof KernelPanic) throw thrown;
  }
}

/**
 * A policy of ours with its reference beside it: every operation of the core goes to both, the reference first, and at
 * every pick and every wish to preempt they must agree. The reference shares nothing with ours but the core's accounting
 * of CPU time (sumExec).
 *
 * - twin(policy, make)   the pair as one policy, and what the test looks into
 */
import { assert, panic } from "../../../kernel/lib/assert.ts";
import type { PolicyFactory, SchedKernel } from "../../../kernel/abi/sched.ts";

/** Operations as the policy's; those that may preempt say whether Linux would ask for it. */
export interface Reference {
  initTask(p: number): void;
  enqueue(p: number, flags: number): boolean;
  dequeue(p: number, flags: number): void;
  /** Best of the waiting tasks and `prev`, 0 for idle. */
  pick(cpu: number, prev: number): number;
  running(p: number): void;
  tick(p: number): boolean;
  stopping(p: number): void;
  quiescent(p: number, flags: number): void;
  setWeight(p: number): boolean;
}

export interface Twin<Ref> {
  readonly policy: PolicyFactory;
  /** Filled when the machine comes up. */
  reference: Ref | undefined;
  /** Arrays that ours asked for, in order. */
  readonly perTask: Float64Array[];
  readonly perCpu: Float64Array[];
  picks: number;
  switches: number;
  preemptions: number;
}

/** `exact`: ours may preempt only when the reference does. Else ours may look once more, and must then agree. */
export function twin<Ref extends Reference>(
  ours: PolicyFactory,
  make: (k: SchedKernel) => Ref,
  exact: boolean,
): Twin<Ref> {
  const pair: Twin<Ref> = {
    policy: (k) => wire(k),
    reference: undefined,
    perTask: [],
    perCpu: [],
    picks: 0,
    switches: 0,
    preemptions: 0,
  };
  const wire: PolicyFactory = (k) => {
    let inserted = 0;
    const spy: SchedKernel = {
      cpus: k.cpus,
      tasksMax: k.tasksMax,
      task: k.task,
      now: k.now,
      tickNs: k.tickNs,
      perTask: () => noted(pair.perTask, k.perTask()),
      perCpu: () => noted(pair.perCpu, k.perCpu()),
      words: (words) => k.words(words),
      tunable: (...of) => k.tunable(...of),
      createDsq: () => k.createDsq(),
      dsqInsert: (p, dsq, slice, flags) => {
        inserted = p;
        k.dsqInsert(p, dsq, slice, flags);
      },
      dsqInsertVtime: (p, dsq, slice, vtime, flags) => k.dsqInsertVtime(p, dsq, slice, vtime, flags),
      dsqMoveToLocal: (dsq, cpu) => k.dsqMoveToLocal(dsq, cpu),
      dsqNrQueued: (dsq) => k.dsqNrQueued(dsq),
      kickCpu: (cpu, flags) => k.kickCpu(cpu, flags),
      selectCpuDfl: (p, prev, flags) => k.selectCpuDfl(p, prev, flags),
      running: (cpu) => k.running(cpu),
      needResched: (cpu) => k.needResched(cpu),
      nrRunning: (cpu) => k.nrRunning(cpu),
      account: (cpu) => k.account(cpu),
      error: (message) => k.error(message),
    };
    const reference = (pair.reference = make(k));
    const policy = ours(spy);
    /** Runs an operation on both and compares what they want of the CPU. */
    const both = (cpu: number, refOp: () => boolean, ourOp: () => void, during: string): void => {
      const curr = k.running(cpu);
      const before = k.needResched(cpu);
      const wants = refOp();
      ourOp();
      // A slice that is over makes the core ask at the end of a tick.
      const got = k.needResched(cpu) || (during === "tick" && k.task.slice[curr] === 0);
      if (wants && !before) pair.preemptions++;
      if (curr === 0 || got === (wants || before)) return;
      if (exact || !got) panic(`${during}: ours and the reference disagree about preemption`, cpu, String(wants));
    };
    return {
      ...policy,
      initTask: (p) => {
        reference.initTask(p);
        policy.initTask?.(p);
      },
      enqueue: (p, flags) =>
        both(
          k.task.cpu[p]!,
          () => reference.enqueue(p, flags),
          () => policy.enqueue(p, flags),
          "enqueue",
        ),
      dequeue: (p, flags) => {
        reference.dequeue(p, flags);
        policy.dequeue?.(p, flags);
      },
      dispatch: (cpu, prev) => {
        const want = reference.pick(cpu, prev);
        inserted = 0;
        policy.dispatch?.(cpu, prev);
        const got = inserted === 0 ? prev : inserted;
        pair.picks++;
        if (got !== prev) pair.switches++;
        if (got !== want) panic("dispatch: ours and the reference pick different tasks", cpu, prev, got, want);
      },
      running: (p) => {
        reference.running(p);
        policy.running?.(p);
      },
      tick: (p) =>
        both(
          k.task.cpu[p]!,
          () => reference.tick(p),
          () => policy.tick?.(p),
          "tick",
        ),
      stopping: (p, runnable) => {
        reference.stopping(p);
        policy.stopping?.(p, runnable);
      },
      quiescent: (p, flags) => {
        reference.quiescent(p, flags);
        policy.quiescent?.(p, flags);
      },
      setWeight: (p) =>
        both(
          k.task.cpu[p]!,
          () => reference.setWeight(p),
          () => policy.setWeight?.(p),
          "setWeight",
        ),
    };
  };
  return pair;
}

function noted(list: Float64Array[], array: Float64Array): Float64Array {
  assert(
    array.every((value) => value === 0),
    "twin: an array of the policy does not start zeroed",
  );
  list.push(array);
  return array;
}

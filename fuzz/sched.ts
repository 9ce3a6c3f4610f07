/**
 * Random operations on the scheduler's core under every policy, honest and not: after each step the invariants hold, and
 * at the end every task has run and exited. A policy that errs, at a random moment in a random way, is ejected, and the
 * fallback does the rest.
 */
import { DSQ_GLOBAL, DSQ_LOCAL, DSQ_LOCAL_ON, SLICE_DFL } from "../kernel/abi/sched.ts";
import type { PolicyFactory, SchedKernel } from "../kernel/abi/sched.ts";
import { KernelPanic } from "../kernel/lib/assert.ts";
import { nextBelow, prng } from "../kernel/lib/prng.ts";
import { cfs, checkSched, eevdf, fifo, roundRobin } from "../sched/index.ts";
import { SchedRig } from "./sched_rig.ts";
import type { FuzzResult, FuzzTarget } from "./target.ts";

const STEPS = 400;
const WATCHDOG_NS = 31e9;

const HONEST: readonly PolicyFactory[] = [fifo, roundRobin(1_000_000), cfs, eevdf];

/** Whatever a policy may do wrong in enqueue or dispatch; each is an error or a stall, sooner or later. */
const MISDEEDS: readonly ((k: SchedKernel, p: number) => void)[] = [
  () => {
    throw new TypeError("a mistake in the policy");
  },
  (k) => k.error("the policy gives up"),
  (k, p) => k.dsqInsert(p, 999, SLICE_DFL, 0),
  (k, p) => k.dsqInsert(p, DSQ_LOCAL_ON | 63, SLICE_DFL, 0),
  (k, p) => k.dsqInsert(p, 0.5, SLICE_DFL, 0),
  (k, p) => {
    k.dsqInsert(p, DSQ_GLOBAL, SLICE_DFL, 0);
    k.dsqInsert(p, DSQ_LOCAL, SLICE_DFL, 0);
  },
  (k, p) => k.dsqInsert(p, DSQ_GLOBAL, Number.NaN, 0),
  (k, p) => k.dsqInsertVtime(p, DSQ_GLOBAL, SLICE_DFL, 0, 0),
  (k) => k.dsqInsert(k.tasksMax, DSQ_GLOBAL, SLICE_DFL, 0),
  (k) => k.dsqInsert(0, DSQ_GLOBAL, SLICE_DFL, 0),
  (k) => {
    for (let p = 1; p < k.tasksMax; p++) k.dsqInsert(p, DSQ_GLOBAL, SLICE_DFL, 0);
  },
  (k) => void k.dsqMoveToLocal(-7, 0),
  (k) => void k.createDsq(),
  (k) => k.kickCpu(k.cpus, 0),
  // Loses the task: a stall.
  () => {},
];

/** Behaves like fifo until operation number `at`, then does what it should not, there and ever after. */
const dishonest =
  (state: Int32Array): PolicyFactory =>
  (k) => {
    const misdeed = MISDEEDS[nextBelow(state, MISDEEDS.length)]!;
    const where = nextBelow(state, 8);
    let left = nextBelow(state, 40);
    const due = (place: number): boolean => where === place && left-- <= 0;
    const maybe = (place: number, p: number): void => {
      if (due(place)) misdeed(k, p);
    };
    return {
      name: "dishonest",
      selectCpu: (_p, prev) => (due(1) ? prev + 0.5 : prev),
      enqueue: (p, flags) =>
        where === 0 && left-- <= 0 ? misdeed(k, p) : k.dsqInsert(p, DSQ_GLOBAL, SLICE_DFL, flags),
      dispatch: (_cpu, prev) => maybe(2, prev),
      running: (p) => maybe(3, p),
      tick: (p) => maybe(4, p),
      stopping: (p) => maybe(5, p),
      quiescent: (p) => maybe(6, p),
      setWeight: (p) => maybe(7, p),
      exitTask: (p) => maybe(7, p),
    };
  };

/** One of ours, with an operation that throws from its n-th call on. */
const failing =
  (state: Int32Array): PolicyFactory =>
  (k) => {
    const policy = HONEST[nextBelow(state, HONEST.length)]!(k);
    const names = OPERATIONS.filter((name) => policy[name] !== undefined);
    const name = names[nextBelow(state, names.length)]!;
    const right = policy[name] as (...args: readonly number[]) => number | void;
    let left = nextBelow(state, 60);
    const wrong = (...args: readonly number[]): number | void => {
      if (left-- <= 0) throw new TypeError("a mistake in the policy");
      return right(...args);
    };
    return { ...policy, [name]: wrong };
  };
const OPERATIONS = [
  ...(["selectCpu", "enqueue", "dequeue", "dispatch", "running", "tick", "stopping", "quiescent"] as const),
  "setWeight",
] as const;

/** Forgets one task in twenty. */
const forgetful: PolicyFactory = (k) => {
  let count = 0;
  return {
    name: "forgetful",
    enqueue: (p, flags) => {
      if (++count % 20 !== 0) k.dsqInsert(p, DSQ_GLOBAL, SLICE_DFL, flags);
    },
  };
};

function checkCase(seed: number, given?: PolicyFactory): string | undefined {
  const state = prng(seed);
  const cpus = [1, 2, 3, 4, 8, 33, 64][nextBelow(state, 7)]!;
  const kind = nextBelow(state, HONEST.length + 2);
  const policy = given ?? HONEST[kind] ?? (kind % 2 === 0 ? dishonest(state) : failing(state));
  const honest = given !== undefined || kind < HONEST.length;
  const tasks = 1 + nextBelow(state, 40);
  try {
    const affinity = nextBelow(state, 2) === 0;
    const others = nextBelow(state, 2) === 0 ? { others: HONEST } : {};
    const rig = new SchedRig({ seed, cpus, tasks, policy, affinity, ...others });
    const seen = new Float64Array(rig.sched.tasksMax);
    for (let step = 0; step < STEPS; step++) {
      rig.step();
      checkSched(rig.sched, seen);
    }
    const done = rig.drain();
    if (!done && !honest) {
      rig.time[0]! += WATCHDOG_NS;
      rig.sched.watchdog();
    }
    if (!done && (honest || !rig.drain())) return "a task is left that nobody runs";
    checkSched(rig.sched, seen);
    if (honest && rig.sched.ejected()) return `an honest policy was ejected: ${rig.sched.ejectMessage()}`;
  } catch (error) {
    return error instanceof KernelPanic ? `panic: ${error.message}` : `thrown out of the core: ${String(error)}`;
  }
  return undefined;
}

function run(seed: number, runs: number, progress: (done: number) => void, policy?: PolicyFactory): FuzzResult {
  for (let k = 0; k < runs; k++) {
    const message = checkCase(seed + k, policy);
    if (message !== undefined) return { runs: k + 1, failure: { seed: seed + k, message } };
    progress(k + 1);
  }
  return { runs };
}

export const target: FuzzTarget = {
  name: "sched",
  help: "random operations on the scheduler's core, under honest policies and others",
  run: (seed, runs, progress) => run(seed, runs, progress),
  canary: (seed) => run(seed, 20, () => {}, forgetful),
};

/**
 * The wiring: how a lockstep machine comes up, as a list to be read aloud. Each step fills slots; one whose feature is
 * off is skipped and what it would load is never loaded.
 */
import type { PolicyFactory } from "./abi/sched.ts";
import { resolveFeatures } from "./config.ts";
import type { Feature } from "./config.ts";
import { assert } from "./lib/assert.ts";
import { virtualMachine } from "./machine.ts";
import type { VirtualMachine } from "./machine.ts";
import type { EventHash } from "./observe/hash.ts";
import type { EventLog } from "./observe/event_log.ts";
import { LockstepWorld } from "./world_lockstep.ts";
import type { Costs } from "../sched/cost.ts";
import { cfs } from "../sched/policies/cfs.ts";
import type { Workload } from "../sched/workload/program.ts";

export interface BootConfig {
  readonly features: Iterable<Feature>;
  readonly seed: number;
  readonly cpus: number;
  readonly workload: Workload;
  readonly costs: Costs;
  /** The policy of SCHED_CUSTOM; must be given with that feature and only then. */
  readonly policy?: PolicyFactory;
  /** Period of the tick, ns; 4 ms as HZ=250 when left out. */
  readonly tickNs?: number;
  /** Time of the first tick, ns; drawn from the seed when left out. */
  readonly tickPhaseNs?: number;
  /** End slices by a timer of their own and not at the next tick (Linux: HRTICK). */
  readonly exactSlices?: boolean;
}

/** What the steps fill. What has a value here from the start is the default that stays when nothing replaces it. */
interface Slots {
  policy: PolicyFactory;
  log: EventLog | undefined;
  hash: EventHash | undefined;
  machine: VirtualMachine | undefined;
  world: LockstepWorld | undefined;
}

interface Step {
  readonly name: string;
  readonly feature?: Feature;
  readonly start: (slots: Slots, config: BootConfig, on: ReadonlySet<Feature>) => void | Promise<void>;
}

const TICK_NS = 4_000_000;

/** Boot order, top to bottom. */
export const STEPS: readonly Step[] = [
  {
    name: "events: log",
    feature: "EVENT_LOG",
    start: async (slots, config) => {
      const { EventLog } = await import("./observe/event_log.ts");
      slots.log = new EventLog(config.cpus);
      const named = [...config.workload.tasks, ...config.costs.background];
      for (const [index, { name }] of named.entries()) slots.log.names.set(index + 1, name);
    },
  },
  {
    name: "events: hash",
    feature: "EVENT_HASH",
    start: async (slots) => {
      slots.hash = new (await import("./observe/hash.ts")).EventHash();
    },
  },
  {
    name: "machine: clock, chance, trace",
    start: (slots, config) => {
      slots.machine = virtualMachine(config.seed, { log: slots.log, hash: slots.hash });
    },
  },
  {
    name: "sched: fifo",
    feature: "SCHED_FIFO",
    start: async (slots) => {
      slots.policy = (await import("../sched/policies/fifo.ts")).fifo;
    },
  },
  {
    name: "sched: round robin",
    feature: "SCHED_RR",
    start: async (slots) => {
      slots.policy = (await import("../sched/policies/rr.ts")).rr;
    },
  },
  {
    name: "sched: eevdf",
    feature: "SCHED_EEVDF",
    start: async (slots) => {
      slots.policy = (await import("../sched/policies/eevdf.ts")).eevdf;
    },
  },
  {
    name: "sched: the user's policy",
    feature: "SCHED_CUSTOM",
    start: (slots, config) => {
      assert(config.policy !== undefined, "boot: SCHED_CUSTOM without a policy");
      slots.policy = config.policy;
    },
  },
  {
    name: "world: CPUs, tasks, programs",
    start: (slots, config, on) => {
      const tickNs = config.tickNs ?? TICK_NS;
      slots.world = new LockstepWorld(slots.machine!, {
        cpus: config.cpus,
        policy: slots.policy,
        fallback: cfs,
        workload: config.workload,
        costs: config.costs,
        tickNs,
        tickPhaseNs: config.tickPhaseNs ?? slots.machine!.below(tickNs),
        exactSlices: config.exactSlices ?? false,
        metrics: on.has("SCHED_STATS"),
      });
    },
  },
];

export interface Booted {
  readonly machine: VirtualMachine;
  readonly world: LockstepWorld;
  /** Names of the steps that ran, in order. */
  readonly steps: readonly string[];
}

export async function boot(config: BootConfig): Promise<Booted> {
  const on = resolveFeatures(config.features);
  assert(on.has("SCHED_CUSTOM") || config.policy === undefined, "boot: a policy is given but SCHED_CUSTOM is off");
  const slots: Slots = { policy: cfs, log: undefined, hash: undefined, machine: undefined, world: undefined };
  const steps: string[] = [];
  for (const step of STEPS) {
    if (step.feature !== undefined && !on.has(step.feature)) continue;
    await step.start(slots, config, on);
    steps.push(step.name);
  }
  return { machine: slots.machine!, world: slots.world!, steps };
}

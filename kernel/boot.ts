/**
 * The wiring: how a lockstep machine comes up, as a list to be read aloud. Each step fills slots; one whose feature is
 * off is skipped and what it would load is never loaded.
 *
 * - boot(config)          a scheduler with a workload of runs and sleeps: for experiments (world_lockstep.ts)
 * - bootMachine(config)   everything: memory, disk, file systems, tasks that make system calls (system.ts)
 */
import type { Elevator } from "./abi/elevator.ts";
import type { EvictPolicyType } from "./abi/evict.ts";
import type { EventSink } from "./abi/machine.ts";
import type { UserStart } from "./abi/program.ts";
import { USER_BYTES } from "./abi/program.ts";
import type { PolicyFactory } from "./abi/sched.ts";
import type { Errno } from "./abi/units.ts";
import { resolveFeatures } from "./config.ts";
import type { Feature } from "./config.ts";
import { assert } from "./lib/assert.ts";
import { virtualMachine } from "./machine.ts";
import type { VirtualMachine } from "./machine.ts";
import type { EventHash } from "./observe/hash.ts";
import type { EventLog } from "./observe/event_log.ts";
import type { NamedPolicy, System } from "./system.ts";
import type { LoadAverage } from "./fs/pseudo/proc_sched.ts";
import { systemView } from "./machine_view.ts";
import type { MachineParts, MachineView } from "./machine_view.ts";
import type { ProcParts } from "./wire_proc.ts";
import type { CallTimes } from "./observe/call_times.ts";
import type { Refaults } from "./observe/refaults.ts";
import type { TaskTimes } from "./observe/task_times.ts";
import type { CachedPages } from "./wire_files.ts";
import type { Disk } from "./wire_disk.ts";
import type { Memory } from "./wire_memory.ts";
import type { Slabs } from "./wire_slabs.ts";
import type { LockstepWorld } from "./world_lockstep.ts";
import type { MountOptions } from "./fs/ext4/mount_options.ts";
import type { Ext4 } from "./fs/ext4/ext4.ts";
import type { ServiceModel } from "../drivers/sim/disk_service.ts";
import type { FaultPlan } from "../drivers/sim/faults.ts";
import type { Psi } from "../mm/psi.ts";
import type { Vmscan } from "../mm/vmscan.ts";
import type { Compaction } from "../mm/compaction.ts";
import type { Costs } from "../sched/cost.ts";
import { cfs } from "../sched/policies/cfs.ts";
import type { Workload } from "../sched/workload/program.ts";

interface CommonConfig {
  readonly features: Iterable<Feature>;
  readonly seed: number;
  readonly cpus: number;
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

export interface BootConfig extends CommonConfig {
  readonly workload: Workload;
}

export interface MachineConfig extends CommonConfig {
  readonly starts: readonly UserStart[];
  /** Whole pages; 32 MiB or more. */
  readonly memoryBytes: number;
  /** The disk's content, written in place. Needed with BLOCK, and only then. */
  readonly image?: Uint8Array;
  /** How long its requests take; missing: no time. */
  readonly service?: ServiceModel;
  /** What goes wrong in the disk. */
  readonly faults?: FaultPlan;
  readonly elevator?: Elevator;
  readonly evict?: EvictPolicyType;
  readonly mount?: MountOptions;
  /** Rows of the task table. */
  readonly rows?: number;
  /** What tasks write to /dev/kmsg. */
  readonly console?: (text: string) => void;
  readonly version?: string;
}

/** What the steps fill. What has a value here from the start is the default that stays when nothing replaces it. */
interface Slots {
  policy: NamedPolicy;
  /** Those that can be chosen later, beside that and cfs. */
  others: readonly NamedPolicy[];
  log: EventLog | undefined;
  hash: EventHash | undefined;
  machine: VirtualMachine | undefined;
  world: LockstepWorld | undefined;
  trace: EventSink;
  observers: EventSink[];
  memory: Memory | undefined;
  slabs: Slabs | undefined;
  psi: Psi | undefined;
  times: TaskTimes | undefined;
  calls: CallTimes | undefined;
  refaults: Refaults | undefined;
  vmscan: Vmscan | undefined;
  compaction: Compaction | undefined;
  system: System | undefined;
  disk: Disk | undefined;
  pages: CachedPages | undefined;
  ext4: Ext4 | undefined;
  /** Why the machine does not come up. */
  refusal: { readonly errno: Errno; readonly reason: string } | undefined;
}

type Steps<Config> = readonly {
  readonly name: string;
  readonly feature?: Feature;
  readonly start: (slots: Slots, config: Config, on: ReadonlySet<Feature>) => void | Promise<void>;
}[];

const CFS: NamedPolicy = { name: "cfs", factory: cfs };
const TICK_NS = 4_000_000;
const ROWS = 256;
const TMP_PAGES = 1024;
const VERSION = "Linux version 6.1.0-orrery (orrery) #1 SMP PREEMPT_DYNAMIC";

/** Who looks at what happens. */
const EVENTS: Steps<CommonConfig> = [
  {
    name: "events: log",
    feature: "EVENT_LOG",
    start: async (slots, config) => {
      slots.log = new (await import("./observe/event_log.ts")).EventLog(config.cpus);
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
];

const POLICIES: Steps<CommonConfig> = [
  {
    name: "sched: fifo",
    feature: "SCHED_FIFO",
    start: async (slots) => {
      const { fifo } = await import("../sched/policies/fifo.ts");
      slots.policy = { name: "fifo", factory: fifo };
    },
  },
  {
    name: "sched: round robin",
    feature: "SCHED_RR",
    start: async (slots) => {
      const { rr } = await import("../sched/policies/rr.ts");
      slots.policy = { name: "rr", factory: rr };
    },
  },
  {
    name: "sched: eevdf",
    feature: "SCHED_EEVDF",
    start: async (slots) => {
      const { eevdf } = await import("../sched/policies/eevdf.ts");
      slots.policy = { name: "eevdf", factory: eevdf };
    },
  },
  {
    name: "sched: the user's policy",
    feature: "SCHED_CUSTOM",
    start: (slots, config) => {
      assert(config.policy !== undefined, "boot: SCHED_CUSTOM without a policy");
      slots.policy = { name: "custom", factory: config.policy };
    },
  },
];

/** Boot order of an experiment, top to bottom. */
export const STEPS: Steps<BootConfig> = [
  ...EVENTS,
  ...POLICIES,
  {
    name: "world: CPUs, tasks, programs",
    start: async (slots, config, on) => {
      const { LockstepWorld } = await import("./world_lockstep.ts");
      for (const [index, { name }] of [...config.workload.tasks, ...config.costs.background].entries())
        slots.log?.names.set(index + 1, name);
      slots.world = new LockstepWorld(slots.machine!, {
        ...clocks(slots, config),
        cpus: config.cpus,
        policy: slots.policy.factory,
        fallback: cfs,
        workload: config.workload,
        costs: config.costs,
        metrics: on.has("SCHED_STATS"),
      });
    },
  },
];

function clocks(slots: Slots, config: CommonConfig): { tickNs: number; tickPhaseNs: number; exactSlices: boolean } {
  const tickNs = config.tickNs ?? TICK_NS;
  const tickPhaseNs = config.tickPhaseNs ?? slots.machine!.below(tickNs);
  return { tickNs, tickPhaseNs, exactSlices: config.exactSlices ?? false };
}

/** The machine as the file systems and the disk know it: their events are of the CPU that is at work. */
function traced({ machine, trace, system }: Slots): VirtualMachine {
  return { ...machine!, trace: (type, _cpu, a, b, c, d) => trace(type, system!.executor.cpu(), a, b, c, d) };
}

const machineParts = ({ times, refaults, memory, slabs, psi, compaction, disk, pages, ext4 }: Slots): MachineParts => ({
  times: times!,
  refaults: refaults!,
  memory,
  slabs,
  psi,
  compaction,
  disk,
  pages,
  ext4,
});

/** What /proc and /sys show of the machine. */
async function procParts(
  slots: Slots,
  config: MachineConfig,
  on: ReadonlySet<Feature>,
  newLoad: (now: number) => LoadAverage,
): Promise<ProcParts> {
  const { ELEVATORS } = await import("../drivers/block/elevator/index.ts");
  const { vmActs } = await import("./vm_acts.ts");
  const system = slots.system!;
  return {
    view: systemView(system, config.cpus, machineParts(slots)),
    seed: config.seed,
    features: [...on].sort(),
    policy: {
      names: system.policyNames(),
      current: () => system.policy(),
      set: (name) => system.setPolicy(name),
    },
    tunables: system.policyTunables(),
    acts: vmActs(system, slots, on.has("COMPACTION")),
    load: newLoad(slots.machine!.time[0]!),
    elevators:
      config.elevator === undefined || ELEVATORS.includes(config.elevator)
        ? ELEVATORS
        : [...ELEVATORS, config.elevator],
    rotational: config.service?.kind === "hdd",
  };
}

/** Boot order of a whole machine. */
export const MACHINE_STEPS: Steps<MachineConfig> = [
  ...EVENTS,
  ...POLICIES,
  {
    name: "sched: the other policies",
    feature: "SCHED_SWITCH",
    start: async (slots) => {
      const { eevdf, fifo, rr } = await import("../sched/index.ts");
      slots.others = Object.entries({ eevdf, fifo, rr })
        .map(([name, factory]) => ({ name, factory }))
        .filter(({ name }) => name !== slots.policy.name);
    },
  },
  {
    name: "trace: whoever listens",
    start: (slots) => {
      const { machine, observers } = slots;
      slots.trace = (type, cpu, a, b, c, d) => {
        machine!.trace(type, cpu, a, b, c, d);
        for (const observer of observers) observer(type, cpu, a, b, c, d);
      };
    },
  },
  {
    name: "mm: page allocator",
    feature: "MM",
    start: async (slots, config) => {
      const { bootMemory } = await import("./wire_memory.ts");
      slots.memory = bootMemory(config.memoryBytes, config.cpus, () => slots.system?.executor.cpu() ?? 0);
      slots.memory.mm.trace = slots.trace;
    },
  },
  {
    name: "mm: slab allocator",
    feature: "SLAB",
    start: async (slots) => {
      const { bootSlabs } = await import("./wire_slabs.ts");
      slots.slabs = bootSlabs(slots.memory!, () => slots.system?.executor.cpu() ?? 0, slots.trace);
    },
  },
  {
    name: "mm: pressure stall information",
    feature: "PSI",
    start: async (slots, config) => {
      slots.psi = new (await import("../mm/psi.ts")).Psi(slots.machine!, config.cpus);
    },
  },
  {
    name: "tasks: scheduler, task table, calls on tasks",
    start: async (slots, config, on) => {
      const { System } = await import("./system.ts");
      const { TaskTimes } = await import("./observe/task_times.ts");
      const { plainWindows } = await import("./wire_memory.ts");
      const rows = config.rows ?? ROWS;
      const { cpus } = config;
      slots.system = new System({
        ...clocks(slots, config),
        machine: slots.machine!,
        trace: slots.trace,
        seed: config.seed,
        cpus,
        rows,
        policies: [slots.policy, CFS, ...slots.others],
        costs: config.costs,
        metrics: on.has("SCHED_STATS"),
        extraBytes: TaskTimes.bytes(rows, cpus),
        taskMemory: { ...(slots.memory?.tasks ?? plainWindows(rows, USER_BYTES)), ...slots.slabs?.tasks },
        psi: slots.psi,
      });
      const { CallTimes } = await import("./observe/call_times.ts");
      const { Refaults } = await import("./observe/refaults.ts");
      slots.calls = new CallTimes(slots.machine!.now, new Float64Array(rows));
      slots.system.slabs = slots.slabs;
      const refaults = (slots.refaults = new Refaults(rows, slots.memory?.managed ?? 0));
      const parts = { now: slots.machine!.now, psi: slots.psi, thrashes: (p: number) => refaults.thrashes(p) };
      slots.times = new TaskTimes(slots.system.arena, rows, cpus, parts);
      slots.observers.push(slots.calls.take, refaults.take, slots.times.take);
    },
  },
  {
    name: "tasks: reaper",
    start: async (slots) => {
      const { reaper } = await import("./threads.ts");
      slots.system!.addThread(reaper(slots.system!.processes));
    },
  },
  {
    name: "tasks: averages of pressure",
    feature: "PSI",
    start: async (slots) => {
      const { psiWorker } = await import("./threads.ts");
      slots.system!.addThread(psiWorker(slots.machine!.now, slots.psi!));
    },
  },
  {
    name: "mm: calls on memory",
    feature: "MM",
    start: (slots) => slots.system!.attachMemory(slots.memory!.managed),
  },
  {
    name: "mm: kswapd, direct reclaim, OOM killer",
    feature: "KSWAPD",
    start: async (slots, _, on) => {
      const { attachReclaim } = await import("../mm/reclaim.ts");
      const { cacheShrinker, kswapd, movablePages, oomVictims, reclaimCost } = await import("./threads.ts");
      const { KSWAPD } = await import("./kthread.ts");
      const system = slots.system!;
      const { mm } = slots.memory!;
      const { vmscan, compaction } = attachReclaim(mm, {
        shrinkers: [cacheShrinker(() => slots.pages?.cache)],
        victims: oomVictims(system),
        movable: movablePages(slots.memory!, system.processes),
        stalls: { memstallEnter: () => system.executor.beginStall(), memstallLeave: () => undefined },
      });
      if (!on.has("COMPACTION")) mm.hooks = { ...mm.hooks, compact: () => false };
      const { hooks } = mm;
      mm.hooks = {
        ...hooks,
        wakeKswapd: (cpu, zone, order) => {
          hooks.wakeKswapd(cpu, zone, order);
          system.wakeThread(KSWAPD);
        },
        reclaim: (cpu, gfp, order, highest) => {
          const got = hooks.reclaim(cpu, gfp, order, highest);
          system.executor.charge(reclaimCost(got));
          return got;
        },
      };
      slots.vmscan = vmscan;
      slots.compaction = compaction;
      system.addThread(kswapd(system, vmscan, compaction));
    },
  },
  {
    name: "mm: kcompactd",
    feature: "COMPACTION",
    start: async (slots) => {
      const { kcompactd } = await import("./threads.ts");
      const { executor } = slots.system!;
      slots.system!.addThread(
        kcompactd({ now: executor.now, wakeAll: (channel) => executor.wakeAll(channel) }, slots.compaction!),
      );
    },
  },
  {
    name: "block: virtio-blk, queue, elevator",
    feature: "BLOCK",
    start: async (slots, config) => {
      assert(config.image !== undefined, "boot: BLOCK without a disk");
      const { bootDisk } = await import("./wire_disk.ts");
      const { deadline } = await import("../drivers/block/elevator/deadline.ts");
      const system = slots.system!;
      slots.disk = bootDisk(slots.memory!.ram, traced(slots), () => system.executor.cpu(), {
        image: config.image,
        elevator: config.elevator ?? deadline,
        tasks: config.rows ?? ROWS,
        ...(config.service === undefined ? {} : { service: config.service }),
        ...(config.faults === undefined ? {} : { faults: config.faults }),
      });
      system.disk = slots.disk;
    },
  },
  {
    name: "fs: page cache, ext4, jbd2, flusher",
    feature: "EXT4",
    start: async (slots, config) => {
      const { bootPageCache, mountDisk } = await import("./wire_files.ts");
      const { EVICT_POLICIES } = await import("../mm/evict/index.ts");
      const { flusher, jbd2 } = await import("./threads.ts");
      const { isRefusal } = await import("./fs/ext4/super.ts");
      const system = slots.system!;
      const machine = traced(slots);
      const policy = config.evict ?? EVICT_POLICIES.find(({ name }) => name === "mglru")!;
      slots.pages = bootPageCache(slots.memory!, machine, policy, config.seed);
      const mounted = mountDisk({
        disk: slots.disk!,
        memory: slots.memory!,
        pages: slots.pages,
        machine,
        idle: () => system.idle(),
        ...(config.mount === undefined ? {} : { options: config.mount }),
        ...(slots.slabs === undefined ? {} : { inodeObjects: slots.slabs.objects.ext4Inode }),
      });
      if (isRefusal(mounted)) {
        slots.refusal = mounted;
        return;
      }
      slots.ext4 = system.ext4 = mounted;
      system.addThread(jbd2(system, mounted));
      system.addThread(flusher(system, mounted));
    },
  },
  {
    name: "fs: the tree",
    start: async (slots, config, on) => {
      if (slots.refusal !== undefined) return;
      const { bootTree } = await import("./wire_files.ts");
      const { Wait } = await import("./wait.ts");
      const system = slots.system!;
      const shown = on.has("PROC") || on.has("SYSFS") ? await import("./wire_proc.ts") : undefined;
      const parts = shown === undefined ? undefined : await procParts(slots, config, on, shown.newLoad);
      if (parts !== undefined) {
        const { loadWorker } = await import("./threads.ts");
        system.addThread(loadWorker(parts.view, parts.load));
      }
      system.attachTree(
        bootTree({
          machine: traced(slots),
          tasks: config.rows ?? ROWS,
          idle: () => system.idle(),
          version: config.version ?? VERSION,
          seed: config.seed,
          console: config.console ?? (() => undefined),
          pipeMoved: () => system.executor.wakeAll(Wait.Pipe),
          ...(slots.slabs === undefined ? {} : { objects: slots.slabs.objects }),
          ...(slots.ext4 === undefined ? {} : { root: slots.ext4 }),
          ...(on.has("TMPFS") ? { tmpPages: TMP_PAGES } : {}),
          ...(shown !== undefined && parts !== undefined && on.has("PROC")
            ? { proc: { nodes: shown.procNodes(parts), pids: shown.procPids(parts) } }
            : {}),
          ...(shown !== undefined && parts !== undefined && on.has("SYSFS") ? { sys: shown.sysNodes(parts) } : {}),
        }),
      );
    },
  },
  {
    name: "world: programs",
    start: (slots, config) => {
      if (slots.refusal !== undefined) return;
      for (const start of config.starts) slots.system!.spawn(start);
    },
  },
];

export interface Booted {
  readonly machine: VirtualMachine;
  readonly world: LockstepWorld;
  /** Names of the steps that ran, in order. */
  readonly steps: readonly string[];
}

export interface BootedMachine {
  readonly machine: VirtualMachine;
  readonly system: System;
  readonly steps: readonly string[];
  readonly view: MachineView;
  readonly times: TaskTimes;
  readonly calls: CallTimes;
  readonly memory: Memory | undefined;
  readonly slabs: Slabs | undefined;
  readonly psi: Psi | undefined;
  readonly vmscan: Vmscan | undefined;
  readonly compaction: Compaction | undefined;
  readonly disk: Disk | undefined;
  readonly pages: CachedPages | undefined;
  readonly ext4: Ext4 | undefined;
}

async function take<Config extends CommonConfig>(
  list: Steps<Config>,
  config: Config,
): Promise<{ readonly slots: Slots; readonly steps: readonly string[] }> {
  const on = resolveFeatures(config.features);
  assert(on.has("SCHED_CUSTOM") || config.policy === undefined, "boot: a policy is given but SCHED_CUSTOM is off");
  const slots: Slots = {
    policy: CFS,
    others: [],
    log: undefined,
    hash: undefined,
    machine: undefined,
    world: undefined,
    trace: () => undefined,
    observers: [],
    memory: undefined,
    slabs: undefined,
    psi: undefined,
    times: undefined,
    calls: undefined,
    refaults: undefined,
    vmscan: undefined,
    compaction: undefined,
    system: undefined,
    disk: undefined,
    pages: undefined,
    ext4: undefined,
    refusal: undefined,
  };
  const steps: string[] = [];
  for (const step of list) {
    if (step.feature !== undefined && !on.has(step.feature)) continue;
    await step.start(slots, config, on);
    steps.push(step.name);
  }
  return { slots, steps };
}

export async function boot(config: BootConfig): Promise<Booted> {
  const { slots, steps } = await take(STEPS, config);
  return { machine: slots.machine!, world: slots.world!, steps };
}

/** A Refusal when the disk cannot be mounted. */
export async function bootMachine(
  config: MachineConfig,
): Promise<BootedMachine | { readonly errno: Errno; readonly reason: string }> {
  const { slots, steps } = await take(MACHINE_STEPS, config);
  if (slots.refusal !== undefined) return slots.refusal;
  const { memory, slabs, psi, vmscan, compaction, disk, pages, ext4 } = slots;
  return {
    machine: slots.machine!,
    system: slots.system!,
    view: systemView(slots.system!, config.cpus, machineParts(slots)),
    times: slots.times!,
    calls: slots.calls!,
    steps,
    memory,
    slabs,
    psi,
    vmscan,
    compaction,
    disk,
    pages,
    ext4,
  };
}

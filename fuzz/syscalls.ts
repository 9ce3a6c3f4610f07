/**
 * Random system calls from several tasks of a small machine in the lockstep world, some of them as hostile as a program
 * can be, against a model of descriptors, pipes, children and sleeps (syscalls_model.ts). In the end every task has gone,
 * nothing is left open or taken, and the disk is clean. Every fourth case runs twice and must have one hash.
 */
import type { UserStart } from "../kernel/abi/program.ts";
import { Nr } from "../kernel/abi/syscall_nr.ts";
import { nextBelow, prng } from "../kernel/lib/prng.ts";
import { BlockImage, bootMachine, Checker, ext4Layout, imageBuffer, imageOf, isRefusal } from "../kernel/index.ts";
import { MACHINE_FEATURES, makeExt4, readSuper, TaskKind, WAIT_NAMES } from "../kernel/index.ts";
import type { BootedMachine, Feature } from "../kernel/index.ts";
import { FaultPlan, HDD, NVME_SSD, SATA_SSD } from "../drivers/index.ts";
import type { FaultRule, ServiceModel } from "../drivers/index.ts";
import { checkPageAlloc } from "../mm/index.ts";
import { COSTS } from "../sched/index.ts";
import { LEFT, randomProgram } from "./syscalls_program.ts";
import { SyscallModel } from "./syscalls_model.ts";
import type { AsyncFuzzTarget, FuzzResult } from "./target.ts";

const MIB = 2 ** 20;
const WINDOW_FRAMES = 16;
const EVENTS_MAX = 400_000;
const FORKS_MAX = 24;
const CANARY_CASES = 100;

const POLICIES: readonly (Feature | undefined)[] = [undefined, "SCHED_FIFO", "SCHED_RR", "SCHED_EEVDF"];
const SERVICES: readonly (ServiceModel | undefined)[] = [undefined, NVME_SSD, SATA_SSD, HDD];
const FAULTS: readonly (readonly FaultRule[])[] = [
  [],
  [],
  [],
  [{ kind: "latency", oneIn: 7, addNs: 40_000_000 }],
  [{ kind: "eio-write", oneIn: 30, after: 20 }],
  [{ kind: "eio-read", oneIn: 20, after: 20 }],
];
/** Faults after which the disk need not be clean, nor an unmount succeed. */
const harms = (rule: FaultRule): boolean => rule.kind.startsWith("eio");
const NO_MEMORY_CALLS = new Set<number>([Nr.brk, Nr.mmap, Nr.munmap, Nr.madvise]);

/** Channels on which tasks wait for tasks. */
const QUIET = [WAIT_NAMES.indexOf("pipe"), WAIT_NAMES.indexOf("child")];

/** What is broken on purpose before the tasks run. */
type Damage = (machine: BootedMachine) => void;

interface Case {
  readonly features: readonly Feature[];
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly service: ServiceModel | undefined;
  readonly tasks: number;
  readonly calls: number;
  readonly rarity: number;
  readonly rows: number;
  /** Virtual time that the tasks have; who is not done then is ended by the shutdown, wherever it is. */
  readonly runNs: number;
  readonly faults: readonly FaultRule[];
}

function drawCase(seed: number): Case {
  const state = prng(seed);
  const of = <T>(values: readonly T[]): T => values[nextBelow(state, values.length)]!;
  const policy = of(POLICIES);
  const bare = nextBelow(state, 6) === 0;
  const base: readonly Feature[] = bare
    ? of([["EVENT_HASH"], ["EVENT_HASH", "PSI", "TMPFS", "PROC"]] as const)
    : MACHINE_FEATURES;
  return {
    features: policy === undefined ? base : [...base, policy],
    cpus: 1 + nextBelow(state, 4),
    memoryBytes: of([32, 40, 64]) * MIB,
    diskBytes: of([4, 8]) * MIB,
    service: of(SERVICES),
    tasks: 1 + nextBelow(state, 6),
    calls: 20 + nextBelow(state, 150),
    rarity: of([8, 20, 60]),
    rows: of([24, 40]),
    runNs: of([2e6, 2e7, 2e8, 4e9, 4e9]),
    faults: of(FAULTS),
  };
}

const images = new Map<number, Uint8Array>();

/** A new ext4 of that size: made once, copied for each machine. */
function newImage(bytes: number): Uint8Array {
  const known = images.get(bytes);
  if (known !== undefined) return known.slice();
  const made = makeExt4({
    sizeBytes: bytes,
    blockSize: 1024,
    uuid: new Uint8Array(16).fill(7),
    hashSeed: new Uint8Array(16).fill(9),
    now: 1_767_225_600,
  });
  if (isRefusal(made)) throw new Error(`fuzz syscalls: no image: ${made.reason}`);
  images.set(bytes, imageOf(made).bytes.slice());
  return newImage(bytes);
}

interface Run {
  readonly message: string | undefined;
  readonly hash: string;
  readonly model: SyscallModel;
}

/** Frames that somebody has, beside the page cache and slabs. */
function framesTaken({ memory, pages, slabs }: BootedMachine): number {
  if (memory === undefined) return 0;
  return checkPageAlloc(memory.mm).allocated - (pages?.cache.cached() ?? 0) - (slabs?.frames() ?? 0);
}

/** Tells the model of every piece that a pipe takes: a long write puts in several. */
function watchPipes({ system }: BootedMachine, model: SyscallModel, wrong: string[]): void {
  const { vfs, pipes } = system.tree!;
  const write = vfs.write.bind(vfs);
  const put = pipes.write.bind(pipes);
  let writing = 0;
  vfs.write = (task, fd, from) => {
    writing = system.processes.pid[system.processes.vfsTask.indexOf(task)]!;
    return write(task, fd, from);
  };
  pipes.write = (ino, offset, from, how) => {
    const count = put(ino, offset, from, how);
    const message = count > 0 ? model.put(writing, count) : undefined;
    if (message !== undefined) wrong.push(message);
    return count;
  };
}

async function runCase(what: Case, seed: number, damage?: Damage): Promise<Run> {
  const { features, cpus, memoryBytes, diskBytes, service, rows } = what;
  let machine: BootedMachine | undefined;
  const wrong: string[] = [];
  const killed = new Set<number>();
  const rowOf = (pid: number): number => machine!.system.processes.rowOf(pid);
  const answered = new Set<number>(Object.values(Nr));
  if (!features.includes("MM")) for (const nr of NO_MEMORY_CALLS) answered.delete(nr);
  const noteKilled = (): void => {
    const { processes } = machine!.system;
    for (let p = 1; p < processes.rows; p++) if (processes.killed[p] !== 0) killed.add(processes.pid[p]!);
  };
  const model = new SyscallModel(
    {
      now: () => machine!.machine.time[0]!,
      isThere: (pid) => rowOf(pid) !== 0,
      isAlive: (pid) => rowOf(pid) !== 0 && machine!.system.processes.killed[rowOf(pid)] === 0,
      wasKilled: (pid) => killed.has(pid),
    },
    answered,
  );
  let forks = FORKS_MAX;
  const program = randomProgram(what.rarity, {
    called: (task, nr, args) => {
      if (nr === Nr.clone) forks--;
      model.called(task, nr, args);
    },
    answered: (task) => {
      noteKilled();
      const message = model.answered(task);
      if (message !== undefined) wrong.push(message);
    },
    ends: (task, code) => model.ends(task, code),
    get forks() {
      return forks;
    },
  });
  const starts: UserStart[] = Array.from({ length: what.tasks }, (_, n) => {
    const args: number[] = [];
    args[LEFT] = what.calls;
    return { program, args, startNs: n * 1000, nice: (n % 5) * 4 - 8 };
  });
  const image = features.includes("BLOCK") ? newImage(diskBytes) : undefined;
  const booted = await bootMachine({
    features,
    seed,
    cpus,
    costs: COSTS.hardware,
    starts,
    memoryBytes,
    rows,
    ...(image === undefined ? {} : { image }),
    ...(service === undefined ? {} : { service }),
    ...(what.faults.length === 0 ? {} : { faults: new FaultPlan(what.faults, seed) }),
  });
  if ("reason" in booted) return { message: `boot: ${booted.reason}`, hash: "", model };
  machine = booted;
  watchPipes(booted, model, wrong);
  damage?.(booted);
  const { system } = booted;
  const windows = booted.memory === undefined ? 0 : what.tasks * WINDOW_FRAMES;
  const before = framesTaken(booted) - windows;
  const end = (message: string | undefined): Run => ({ message, hash: booted.machine.hash?.hex() ?? "", model });
  for (let slice = 0; slice < 40 && wrong.length === 0 && system.executor.live > 0; slice++) {
    system.run((slice + 1) * (what.runNs / 40), EVENTS_MAX);
    noteKilled();
    system.processes.check();
  }
  if (wrong.length > 0) return end(wrong[0]);
  const lost = wrong.length === 0 ? lostWakeup(booted) : undefined;
  if (lost !== undefined) wrong.push(lost);
  const harmed = what.faults.some(harms);
  const stopped = system.stop();
  if (wrong.length > 0) return end(wrong[0]);
  if (stopped !== 0 && !harmed) return end(`stop: ${stopped}`);
  return end(leftOver(booted, before) ?? (harmed ? undefined : judgeDisk(image)));
}

/** When all tasks wait for each other, waking them for nothing must change nothing. */
function lostWakeup({ system, machine }: BootedMachine): string | undefined {
  const { processes, waits, executor } = system;
  const rows = Array.from({ length: processes.rows }, (_, p) => p).filter((p) => processes.kind[p] === TaskKind.User);
  if (rows.some((p) => !QUIET.includes(waits.channel[p]!))) return undefined;
  const calls = rows.map((p) => processes.calls[p]!);
  for (const channel of QUIET) executor.wakeAll(channel);
  system.run(machine.time[0]! + 1e8);
  const moved = rows.find((p, n) => processes.calls[p] !== calls[n]);
  if (moved === undefined) return undefined;
  return `pid ${processes.pid[moved]} had nothing to wait for any more, and nobody woke it`;
}

/** What a machine at rest still holds. */
function leftOver(booted: BootedMachine, before: number): string | undefined {
  const { system, times, slabs } = booted;
  const { processes, tree } = system;
  const now = booted.machine.time[0]!;
  processes.check();
  if (!Number.isInteger(now)) return `the clock is at ${now} ns`;
  for (let cpu = 0; cpu < times.busyNs.length; cpu++) {
    times.settle(cpu);
    const all = times.busyNs[cpu]! + times.idleNs[cpu]! + times.iowaitNs[cpu]!;
    if (all !== now) return `CPU ${cpu} has spent ${all} ns of ${now}`;
  }
  if (times.blocked !== 0) return `${times.blocked} tasks still wait for a disk`;
  if (processes.zombies > 0) return `${processes.zombies} dead tasks are left`;
  const pipes = tree!.pipes.open;
  if (pipes > 0) return `${pipes} pipes are left open`;
  const files = tree!.vfs.state.openFiles;
  if (files > 0) return `${files} files are left open`;
  slabs?.slub.check();
  for (const [cache, objects] of Object.entries(slabs?.inUse() ?? {})) return `${objects} of ${cache} are left`;
  const taken = framesTaken(booted);
  return taken === before ? undefined : `${taken - before} frames are not given back`;
}

const checker = new Checker();

function judgeDisk(bytes: Uint8Array | undefined): string | undefined {
  if (bytes === undefined) return undefined;
  const buffer = imageBuffer(bytes.length);
  buffer.set(bytes);
  const sb = readSuper(new DataView(buffer.buffer), ext4Layout.SUPER_OFFSET, bytes.length);
  if (isRefusal(sb)) return `the superblock: ${sb.reason}`;
  const { clean, damage } = checker.run(new BlockImage(buffer, sb.blockSize, sb.blocksCount), sb);
  return clean
    ? undefined
    : `the checker: ${damage
        .slice(0, 3)
        .map(({ text }) => text)
        .join("; ")}`;
}

async function judge(seed: number, damage?: Damage): Promise<string | undefined> {
  const what = drawCase(seed);
  const place = `${what.cpus} CPUs, ${what.memoryBytes / MIB} MiB, ${what.tasks} tasks`;
  try {
    const first = await runCase(what, seed, damage);
    if (first.message !== undefined) return `${place}: ${first.message}`;
    if (damage !== undefined || seed % 4 !== 0) return undefined;
    const again = await runCase(what, seed);
    return again.hash === first.hash ? undefined : `${place}: one seed, two hashes`;
  } catch (error) {
    return `${place}: it threw ${error instanceof Error ? error.message : String(error)}`;
  }
}

async function campaign(
  seed: number,
  runs: number,
  progress: (done: number) => void,
  damage?: Damage,
): Promise<FuzzResult> {
  for (let k = 0; k < runs; k++) {
    const message = await judge(seed + k, damage);
    if (message !== undefined) return { runs: k + 1, failure: { seed: seed + k, message } };
    progress(k + 1);
  }
  return { runs };
}

/** What is broken on purpose; the seed says which. */
const DAMAGES: readonly Damage[] = [
  // A close that only says that it did.
  ({ system }) => {
    system.tree!.vfs.close = () => 0;
  },
  // An exit that keeps the task's window.
  ({ memory, system }) => {
    if (memory === undefined) system.tree!.vfs.close = () => 0;
    else memory.tasks.freeWindow = () => undefined;
  },
  // Pipes that change a byte.
  ({ system }) => {
    const { pipes } = system.tree!;
    const read = pipes.read.bind(pipes);
    pipes.read = (ino, offset, into, how) => {
      const count = read(ino, offset, into, how);
      if (count > 0) into[0]! ^= 1;
      return count;
    };
  },
  // Parents that are told another status.
  ({ system: { processes } }) => {
    const reap = processes.reap.bind(processes);
    processes.reap = (parent, pid) => {
      const found = reap(parent, pid);
      return typeof found === "number" ? found : { pid: found.pid, status: found.status ^ 0x100 };
    };
  },
];

export const target: AsyncFuzzTarget = {
  name: "syscalls",
  help: "random system calls of several tasks: what they see, and that nothing is left of them",
  run: (seed, runs, progress) => campaign(seed, runs, progress),
  canary: (seed) => campaign(seed, CANARY_CASES, () => undefined, DAMAGES[seed % DAMAGES.length]),
};

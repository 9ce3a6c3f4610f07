/**
 * What /proc and /sys of a booted machine show, and what can be set through them (boot.ts calls this): the nodes of
 * fs/pseudo over the parts that the machine has.
 *
 * - procNodes(parts), procPids(parts), sysNodes(parts)
 */
import { BOOT_SEC, NS_PER_SEC, PAGE_SIZE } from "./abi/units.ts";
import { BLOCK_REQUESTS_MAX } from "./abi/limits.ts";
import type { Elevator } from "./abi/elevator.ts";
import { blockNodes, queueCounts } from "./fs/pseudo/proc_block.ts";
import type { DiskCounts } from "./fs/pseudo/proc_block.ts";
import { memoryNodes } from "./fs/pseudo/proc_mm.ts";
import { pidDirs } from "./fs/pseudo/proc_pid.ts";
import { LOAD_WORDS, LoadAverage, schedNodes } from "./fs/pseudo/proc_sched.ts";
import type { LiveDirs, PseudoNode } from "./fs/pseudo/pseudo_fs.ts";
import { blockSysNodes, ext4SysNodes, machineSysNodes, schedSysNodes, vmNodes } from "./fs/pseudo/sys_nodes.ts";
import type { Choice, PolicyTunableFile, Tunable, VmParts } from "./fs/pseudo/sys_nodes.ts";
import { setReadAhead } from "./fs/ext4/rows.ts";
import type { MachineView } from "./machine_view.ts";
import { Kind } from "./process.ts";
import { oomVictims } from "./threads.ts";
import type { DrivenDisk } from "./wire_disk.ts";
import type { CachedPages } from "./wire_files.ts";
import type { Memory } from "./wire_memory.ts";
import { ZONE } from "../mm/index.ts";
import type { Compaction } from "../mm/index.ts";
import { MERGE_LOOK_MAX, TASK_IO } from "../drivers/index.ts";

export interface ProcParts {
  readonly view: MachineView;
  readonly seed: number;
  readonly features: readonly string[];
  /** Of the scheduler. */
  readonly policy: Choice;
  readonly load: LoadAverage;
  readonly tunables?: readonly PolicyTunableFile[];
  /** What writing to /proc/sys/vm does or costs beside setting a number. */
  readonly acts?: Pick<VmParts, "compact" | "dropped" | "shrinkSlabs">;
  /** Those that can be chosen, the one it was booted with among them. */
  readonly elevators: readonly Elevator[];
  readonly rotational: boolean;
}

const CENTISEC_NS = NS_PER_SEC / 100;
const PERCENT = 100;
const PAGE_KB = PAGE_SIZE / 1024;
/** Requests looked at for a merge, by nomerges. */
const MERGE_LOOKS = [MERGE_LOOK_MAX, 1, 0];

export const newLoad = (now: number): LoadAverage => new LoadAverage(new Float64Array(LOAD_WORDS), now);

export function procNodes({ view, load, acts }: ProcParts): readonly PseudoNode[] {
  const { times, cpus, memory, slabs, psi, pages, disk, processes, refaults, compaction } = view;
  const settled = (column: Float64Array): ((cpu: number) => number) => {
    return (cpu) => {
      times.settle(cpu);
      return column[cpu]!;
    };
  };
  const busy = settled(times.busyNs);
  const user = (cpu: number): number => Math.min(view.userNs(cpu), busy(cpu));
  const sum = (of: (p: number) => number): number => {
    let all = 0;
    for (let p = 1; p < processes.rows; p++) if (processes.kind[p] !== Kind.Free) all += of(p);
    return all;
  };
  const sectors = (field: number): (() => number) => {
    return () => disk!.queue.accounts.total(field) / 512;
  };
  return [
    ...memoryNodes({
      ...(memory === undefined ? {} : { memory: memory.mm }),
      ...(slabs === undefined ? {} : { slub: slabs.slub }),
      ...(psi === undefined ? {} : { psi }),
      ...(pages === undefined ? {} : { cache: pages.cache, refaults: () => refaults.count }),
      anonPages: () => sum((p) => processes.rss[p]!),
      committedPages: () => sum((p) => processes.virtualPages(p)),
      ...(disk === undefined
        ? {}
        : { readSectors: sectors(TASK_IO.readBytes), writtenSectors: sectors(TASK_IO.writeBytes) }),
    }),
    ...schedNodes({
      times: {
        cpus,
        userNs: user,
        niceNs: () => 0,
        systemNs: (cpu) => Math.max(0, busy(cpu) - user(cpu) - view.irqNs(cpu) - view.stolenNs(cpu)),
        idleNs: settled(times.idleNs),
        iowaitNs: settled(times.iowaitNs),
        irqNs: view.irqNs,
        stolenNs: view.stolenNs,
      },
      now: view.now,
      bornSec: BOOT_SEC,
      switches: () => times.switches.reduce((all, count) => all + count, 0),
      interrupts: view.interrupts,
      forks: () => processes.lastPid,
      running: () => times.runnable,
      blocked: () => times.blocked,
      tasks: () => sum(() => 1),
      lastPid: () => processes.lastPid,
      load,
      queues: {
        yields: () => 0,
        schedules: column(times.switches),
        idles: column(times.idles),
        wakeups: column(times.wakeups),
        localWakeups: column(times.localWakeups),
        ranNs: busy,
        waitedNs: column(times.queueNs),
        runs: column(times.cpuRuns),
      },
    }),
    ...(disk === undefined ? [] : blockNodes({ counts: () => diskCounts(disk), sectors: disk.device.limits.sectors })),
    ...vmNodes({
      ...(pages === undefined ? {} : { ...writebackTunables(pages), cache: pages.cache }),
      ...(compaction === undefined ? {} : compactionTunables(compaction)),
      ...(memory === undefined ? {} : watermarkTunables(memory)),
      ...acts,
    }),
  ];
}

/** A column as a function of its row. */
const column =
  (of: Float64Array): ((at: number) => number) =>
  (at) =>
    of[at]!;

const diskCounts = (disk: DrivenDisk): DiskCounts => queueCounts(disk.queue, disk.busyNs());

function writebackTunables({ filemap }: CachedPages): {
  dirtyRatio: Tunable;
  dirtyBackgroundRatio: Tunable;
  dirtyExpireCentisecs: Tunable;
} {
  const pagesOf = (percent: number): number => Math.max(1, Math.floor((filemap.slots * percent) / PERCENT));
  const percentOf = (pages: number): number => Math.round((PERCENT * pages) / filemap.slots);
  return {
    dirtyRatio: {
      get: () => percentOf(filemap.dirtyMax),
      set: (percent) => void (filemap.dirtyMax = pagesOf(percent)),
    },
    dirtyBackgroundRatio: {
      get: () => percentOf(filemap.backgroundMax),
      set: (percent) => void (filemap.backgroundMax = pagesOf(percent)),
    },
    dirtyExpireCentisecs: {
      get: () => filemap.expireNs / CENTISEC_NS,
      set: (centisecs) => void (filemap.expireNs = centisecs * CENTISEC_NS),
    },
  };
}

function watermarkTunables({ mm, managed }: Memory): Partial<VmParts> {
  const { words } = mm.zones[0]!;
  return {
    minFreeKbytes: {
      get: () => words[ZONE.minKb]!,
      set: (kb) => mm.setWatermarks(kb, words[ZONE.scale]!),
    },
    minFreeKbytesMax: Math.floor((managed * PAGE_KB) / 2),
    watermarkScaleFactor: {
      get: () => words[ZONE.scale]!,
      set: (scale) => mm.setWatermarks(words[ZONE.minKb]!, scale),
    },
  };
}

function compactionTunables(compaction: Compaction): { compactionProactiveness: Tunable } {
  return {
    compactionProactiveness: {
      get: () => compaction.proactiveness,
      set: (value) => void (compaction.proactiveness = value),
    },
  };
}

export function procPids({ view }: ProcParts): LiveDirs {
  const { processes, times, cpus, memory, disk, sched, channelOf, io } = view;
  const traffic = (p: number, field: number): number => disk?.queue.accounts.get(p, field) ?? 0;
  const cred = { uid: 0, gid: 0, groups: [] };
  const credOf = (p: number): typeof cred => {
    const vfsTask = processes.vfsTask[p]!;
    if (vfsTask >= 0) view.vfs()!.state.credOf(vfsTask, cred);
    return cred;
  };
  return pidDirs({
    processes,
    caller: () => view.vfs()!.state.caller,
    channelOf,
    sched,
    cpus,
    userNs: view.taskUserNs,
    waitedNs: column(times.waitedNs),
    runs: column(times.runs),
    sleeps: column(times.sleeps),
    preempted: column(times.preempted),
    uid: (p) => credOf(p).uid,
    gid: (p) => credOf(p).gid,
    ...(memory === undefined
      ? {}
      : { victims: oomVictims({ processes, executor: { kill: () => undefined } }), totalPages: memory.managed }),
    ...(disk === undefined
      ? {}
      : {
          io: (p) => ({
            rchar: io.rchar[p]!,
            wchar: io.wchar[p]!,
            syscr: io.syscr[p]!,
            syscw: io.syscw[p]!,
            readBytes: traffic(p, TASK_IO.readBytes),
            writeBytes: traffic(p, TASK_IO.writeBytes),
          }),
        }),
  });
}

function queueNodes(disk: DrivenDisk, { elevators, rotational, view }: ProcParts): readonly PseudoNode[] {
  const { queue } = disk;
  const { ext4 } = view;
  const { sectors, sectorsMax, logicalBlockSize, writeCache } = disk.device.limits;
  return blockSysNodes({
    counts: () => diskCounts(disk),
    sectors,
    elevator: {
      names: elevators.map(({ name }) => name),
      current: () => queue.elevator,
      set(name) {
        if (name !== queue.elevator) queue.switchTo(elevators.find((one) => one.name === name)!);
        return 0;
      },
    },
    requests: { get: () => queue.requestsMax, set: (to) => void (queue.requestsMax = to) },
    requestsMax: BLOCK_REQUESTS_MAX,
    nomerges: {
      get: () => MERGE_LOOKS.indexOf(queue.mergeLook),
      set: (to) => void (queue.mergeLook = MERGE_LOOKS[to]!),
    },
    ...(ext4 === undefined
      ? {}
      : {
          readAheadKb: {
            get: () => ext4.fs.inodes.readAheadPages * PAGE_KB,
            set: (kb) => setReadAhead(ext4.fs, Math.floor(kb / PAGE_KB)),
          },
        }),
    sectorsMax,
    physicalBlockSize: logicalBlockSize,
    hasVolatileCache: writeCache,
    rotational,
  });
}

export function sysNodes(parts: ProcParts): readonly PseudoNode[] {
  const { view, policy, seed, features } = parts;
  const { disk, ext4, world } = view;
  return [
    ...schedSysNodes(policy, parts.tunables),
    ...machineSysNodes({ seed, features, world }),
    ...(disk === undefined ? [] : queueNodes(disk, parts)),
    ...(ext4 === undefined ? [] : ext4SysNodes({ errorsCount: () => ext4.errorsSeen })),
  ];
}

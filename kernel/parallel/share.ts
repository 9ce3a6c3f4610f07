/**
 * What every worker of a parallel machine is started with, plain data, and what each makes of it: instances of the same
 * tables over the same memory, in the same order.
 *
 * - loadStarts(share)        the tasks of the workload, from its module: the same list in every worker
 * - joinMemory, joinSlabs    the allocators
 * - joinTables(parts)        scheduler, task table, wait queues, port; within the worker's turn (smp.ts)
 */
import type { EventSink } from "../abi/machine.ts";
import { USER_BYTES } from "../abi/program.ts";
import type { UserStart, UserWorkload } from "../abi/program.ts";
import type { PolicyFactory } from "../abi/sched.ts";
import type { Nanos } from "../abi/units.ts";
import type { Feature } from "../config.ts";
import type { Arena } from "../lib/arena.ts";
import { FILES, FLUSHER, JBD2, KCOMPACTD, KSWAPD, LOAD, PSI, REAPER } from "../kthread.ts";
import { futexLocks } from "../lib/lock_ops.ts";
import type { LockOps } from "../lib/lock_ops.ts";
import { atomicWords } from "../lib/word_ops.ts";
import { attachRings, ringWrite } from "../observe/ring.ts";
import { noTrace } from "../observe/tracer.ts";
import { Processes } from "../process.ts";
import { Smp, smpBytes, Stat } from "../smp.ts";
import type { TaskNames } from "../task_names.ts";
import { bootMemory, plainWindows, windowsBytes } from "../wire_memory.ts";
import type { Memory } from "../wire_memory.ts";
import { bootSlabs } from "../wire_slabs.ts";
import type { Slabs } from "../wire_slabs.ts";
import { MachineTimes } from "./machine_times.ts";
import { StoragePort } from "./port.ts";
import { Sleepers } from "./sleepers.ts";
import { attachReclaim } from "../../mm/index.ts";
import type { SlubBuffers } from "../../mm/index.ts";
import { cfs, createSched, SchedMetrics } from "../../sched/index.ts";
import type { Sched } from "../../sched/index.ts";

/** A module by URL, and a name that it exports. */
export interface ModuleName {
  readonly module: string;
  readonly name: string;
}

export interface AllocatorShare {
  readonly map: SharedArrayBuffer;
  readonly vmscan: SharedArrayBuffer;
  readonly compaction: SharedArrayBuffer;
  /** Missing: kernel objects take no memory. */
  readonly slabs: SlubBuffers | undefined;
}

export interface MachineShare {
  readonly cpus: number;
  readonly rows: number;
  readonly seed: number;
  readonly memoryBytes: number;
  readonly tickNs: number;
  readonly features: readonly Feature[];
  /** Exports hostNowNs(), the same monotonic clock in every thread. */
  readonly clock: string;
  /** A policy by name or URL. */
  readonly policy: string;
  /** A UserWorkload that the module exports, by itself or in a list. */
  readonly workload: ModuleName;
  readonly arena: SharedArrayBuffer;
  readonly ram: SharedArrayBuffer;
  /** Of the page allocator; missing: memory is off, and RAM is windows of tasks. */
  readonly mm: AllocatorShare | undefined;
  readonly rings: SharedArrayBuffer | undefined;
  /** Times of calls, a table a worker. */
  readonly calls: SharedArrayBuffer;
  /** Missing: PSI is off. */
  readonly psi: SharedArrayBuffer | undefined;
  /** For canaries: a CPU loses each so manyth wake that it sends; 0: none. */
  readonly loseWakes: number;
}

export interface Tables {
  readonly sched: Sched;
  readonly processes: Processes;
  readonly sleepers: Sleepers;
  readonly port: StoragePort;
  readonly memory: Memory | undefined;
  readonly slabs: Slabs | undefined;
  readonly times: MachineTimes;
  /** Whatever the worker tells: to its ring, and counted. */
  readonly trace: EventSink;
}

export interface JoinParts {
  readonly share: MachineShare;
  readonly arena: Arena;
  readonly smp: Smp;
  /** The worker's row: its CPU, or one behind the last for storage. */
  readonly row: number;
  readonly policy: PolicyFactory;
  readonly starts: readonly UserStart[];
  readonly locks: LockOps;
  readonly now: () => Nanos;
  readonly trace: EventSink;
  readonly memory: Memory | undefined;
  readonly slabs: Slabs | undefined;
  /** Made right after smp, before the worker's turn. */
  readonly port: StoragePort;
  /** Made right after that. */
  readonly names: TaskNames;
}

/** Kernel tasks in the order of their rows, which are those behind the workload's. */
export function kernelTasks(features: readonly Feature[]): readonly string[] {
  const names: readonly (readonly [name: string, feature?: Feature])[] = [
    [REAPER],
    [LOAD],
    [PSI, "PSI"],
    [KCOMPACTD, "COMPACTION"],
    [FILES],
    [JBD2, "EXT4"],
    [FLUSHER, "EXT4"],
    [KSWAPD, "KSWAPD"],
  ];
  return names.filter(([, feature]) => feature === undefined || features.includes(feature)).map(([name]) => name);
}

/** By name. */
export const kernelRows = ({ features }: MachineShare, starts: readonly UserStart[]): ReadonlyMap<string, number> =>
  new Map(kernelTasks(features).map((name, index) => [name, 1 + starts.length + index]));

/** Enough for all tables; the allocator's are elsewhere. */
export function sharedBytes(cpus: number, rows: number, frames: number): number {
  const tasks = Processes.bytes(rows, frames) + Sleepers.bytes(rows) + StoragePort.bytes(rows);
  const times = MachineTimes.bytes(cpus, rows);
  return smpBytes(cpus, rows) + tasks + times + rows * 32 + 4096;
}

export async function loadStarts({ workload, cpus, memoryBytes }: MachineShare): Promise<readonly UserStart[]> {
  const exported = (await import(workload.module)) as Readonly<Record<string, unknown>>;
  // By itself, or in a list of workloads.
  const lists = Object.values(exported).filter((value) => Array.isArray(value));
  const found = [exported[workload.name], ...lists.flat()]
    .map((one) => one as Partial<UserWorkload> | undefined)
    .find((one, at) => typeof one?.tasks === "function" && (at === 0 || one.name === workload.name));
  if (found?.tasks === undefined) throw new Error(`${workload.module} exports no workload "${workload.name}"`);
  const starts = found.tasks({ cpus, memoryBytes });
  for (const { program } of starts)
    if (program.isGenerator === true)
      throw new Error(`program ${program.name} is a generator; the parallel world runs step functions`);
  return starts;
}

export function joinTables(parts: JoinParts): Tables {
  const { share, arena, smp, row, policy, starts, locks, now, memory, slabs, port, names } = parts;
  const { cpus, rows } = share;
  const times = new MachineTimes({ share, arena, names, row, locks, now });
  const trace = times.sink(parts.trace);
  const metrics = new SchedMetrics(arena, cpus, rows);
  const sched = createSched(
    arena,
    { cpus, tasksMax: rows, tickNs: share.tickNs, policy, fallback: cfs },
    {
      now,
      trace,
      locks,
      words: atomicWords,
      wakePath: () => {},
      resched: (target) => {
        if (target !== row && smp.kick(target, sched.cpu.reschedWords) && row < cpus) smp.add(row, Stat.Kicks, 1);
      },
    },
    metrics,
  );
  const taskMemory = { ...(memory?.tasks ?? plainWindows(rows, USER_BYTES, share.ram)), ...slabs?.tasks };
  const processes = new Processes(arena, rows, taskMemory, share.seed, locks, names);
  // Programs are known by number: the same everywhere.
  for (const { program } of starts) if (!processes.programs.includes(program)) processes.programs.push(program);
  const sleepers = new Sleepers({ arena, rows, processes, sched, locks, now, trace, cpu: row });
  sleepers.loseEvery = share.loseWakes;
  return { sched, processes, sleepers, port, memory, slabs, times, trace };
}

/** By the first of all: the allocators' tables, which the workers find made. */
export function sharedMemory(memoryBytes: number, cpus: number, hasSlabs: boolean): Pick<MachineShare, "ram" | "mm"> {
  const memory = bootMemory(memoryBytes, cpus + 1, () => 0, futexLocks);
  const { ram, mm } = memory;
  const { vmscan, compaction } = attachReclaim(mm, {});
  const slabs = hasSlabs ? bootSlabs(memory, () => 0, null, futexLocks).slub.buffers() : undefined;
  return { ram, mm: { map: mm.buffer, vmscan: vmscan.buffer(), compaction: compaction.buffer(), slabs } };
}

export const sharedWindows = (rows: number): Pick<MachineShare, "ram" | "mm"> => ({
  ram: new SharedArrayBuffer(windowsBytes(rows, USER_BYTES)),
  mm: undefined,
});

/** The allocator, seen from a worker; storage has per-CPU lists of its own, behind the last CPU's. */
export function joinMemory(
  { memoryBytes, cpus, ram, mm }: MachineShare,
  row: number,
  locks: LockOps,
  trace: EventSink | undefined,
): Memory | undefined {
  if (mm === undefined) return undefined;
  const memory = bootMemory(memoryBytes, cpus + 1, () => row, locks, { ram, map: mm.map });
  // Others look at their requests with their own tick.
  memory.mm.kick = () => {};
  if (trace !== undefined) memory.mm.trace = trace;
  return memory;
}

/** Likewise the slab allocator over it. */
export function joinSlabs(
  { mm }: MachineShare,
  memory: Memory | undefined,
  row: number,
  locks: LockOps,
  trace: EventSink | undefined,
): Slabs | undefined {
  if (mm?.slabs === undefined) return undefined;
  return bootSlabs(memory!, () => row, trace ?? null, locks, mm.slabs);
}

/** Whatever happens is written to the ring of the worker that does it: a ring has one writer. */
export function traceOf(share: MachineShare, row: number, now: () => Nanos): EventSink {
  if (share.rings === undefined) return noTrace;
  const ring = attachRings(share.rings).rings[row]!;
  return (type, _cpu, a, b, c, d) => ringWrite(ring, now(), type, a, b, c, d);
}

/**
 * A task in /proc: PID/{stat,status,comm,wchan,oom_score,oom_score_adj,schedstat,io}, in Linux 6.1's formats. A zombie has
 * no directory: its row is free.
 *
 * - pidDirs(parts)   the live directories of /proc
 */
import { EINVAL } from "../../abi/errno.ts";
import type { OomVictims } from "../../abi/reclaim.ts";
import type { Errno } from "../../abi/units.ts";
import { PAGE_SIZE } from "../../abi/units.ts";
import { oomScore } from "../../../mm/index.ts";
import { TaskState } from "../../../sched/index.ts";
import { Kind, type Processes } from "../../process.ts";
import { isDiskWait, WAIT_NAMES, Wait } from "../../wait.ts";
import { clockTicks } from "./proc_sched.ts";
import type { LiveDirs, PseudoNode } from "./pseudo_fs.ts";

/** The scheduler's columns (sched.task). */
export interface TaskRows {
  readonly state: Int32Array;
  readonly cpu: Int32Array;
  readonly nice: Int32Array;
  readonly sumExec: Float64Array;
}

/** Bytes and calls of a task since it began; the last two are its share of the disk's traffic. */
export interface TaskIo {
  readonly rchar: number;
  readonly wchar: number;
  readonly syscr: number;
  readonly syscw: number;
  readonly readBytes: number;
  readonly writeBytes: number;
}

export interface PidParts {
  /** The VFS's number of the task whose call is under way. */
  readonly caller: () => number;
  readonly processes: Processes;
  /** What a row waits for (wait.ts). */
  readonly channelOf: (p: number) => number;
  readonly sched: TaskRows;
  readonly cpus: number;
  /** Of a row: time in its program; the rest of its sumExec is the kernel's. */
  readonly userNs: (p: number) => number;
  /** Of a row: time queued, times it was put on a CPU, and its switches away because it waited and for another reason. */
  readonly waitedNs: (p: number) => number;
  readonly runs: (p: number) => number;
  readonly sleeps: (p: number) => number;
  readonly preempted: (p: number) => number;
  readonly uid: (p: number) => number;
  readonly gid: (p: number) => number;
  /** Missing: no PID/io. */
  readonly io?: (p: number) => TaskIo;
  /** With the frames of all memory. Missing: no PID/oom_score. */
  readonly victims?: OomVictims;
  readonly totalPages?: number;
}

const PF_KTHREAD = 0x0020_0000;
const SIGCHLD = 17;
const NO_LIMIT = "18446744073709551615";
const OOM_ADJ_MAX = 1000;
const STATES = { R: "running", S: "sleeping", D: "disk sleep", X: "dead" } as const;

function stateOf({ sched, channelOf }: PidParts, p: number): keyof typeof STATES {
  if (sched.state[p] === TaskState.Dead) return "X";
  if (sched.state[p] !== TaskState.Sleeping) return "R";
  return isDiskWait(channelOf(p)) ? "D" : "S";
}

const zeros = (fields: number): string => "0 ".repeat(fields).trimEnd();
const kb = (pages: number): string => `${String((pages * PAGE_SIZE) / 1024).padStart(8)} kB`;
const nameOf = ({ processes }: PidParts, p: number): string => processes.names.get(p);

/** Fields as numbered in proc(5). What the machine does not have is 0: groups and sessions of tasks, terminals, addresses. */
export function pidStat(parts: PidParts, p: number): string {
  const { processes, sched } = parts;
  const state = stateOf(parts, p);
  const userNs = parts.userNs(p);
  const isKernel = processes.kind[p] === Kind.Kernel;
  const nice = sched.nice[p]!;
  const fields: (number | string)[] = [
    processes.pid[p]!,
    `(${nameOf(parts, p)})`,
    state,
    processes.parent[p]!,
    "0 0 0 -1",
    isKernel ? PF_KTHREAD : 0,
    zeros(4),
    clockTicks(userNs),
    clockTicks(Math.max(sched.sumExec[p]! - userNs, 0)),
    zeros(2),
    20 + nice,
    nice,
    "1 0",
    clockTicks(processes.startedAt[p]!),
    parts.processes.virtualPages(p) * PAGE_SIZE,
    processes.rss[p]!,
    NO_LIMIT,
    zeros(9),
    state === "R" ? 0 : 1,
    zeros(2),
    SIGCHLD,
    sched.cpu[p]!,
    zeros(2),
    clockTicks(processes.diskNs[p]!),
    zeros(9),
    (processes.exitCode[p]! & 0xff) << 8,
  ];
  return `${fields.join(" ")}\n`;
}

export function pidStatus(parts: PidParts, p: number): string {
  const { processes, cpus } = parts;
  const state = stateOf(parts, p);
  const [pid, uid, gid] = [processes.pid[p]!, parts.uid(p), parts.gid(p)];
  const size = kb(parts.processes.virtualPages(p));
  const rss = kb(processes.rss[p]!);
  const memory = [
    `VmSize:\t${size}`,
    `VmRSS:\t${rss}`,
    `RssAnon:\t${rss}`,
    `RssFile:\t${kb(0)}`,
    `RssShmem:\t${kb(0)}`,
    `VmData:\t${size}`,
    `VmSwap:\t${kb(0)}`,
  ];
  const lines = [
    `Name:\t${nameOf(parts, p)}`,
    `State:\t${state} (${STATES[state]})`,
    `Tgid:\t${pid}`,
    `Ngid:\t0`,
    `Pid:\t${pid}`,
    `PPid:\t${processes.parent[p]}`,
    `TracerPid:\t0`,
    `Uid:\t${uid}\t${uid}\t${uid}\t${uid}`,
    `Gid:\t${gid}\t${gid}\t${gid}\t${gid}`,
    // A kernel task has no memory of its own.
    ...(processes.kind[p] === Kind.Kernel ? [] : memory),
    `Threads:\t1`,
    `Cpus_allowed_list:\t${cpus === 1 ? "0" : `0-${cpus - 1}`}`,
    `voluntary_ctxt_switches:\t${parts.sleeps(p)}`,
    `nonvoluntary_ctxt_switches:\t${parts.preempted(p)}`,
  ];
  return `${lines.join("\n")}\n`;
}

const ioText = (io: TaskIo): string =>
  `rchar: ${io.rchar}\nwchar: ${io.wchar}\nsyscr: ${io.syscr}\nsyscw: ${io.syscw}\n` +
  `read_bytes: ${io.readBytes}\nwrite_bytes: ${io.writeBytes}\ncancelled_write_bytes: 0\n`;

function setOomAdj(processes: Processes, p: number, text: string): number | Errno {
  const value = Number(text);
  if (!/^[+-]?\d+$/.test(text.trim()) || Math.abs(value) > OOM_ADJ_MAX) return EINVAL;
  processes.oomAdj[p] = value;
  return new TextEncoder().encode(text).length;
}

function filesOf(parts: PidParts, p: number): PseudoNode[] {
  const { processes, sched, channelOf, io, victims, totalPages } = parts;
  const score = (): string => `${oomScore(victims!, p, totalPages!)}\n`;
  const schedstat = (): string => `${sched.sumExec[p]} ${parts.waitedNs(p)} ${parts.runs(p)}\n`;
  const waitsFor = (): string => (channelOf(p) === Wait.None ? "0" : WAIT_NAMES[channelOf(p)]!);
  return [
    { path: "status", text: () => pidStatus(parts, p) },
    { path: "comm", text: () => `${nameOf(parts, p)}\n` },
    { path: "stat", text: () => pidStat(parts, p) },
    // Linux ends it with no line end, and shows 0 for a task that does not wait.
    { path: "wchan", text: waitsFor },
    { path: "schedstat", text: schedstat },
    ...(victims === undefined || totalPages === undefined ? [] : [{ path: "oom_score", text: score }]),
    {
      path: "oom_score_adj",
      text: () => `${processes.oomAdj[p]}\n`,
      write: (text) => setOomAdj(processes, p, text),
    },
    ...(io === undefined ? [] : [{ path: "io", text: () => ioText(io(p)), permissions: 0o400 }]),
  ];
}

export function pidDirs(parts: PidParts): LiveDirs {
  const { processes } = parts;
  return {
    list: () => {
      const pids: number[] = [];
      for (let p = 1; p < processes.rows; p++) if (processes.kind[p] !== Kind.Free) pids.push(processes.pid[p]!);
      return pids;
    },
    files: (pid) => {
      const p = processes.rowOf(pid);
      return p === 0 ? undefined : filesOf(parts, p);
    },
    self: () => {
      const task = parts.caller();
      for (let p = 1; p < processes.rows; p++)
        if (processes.kind[p] === Kind.User && processes.vfsTask[p] === task) return processes.pid[p]!;
      return 0;
    },
  };
}

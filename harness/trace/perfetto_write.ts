/**
 * Writes an EventLog as a native Perfetto trace: a stream of TracePackets with real sched_switch and sched_waking events,
 * which ui.perfetto.dev shows as CPU and thread tracks.
 *
 *   packet 1     ClockSnapshot: our time is boot time
 *   packet 2     SystemInfo: the release decides how a trace processor reads prev_state (the layout of Linux 4.14 on)
 *   packet 3     ProcessTree: each task is a process of one thread, with its name and parent
 *   packets ...  FtraceEventBundle: events of one CPU in order of time
 *
 * Field numbers are those of github.com/google/perfetto: protos/perfetto/trace/trace_packet.proto, clock_snapshot.proto,
 * ps/process_tree.proto, ftrace/{ftrace_event_bundle,ftrace_event,sched,ftrace}.proto, common/system_info.proto; those
 * within sched_migrate_task are in the order of the kernel's own format, as in every message of sched.proto. A Mark is a
 * print event in atrace's form for an instant, `I|pid|text`. Events that Linux does not have are left out.
 *
 * - perfettoTrace(log)   the trace in pieces
 */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { Ev, TaskLeft } from "../../kernel/abi/events.ts";
import type { EventLog } from "../../kernel/worlds.ts";
import { firstOnCpu } from "./walk.ts";

/** TracePacket and what hangs from Trace. */
const TRACE = { packet: 1 } as const;
const PACKET = {
  ftraceEvents: 1,
  processTree: 2,
  clockSnapshot: 6,
  timestamp: 8,
  sequenceId: 10,
  systemInfo: 45,
} as const;
const SNAPSHOT = { clocks: 1, primaryTraceClock: 2 } as const;
const CLOCK = { id: 1, timestamp: 2 } as const;
const BUILTIN_CLOCK = { monotonic: 3, boottime: 6 } as const;
const SYSTEM_INFO = { utsname: 1 } as const;
const UTSNAME = { sysname: 1, release: 3 } as const;
const TREE = { processes: 1, threads: 2 } as const;
const PROCESS = { pid: 1, ppid: 2, cmdline: 3 } as const;
const THREAD = { tid: 1, name: 2, tgid: 3 } as const;
const BUNDLE = { cpu: 1, event: 2 } as const;
const EVENT = {
  timestamp: 1,
  pid: 2,
  print: 3,
  schedSwitch: 4,
  schedWakeup: 17,
  schedWaking: 20,
  schedWakeupNew: 114,
  processExec: 237,
  processExit: 238,
  processFork: 239,
  migrateTask: 491,
} as const;
const SWITCH = { prevComm: 1, prevPid: 2, prevPrio: 3, prevState: 4, nextComm: 5, nextPid: 6, nextPrio: 7 } as const;
const WAKE = { comm: 1, pid: 2, prio: 3, success: 4, targetCpu: 5 } as const;
const FORK = { parentComm: 1, parentPid: 2, childComm: 3, childPid: 4 } as const;
const EXEC = { filename: 1, pid: 2, oldPid: 3 } as const;
const EXIT = { comm: 1, pid: 2, tgid: 3, prio: 4 } as const;
const MIGRATE = { comm: 1, pid: 2, prio: 3, origCpu: 4, destCpu: 5 } as const;
const PRINT = { buf: 2 } as const;

/** One writer wrote all packets. */
const SEQUENCE_ID = 1;
const RELEASE = "6.1.0-orrery";
const PRIO_OF_NICE_0 = 120;
const EVENTS_A_BUNDLE = 1024;

/** TaskLeft as sched_switch's prev_state mask, Linux 4.14 on (include/linux/sched.h, TASK_REPORT; preempted is 0x100). */
const PREV_STATE: Readonly<Record<number, number>> = {
  [TaskLeft.Runnable]: 0,
  [TaskLeft.Preempted]: 0x100,
  [TaskLeft.Sleeping]: 0x1,
  [TaskLeft.Uninterruptible]: 0x2,
  [TaskLeft.Stopped]: 0x4,
  [TaskLeft.Traced]: 0x8,
  [TaskLeft.Dead]: 0x10,
  [TaskLeft.Zombie]: 0x20,
  [TaskLeft.Parked]: 0x40,
  [TaskLeft.Idle]: 0x80,
};

export function* perfettoTrace(log: EventLog): Generator<Uint8Array> {
  const startNs = Math.floor(log.spanOf().fromNs);
  yield packet((out) => {
    out.tag(PACKET.clockSnapshot, WireType.LengthDelimited).fork();
    for (const clock of [BUILTIN_CLOCK.monotonic, BUILTIN_CLOCK.boottime]) {
      out.tag(SNAPSHOT.clocks, WireType.LengthDelimited).fork();
      integer(out, CLOCK.id, clock);
      time(out, CLOCK.timestamp, startNs);
      out.join();
    }
    integer(out, SNAPSHOT.primaryTraceClock, BUILTIN_CLOCK.boottime);
    out.join();
  });
  yield packet((out) => {
    out.tag(PACKET.systemInfo, WireType.LengthDelimited).fork();
    out.tag(SYSTEM_INFO.utsname, WireType.LengthDelimited).fork();
    text(out, UTSNAME.sysname, "Linux");
    text(out, UTSNAME.release, RELEASE);
    out.join().join();
  });
  yield packet((out) => {
    time(out, PACKET.timestamp, startNs);
    writeTree(out, log);
  });
  const current = firstOnCpu(log);
  const bundles = Array.from({ length: log.cpus }, (): number[] => []);
  const pids = Array.from({ length: log.cpus }, (): number[] => []);
  for (let row = 0; row < log.count; row++) {
    if (WRITERS[log.typeAt(row)] === undefined) continue;
    const cpu = log.cpuAt(row);
    const rows = bundles[cpu]!;
    rows.push(row);
    pids[cpu]!.push(log.typeAt(row) === Ev.Mark ? log.bAt(row) : current[cpu]!);
    if (log.typeAt(row) === Ev.SchedSwitch) current[cpu] = log.bAt(row);
    if (rows.length === EVENTS_A_BUNDLE) yield bundle(log, cpu, rows.splice(0), pids[cpu]!.splice(0));
  }
  for (const [cpu, rows] of bundles.entries()) if (rows.length > 0) yield bundle(log, cpu, rows, pids[cpu]!);
}

function packet(fill: (out: BinaryWriter) => void): Uint8Array {
  const out = new BinaryWriter();
  out.tag(TRACE.packet, WireType.LengthDelimited).fork();
  fill(out);
  integer(out, PACKET.sequenceId, SEQUENCE_ID);
  return out.join().finish();
}

/** Negative values are sign-extended to 64 bits, as protobuf's int32 is. */
const integer = (out: BinaryWriter, field: number, value: number): BinaryWriter =>
  out.tag(field, WireType.Varint).int32(value);
const time = (out: BinaryWriter, field: number, ns: number): BinaryWriter =>
  out.tag(field, WireType.Varint).uint64(Math.max(Math.floor(ns), 0));
const text = (out: BinaryWriter, field: number, value: string): BinaryWriter =>
  out.tag(field, WireType.LengthDelimited).string(value);

function writeTree(out: BinaryWriter, log: EventLog): void {
  const parentOf = new Map<number, number>();
  for (let row = 0; row < log.count; row++)
    if (log.typeAt(row) === Ev.SchedFork) parentOf.set(log.bAt(row), log.aAt(row));
  out.tag(PACKET.processTree, WireType.LengthDelimited).fork();
  for (const [task, name] of log.names) {
    out.tag(TREE.processes, WireType.LengthDelimited).fork();
    integer(out, PROCESS.pid, task);
    integer(out, PROCESS.ppid, parentOf.get(task) ?? 0);
    text(out, PROCESS.cmdline, name);
    out.join();
    out.tag(TREE.threads, WireType.LengthDelimited).fork();
    integer(out, THREAD.tid, task);
    text(out, THREAD.name, name);
    integer(out, THREAD.tgid, task);
    out.join();
  }
  out.join();
}

function bundle(log: EventLog, cpu: number, rows: readonly number[], pids: readonly number[]): Uint8Array {
  return packet((out) => {
    out.tag(PACKET.ftraceEvents, WireType.LengthDelimited).fork();
    integer(out, BUNDLE.cpu, cpu);
    for (const [index, row] of rows.entries()) {
      out.tag(BUNDLE.event, WireType.LengthDelimited).fork();
      time(out, EVENT.timestamp, log.timeAt(row));
      integer(out, EVENT.pid, pids[index]!);
      WRITERS[log.typeAt(row)]!(out, log, row);
      out.join();
    }
    out.join();
  });
}

type WriteEvent = (out: BinaryWriter, log: EventLog, row: number) => void;

const nameOf = (log: EventLog, task: number, row: number): string =>
  task === 0 ? `swapper/${log.cpuAt(row)}` : log.nameOf(task);

const wake =
  (field: number): WriteEvent =>
  (out, log, row) => {
    out.tag(field, WireType.LengthDelimited).fork();
    text(out, WAKE.comm, nameOf(log, log.aAt(row), row));
    integer(out, WAKE.pid, log.aAt(row));
    integer(out, WAKE.prio, PRIO_OF_NICE_0 + log.dAt(row));
    integer(out, WAKE.success, 1);
    integer(out, WAKE.targetCpu, log.bAt(row));
    out.join();
  };

const WRITERS: Readonly<Record<number, WriteEvent>> = {
  [Ev.SchedSwitch]: (out, log, row) => {
    const nices = log.dAt(row);
    out.tag(EVENT.schedSwitch, WireType.LengthDelimited).fork();
    text(out, SWITCH.prevComm, nameOf(log, log.aAt(row), row));
    integer(out, SWITCH.prevPid, log.aAt(row));
    integer(out, SWITCH.prevPrio, PRIO_OF_NICE_0 + ((nices << 16) >> 24));
    integer(out, SWITCH.prevState, PREV_STATE[log.cAt(row)] ?? 0);
    text(out, SWITCH.nextComm, nameOf(log, log.bAt(row), row));
    integer(out, SWITCH.nextPid, log.bAt(row));
    integer(out, SWITCH.nextPrio, PRIO_OF_NICE_0 + ((nices << 24) >> 24));
    out.join();
  },
  [Ev.SchedWaking]: wake(EVENT.schedWaking),
  [Ev.SchedWakeup]: wake(EVENT.schedWakeup),
  [Ev.SchedWakeupNew]: wake(EVENT.schedWakeupNew),
  [Ev.SchedFork]: (out, log, row) => {
    out.tag(EVENT.processFork, WireType.LengthDelimited).fork();
    text(out, FORK.parentComm, nameOf(log, log.aAt(row), row));
    integer(out, FORK.parentPid, log.aAt(row));
    text(out, FORK.childComm, nameOf(log, log.bAt(row), row));
    integer(out, FORK.childPid, log.bAt(row));
    out.join();
  },
  [Ev.SchedExec]: (out, log, row) => {
    out.tag(EVENT.processExec, WireType.LengthDelimited).fork();
    text(out, EXEC.filename, nameOf(log, log.aAt(row), row));
    integer(out, EXEC.pid, log.aAt(row));
    integer(out, EXEC.oldPid, log.aAt(row));
    out.join();
  },
  [Ev.SchedExit]: (out, log, row) => {
    out.tag(EVENT.processExit, WireType.LengthDelimited).fork();
    text(out, EXIT.comm, nameOf(log, log.aAt(row), row));
    integer(out, EXIT.pid, log.aAt(row));
    integer(out, EXIT.tgid, log.aAt(row));
    integer(out, EXIT.prio, PRIO_OF_NICE_0 + log.dAt(row));
    out.join();
  },
  [Ev.SchedMigrate]: (out, log, row) => {
    out.tag(EVENT.migrateTask, WireType.LengthDelimited).fork();
    text(out, MIGRATE.comm, nameOf(log, log.aAt(row), row));
    integer(out, MIGRATE.pid, log.aAt(row));
    integer(out, MIGRATE.prio, PRIO_OF_NICE_0 + log.dAt(row));
    integer(out, MIGRATE.origCpu, log.bAt(row));
    integer(out, MIGRATE.destCpu, log.cAt(row));
    out.join();
  },
  [Ev.Mark]: (out, log, row) => {
    out.tag(EVENT.print, WireType.LengthDelimited).fork();
    text(out, PRINT.buf, `I|${log.bAt(row)}|${log.marks[log.aAt(row)] ?? `mark ${log.aAt(row)}`}\n`);
    out.join();
  },
};

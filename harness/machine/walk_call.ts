/**
 * The walk "one call": a task of the whole machine writes 6000 bytes and makes them durable; every event between the two
 * ways in and the last way out, with its time, its CPU and the task that was on it. Two CPUs, so that jbd2 need not wait
 * for the task.
 *
 * - walkCall()    the lines
 */
import type { UserProgram } from "../../kernel/abi/program.ts";
import { BlkEv, Ev, FsEv, MmEv, SysEv } from "../../kernel/abi/events.ts";
import { Nr, syscallName } from "../../kernel/abi/syscall_nr.ts";
import { CheckpointPhase, CommitPhase, WAIT_NAMES } from "../../kernel/index.ts";
import type { EventLog } from "../../kernel/index.ts";
import { MACHINE_DEFAULTS, openWith } from "./machine.ts";

const PATH = 64;
const BUFFER = 16_384;
const BYTES = 6000;
const START_NS = 5_000_000;
const OPS = ["READ", "WRITE", "FLUSH", "DISCARD", "ZEROES"];
const FLAGS = ["", " FUA", " PREFLUSH", " PREFLUSH FUA"];
const COLUMNS = 120;

const program: UserProgram = {
  name: "editor",
  step(task) {
    const { words } = task;
    switch (words[0]!++) {
      case 0:
        task.memory.set(new TextEncoder().encode("/letter\0"), PATH);
        return task.call(Nr.openat, -100, PATH, 0o102, 0o644);
      case 1:
        words[1] = task.result;
        return task.call(Nr.pwrite64, words[1], BUFFER, BYTES, 0);
      case 2:
        return task.call(Nr.fsync, words[1]);
      default:
        return undefined;
    }
  },
};

const nameOf = (names: Readonly<Record<string, number>>, value: number): string =>
  Object.entries(names).find(([, number]) => number === value)?.[0] ?? String(value);

const request = (sector: number, sectors: number, c: number): string =>
  `${OPS[c & 255]}${FLAGS[(c >> 8) & 3]}${sectors === 0 ? "" : ` sectors ${sector}..${sector + sectors - 1}`}`;

export async function walkCall(): Promise<readonly string[]> {
  const machine = await openWith(
    { ...MACHINE_DEFAULTS, cpus: 2, memoryBytes: 64 * 2 ** 20, disk: "new:16M", policy: "cfs", log: true },
    [{ program, startNs: START_NS }],
  );
  machine.run(machine.booted.machine.time[0]! + 50e6);
  machine.stop();
  return lines(machine.booted.machine.log!);
}

function lines(log: EventLog): readonly string[] {
  const on: string[] = ["idle", "idle"];
  const told: string[] = [];
  let begunNs = -1;
  for (let row = 0; row < log.count; row++) {
    const [type, cpu] = [log.typeAt(row), log.cpuAt(row)];
    const [a, b, c, d] = [log.aAt(row), log.bAt(row), log.cAt(row), log.dAt(row)];
    if (type === SysEv.Enter && b === Nr.pwrite64) begunNs = log.timeAt(row);
    const text = begunNs < 0 ? undefined : tell(log, type, a, b, c, d);
    if (text !== undefined) {
      const us = ((log.timeAt(row) - begunNs) / 1000).toFixed(1).padStart(7);
      told.push(`${us} us  cpu${cpu} ${on[cpu]!.padEnd(12)} ${text}`.slice(0, COLUMNS).trimEnd());
    }
    if (type === Ev.SchedSwitch) on[cpu] = b === 0 ? "idle" : log.names.get(b)!;
    if (type === SysEv.Exit && b === Nr.fsync) break;
  }
  return told;
}

/** A line, but for what is of no interest on this way. */
function tell(log: EventLog, type: number, a: number, b: number, c: number, d: number): string | undefined {
  const name = (p: number): string => (p === 0 ? "idle" : (log.names.get(p) ?? String(p)));
  switch (type) {
    case SysEv.Enter:
      return `sys_enter            ${syscallName(b)}(${c}, ...)`;
    case SysEv.Exit:
      return `sys_exit             ${syscallName(b)} = ${c}`;
    case SysEv.Sleep:
      return `sleep                ${name(a)} waits for ${WAIT_NAMES[b]}`;
    case SysEv.IrqEntry:
      return "irq_handler_entry    the disk's interrupt";
    case SysEv.IrqExit:
      return `irq_handler_exit     ${b} requests ended`;
    case Ev.SchedSwitch:
      return `sched_switch         ${name(a)} -> ${name(b)}`;
    case Ev.SchedWakeup:
      return `sched_wakeup         ${name(a)} on CPU ${b}`;
    case Ev.FilemapAdd:
      return `filemap_add          page ${b} of the file`;
    case Ev.WritebackStart:
      return `writeback_start      ${c} pages from page ${b} on`;
    case MmEv.PageAlloc:
      return `mm_page_alloc        frame 0x${a.toString(16)} for the page cache`;
    case FsEv.HandleStart:
      return `jbd2_handle_start    transaction ${a}: up to ${b} blocks`;
    case FsEv.HandleStop:
      return `jbd2_handle_stop     transaction ${a} has ${b} blocks`;
    case FsEv.DaReserve:
      return `ext4_da_reserve      inode ${a}: ${b} clusters promised`;
    case FsEv.AllocateBlocks:
      return `ext4_allocate_blocks inode ${a}: blocks ${b}..${b + d - 1} of the file at ${c} of the disk`;
    case FsEv.CommitPhase:
      return `jbd2_commit          transaction ${a}: ${nameOf(CommitPhase, c)}`;
    case FsEv.CheckpointPhase:
      return `jbd2_checkpoint      ${nameOf(CheckpointPhase, b)}`;
    case BlkEv.RqInsert:
      return `block_rq_insert      ${request(a, b, c)} for ${d === 0 ? "the kernel" : name(d)}`;
    case BlkEv.RqIssue:
      return `block_rq_issue       ${request(a, b, c)}: into the ring, the device is told`;
    case BlkEv.RqComplete:
      return `block_rq_complete    ${request(a, b, c)} = ${d}`;
    default:
      return undefined;
  }
}

/**
 * The walk "one page": in a booted machine of 32 MiB a kmalloc goes down to the frame it gets, and again when all lists are
 * filled; a task maps a page; then it maps more than there is: kswapd below the low watermark, and at the end
 * direct reclaim and the OOM killer. All lines are events of the machine's own trace but those that are
 * indented far, which name the place in the code.
 *
 * - walkPage()   the lines
 */
import { isErr } from "../../kernel/abi/errno.ts";
import { Ev, MmEv, SysEv } from "../../kernel/abi/events.ts";
import type { UserProgram } from "../../kernel/abi/program.ts";
import { Nr, syscallName } from "../../kernel/abi/syscall_nr.ts";
import type { EventLog } from "../../kernel/index.ts";
import { GFP, Kmalloc, MIGRATE_NAMES } from "../../mm/index.ts";
import { MACHINE_DEFAULTS, openWith } from "./machine.ts";
import type { OpenMachine } from "./machine.ts";

const MS = 1e6;
const PATH = 64;
const BUFFER = 4096;
const PIECE = 32_768;
const PIECES = 320;
/** Pages that the hog maps at once, but for the first. */
const PAGES = 64;
const PROT_READ_WRITE = 3;
const MAP_POPULATE_ANONYMOUS_PRIVATE = 0x8022;
const RESULTS = ["deferred", "the scanners met", "a block is there", "unfinished"];
/** So many events of one kind are still shown one by one. */
const RUN_MAX = 4;

/** Leaves 10 MiB of clean pages in the page cache. words: 0 step, 1 descriptor, 2 pieces. */
const writer: UserProgram = {
  name: "writer",
  step(task) {
    const { words } = task;
    switch (words[0]!++) {
      case 0:
        task.memory.set(new TextEncoder().encode("/f\0"), PATH);
        return task.call(Nr.openat, -100, PATH, 0o102, 0o644);
      case 1:
        words[1] = task.result;
        return task.call(Nr.write, words[1], BUFFER, PIECE);
      case 2:
        if (words[2]!++ === PIECES) return task.call(Nr.fsync, words[1]);
        words[0] = 2;
        return task.call(Nr.write, words[1], BUFFER, PIECE);
      default:
        return undefined;
    }
  },
};

/** Maps a page, then more and more. */
const hog: UserProgram = {
  name: "hog",
  step(task) {
    const pages = task.words[0]!++ === 0 ? 1 : PAGES;
    return task.call(Nr.mmap, 0, pages * 4096, PROT_READ_WRITE, MAP_POPULATE_ANONYMOUS_PRIVATE, -1, 0);
  },
};

export async function walkPage(): Promise<readonly string[]> {
  const options = {
    ...MACHINE_DEFAULTS,
    cpus: 1,
    memoryBytes: 32 * 2 ** 20,
    disk: "new:32M",
    policy: "cfs",
    log: true,
  };
  const machine = await openWith(options, [{ program: writer }, { program: hog, startNs: 200 * MS }]);
  const log = machine.booted.machine.log!;
  const kernel = kmalloc(machine, log);
  machine.run(machine.booted.machine.time[0]! + 400 * MS);
  return [...kernel, ...mapped(log), ...low(log), ...short(log)];
}

// --- what is shown ---

function kmalloc({ booted }: OpenMachine, log: EventLog): string[] {
  const cache = new Kmalloc(booted.slabs!.slub);
  const take = (): string[] => {
    const from = log.count;
    if (isErr(cache.kmalloc(0, 100, GFP.GFP_KERNEL, 0))) throw new Error("a new machine has no memory");
    return told(log, from, log.count - 1);
  };
  return [
    "kmalloc(100), the first in this machine",
    place("kmalloc.ts: 100 bytes fit the class of 128; slub.ts: the CPU has no object of it, no slab is partial"),
    place("page_alloc.ts: the CPU's list; pcp.ts refill: when that is empty the zone lock is taken for a whole batch"),
    ...take(),
    "kmalloc(100) again",
    place("slub.ts alloc: the first word of the CPU's list; no lock, no page"),
    ...take(),
  ];
}

function mapped(log: EventLog): string[] {
  const from = find(log, 0, (row) => is(log, row, SysEv.Enter, "hog"));
  return [
    "a task maps a page and touches it",
    place("syscall/memory.ts: the range is mapped; process.ts: a frame for each page that is touched"),
    ...told(
      log,
      from,
      find(log, from, (row) => is(log, row, SysEv.Exit, "hog")),
    ),
  ];
}

function low(log: EventLog): string[] {
  const begun = find(log, 0, (row) => is(log, row, SysEv.Enter, "hog"));
  const woken = find(log, begun, (row) => log.typeAt(row) === MmEv.WakeupKswapd);
  const asleep = find(log, woken, (row) => log.typeAt(row) === MmEv.KswapdSleep);
  return [
    "it goes on, 64 pages a call, until one of its requests wakes kswapd",
    place("steal.ts: no movable block is left, one is taken from the kernel's pageblock; that raises the watermarks"),
    place("vmscan.ts step: asks each cache for a 4096th of what it holds, then for twice as much, and so on"),
    ...told(
      log,
      back(log, woken, MmEv.Watermark),
      find(log, asleep, (row) => is(log, row, Ev.SchedSwitch, "kswapd0")),
    ),
  ];
}

function short(log: EventLog): string[] {
  const begun = find(log, 0, (row) => log.typeAt(row) === MmEv.DirectReclaimBegin);
  const ended = find(log, begun, (row) => is(log, row, SysEv.TaskExit, "hog"));
  return [
    "it goes on until no cache is left, and both zones are down at min",
    place("page_alloc_slow.ts: reclaim finds nothing to drop; oom_kill.ts: the hog holds the most"),
    ...told(log, back(log, begun, MmEv.PageAlloc) + 1, ended),
  ];
}

const place = (text: string): string => `            ${text}`;
const is = (log: EventLog, row: number, type: number, task: string): boolean =>
  log.typeAt(row) === type && log.nameOf(log.aAt(row)) === task;

function find(log: EventLog, from: number, wanted: (row: number) => boolean): number {
  let row = from;
  while (!wanted(row)) if (++row === log.count) throw new Error("walk page: what it shows did not happen");
  return row;
}

/** The last event of a type before a row. */
function back(log: EventLog, row: number, type: number): number {
  let at = row - 1;
  while (log.typeAt(at) !== type) at--;
  return at;
}

/** Rows from..to as lines; a long run of pages taken or given back is one. */
function told(log: EventLog, from: number, to: number): string[] {
  const lines: string[] = [];
  for (let row = from; row <= to;) {
    const run = runOf(log, row, to);
    if (run !== undefined) {
      lines.push(`  ${run.text}`);
      row += run.rows;
      continue;
    }
    const text = tell(log, row);
    if (text !== undefined) lines.push(`  ${text}`);
    row++;
  }
  return lines;
}

const TAKEN: readonly number[] = [MmEv.Watermark, MmEv.BuddySplit, MmEv.PageAllocZoneLocked, MmEv.PageAlloc];
const GIVEN: readonly number[] = [MmEv.PageFree, MmEv.PagePcpuDrain, Ev.FilemapDelete];

interface Run {
  readonly rows: number;
  readonly text: string;
}

/** What the rows from `row` on come to as one line: pages taken, or given back. Undefined: they are shown one by one. */
function runOf(log: EventLog, row: number, to: number): Run | undefined {
  const types = [TAKEN, GIVEN].find((some) => some.includes(log.typeAt(row)));
  if (types === undefined) return undefined;
  const counts = new Map(types.map((type) => [type, 0]));
  let [end, rows, failed] = [row, 0, 0];
  for (; end <= to && counts.has(log.typeAt(end)); end++) {
    const type = log.typeAt(end);
    counts.set(type, counts.get(type)! + 1);
    if (type === MmEv.Watermark && log.dAt(end) === 0) failed++;
    // The last request may go on otherwise: its rows are no part of the run.
    if (types === GIVEN || type === MmEv.PageAlloc) rows = end + 1 - row;
  }
  const few = types === TAKEN ? counts.get(MmEv.PageAlloc)! <= 1 : rows <= RUN_MAX;
  if (few) return undefined;
  const [frees, drains, deleted] = GIVEN.map((type) => counts.get(type) ?? 0);
  const text =
    types === TAKEN
      ? `mm_page_alloc        ${counts.get(MmEv.PageAlloc)} frames; ${failed} checks of a zone failed on the way`
      : `mm_page_free         ${frees} frames, ${deleted} of them out of the page cache; mm_page_pcpu_drain: ${drains} on to the zone`;
  return { rows, text };
}

const hex = (frame: number): string => `0x${frame.toString(16)}`;
const sized = (order: number): string => `order ${order}`;

/** One event, if it is on the way. */
function tell(log: EventLog, row: number): string | undefined {
  const [a, b, c, d] = [log.aAt(row), log.bAt(row), log.cAt(row), log.dAt(row)];
  switch (log.typeAt(row)) {
    case SysEv.Enter:
      return `sys_enter            ${syscallName(b)} by ${log.nameOf(a)}`;
    case SysEv.Exit:
      return `sys_exit             ${syscallName(b)} = 0x${c.toString(16)}`;
    case SysEv.Kill:
      return `signal_generate      ${b} to ${log.nameOf(a)}`;
    case SysEv.TaskExit:
      return `sched_process_exit   ${log.nameOf(a)}`;
    case Ev.SchedWakeup:
      return `sched_wakeup         ${log.nameOf(a)}`;
    case Ev.SchedSwitch:
      return `sched_switch         ${log.nameOf(a)} -> ${log.nameOf(b)}`;
    case MmEv.KmemCacheAlloc:
      return `kmem_cache_alloc     object at ${hex(a * 8)}, ${b} bytes asked of cache ${c}`;
    case MmEv.SlabNew:
      return `slab_new             frame ${hex(a)} ${sized(b)} becomes ${d} objects of cache ${c}`;
    case MmEv.Watermark:
      return `watermark            zone ${a}: ${b} frames free, mark ${c}: ${d === 1 ? "enough" : "too few"}`;
    case MmEv.PageAllocExtfrag:
      return `mm_page_alloc_extfrag ${MIGRATE_NAMES[c >> 8]} has none: takes ${sized(b & 255)} at ${hex(a)} from ${MIGRATE_NAMES[c & 255]}${d === 1 ? ", with its pageblock" : ""}`;
    case MmEv.BuddySplit:
      return `buddy_split          ${sized(c)} at ${hex(a)} is halved ${c - b} times: one of ${sized(b)}, the rest to the lists`;
    case MmEv.PageAllocZoneLocked:
      return `mm_page_alloc_zone_locked frame ${hex(a)} ${sized(b)} ${MIGRATE_NAMES[c]}${d === 1 ? ", to the CPU's list" : ""}`;
    case MmEv.PagePcpuDrain:
      return `mm_page_pcpu_drain   frame ${hex(a)} ${sized(b)} back to the zone`;
    case MmEv.PageAlloc:
      return `mm_page_alloc        frame ${hex(a)} ${sized(b)} ${MIGRATE_NAMES[c]}`;
    case MmEv.PageFree:
      return `mm_page_free         frame ${hex(a)} ${sized(b)}`;
    case MmEv.WakeupKswapd:
      return `mm_vmscan_wakeup_kswapd zone ${a} ${sized(b)}`;
    case MmEv.KswapdSleep:
      return `mm_vmscan_kswapd_sleep ${b} frames are free again`;
    case MmEv.DirectReclaimBegin:
      return `mm_vmscan_direct_reclaim_begin ${sized(a)}`;
    case MmEv.DirectReclaimEnd:
      return `mm_vmscan_direct_reclaim_end ${a} frames`;
    case MmEv.CompactionBegin:
      return `mm_compaction_begin  zone ${a}, for ${sized(d)}`;
    case MmEv.CompactionEnd:
      return `mm_compaction_end    ${b} frames moved: ${RESULTS[d]}`;
    case MmEv.OomKill:
      return `oom_kill             ${log.nameOf(a)}, badness ${b}: ${c} frames given back`;
    default:
      return undefined;
  }
}

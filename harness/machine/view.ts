/**
 * A booted machine as lines for a terminal: CPUs and what they run, tasks and what they wait for, the buddy map, page
 * cache, journal, disk queue. A pure function of the machine and of what was seen the last time.
 *
 * - new View(machine)       remembers counters, for rates
 * - view.lines(columns)     no longer than `columns`
 */
import { CheckpointPhase, CommitPhase, TaskKind, WAIT_NAMES } from "../../kernel/index.ts";
import { cpuAt, TaskState } from "../../sched/index.ts";
import { TASK_IO } from "../../drivers/index.ts";
import { ZONE } from "../../mm/index.ts";
import { mapCells, mapRows } from "../mm/buddy_map.ts";
import type { OpenMachine } from "./machine.ts";

const BAR = 24;
const TASKS_MAX = 14;
const MAP_ROWS = 2;

const nameOf = (names: Readonly<Record<string, number>>, value: number): string =>
  Object.entries(names).find(([, number]) => number === value)?.[0] ?? String(value);

/** `########--------` of a share from 0 to 1. */
export function bar(share: number, width = BAR): string {
  const full = Math.round(Math.max(0, Math.min(1, share)) * width);
  return "#".repeat(full) + "-".repeat(width - full);
}

const mib = (pages: number): string => `${(pages / 256).toFixed(1)} MiB`;
const percent = (share: number): string => `${(100 * share).toFixed(0).padStart(3)} %`;

interface Seen {
  readonly ns: number;
  readonly busy: readonly number[];
  readonly exec: Float64Array;
  readonly reads: number;
  readonly writes: number;
  readonly calls: number;
}

export class View {
  readonly #machine: OpenMachine;
  #seen: Seen;

  constructor(machine: OpenMachine) {
    this.#machine = machine;
    this.#seen = this.#look();
  }

  #look(): Seen {
    const { booted } = this.#machine;
    const { system, times, machine, disk } = booted;
    for (let cpu = 0; cpu < times.busyNs.length; cpu++) times.settle(cpu);
    let [reads, writes, calls] = [0, 0, 0];
    for (let p = 0; p < system.processes.rows; p++) {
      reads += disk?.queue.accounts.get(p, TASK_IO.reads) ?? 0;
      writes += disk?.queue.accounts.get(p, TASK_IO.writes) ?? 0;
      calls += system.processes.calls[p]!;
    }
    const exec = system.sched.task.sumExec.slice();
    return { ns: machine.time[0]!, busy: [...times.busyNs], exec, reads, writes, calls };
  }

  lines(columns: number): string[] {
    const before = this.#seen;
    const now = (this.#seen = this.#look());
    const { system } = this.#machine.booted;
    const seconds = Math.max(1e-9, (now.ns - before.ns) / 1e9);
    const rate = (from: number, to: number): string => Math.max(0, (to - from) / seconds).toFixed(0);
    const head = `t = ${(now.ns / 1e9).toFixed(3)} s   ${system.steps()} events   ${rate(before.calls, now.calls)} calls/s   ${system.executor.live} tasks   seed ${this.#machine.options.seed}`;
    return [
      head,
      "",
      ...this.#cpus(before, now, seconds),
      "",
      ...this.#memory(columns),
      ...this.#files(),
      ...this.#disk(rate, before, now),
      "",
      ...this.#tasks(before, now, seconds),
    ].map((line) => line.slice(0, columns));
  }

  #cpus(before: Seen, now: Seen, seconds: number): string[] {
    const { sched, processes } = this.#machine.booted.system;
    return now.busy.map((busy, cpu) => {
      const share = (busy - before.busy[cpu]!) / 1e9 / seconds;
      const p = sched.cpu.curr[cpuAt(cpu)]!;
      const queue: string[] = [];
      for (let row = 1; row < processes.rows; row++)
        if (sched.task.state[row] === TaskState.Queued && sched.task.cpu[row] === cpu)
          queue.push(processes.names.get(row));
      const runs = p === 0 ? "idle" : `${processes.names.get(p)}-${processes.pid[p]}`;
      return `cpu${cpu} ${bar(share)} ${percent(share)}  ${runs.padEnd(20)} ${queue.length} waiting ${queue.slice(0, 4).join(" ")}`;
    });
  }

  #memory(columns: number): string[] {
    const { memory, pages, psi } = this.#machine.booted;
    if (memory === undefined) return [];
    const { mm } = memory;
    const free = mm.zones.reduce((sum, { words }) => sum + words[ZONE.free]!, 0);
    const cached = pages?.cache.cached() ?? 0;
    const cells = mapCells(mm, Math.ceil(mm.map.shape.frames / (MAP_ROWS * Math.max(1, columns - 8))));
    const map = mapRows(cells, Math.max(1, columns - 8)).map((row, at) => `${at === 0 ? "frames " : "       "}|${row}`);
    const stalled =
      psi === undefined ? "" : `   stalled for memory ${psi.totalUs(1, false)} us, disk ${psi.totalUs(0, false)} us`;
    return [
      ...map,
      `memory ${bar(1 - free / memory.managed)} ${mib(memory.managed - free)} used, ${mib(free)} free${stalled}`,
      `cache  ${bar(cached / memory.managed)} ${mib(cached)}, ${mib(pages?.cache.dirty() ?? 0)} dirty, ${mib(pages?.cache.writeback() ?? 0)} on its way`,
    ];
  }

  #files(): string[] {
    const { ext4 } = this.#machine.booted;
    if (ext4 === undefined) return [];
    const { tid, commit, checkpoint, logBlocks, logFree } = ext4.fs.journal.standing;
    const phases = `commit ${nameOf(CommitPhase, commit)}, checkpoint ${nameOf(CheckpointPhase, checkpoint)}`;
    return [`jbd2   ${bar(1 - logFree / Math.max(1, logBlocks))} transaction ${tid}, ${phases}`];
  }

  #disk(rate: (from: number, to: number) => string, before: Seen, now: Seen): string[] {
    const { disk } = this.#machine.booted;
    if (disk === undefined) return [];
    const { waiting, inFlight } = disk.queue;
    return [
      `disk   ${bar((waiting + inFlight) / 64)} ${inFlight} at the device, ${waiting} waiting; ${rate(before.reads, now.reads)} reads/s, ${rate(before.writes, now.writes)} writes/s`,
    ];
  }

  #tasks(before: Seen, now: Seen, seconds: number): string[] {
    const { processes, waits } = this.#machine.booted.system;
    const rows: { readonly line: string; readonly share: number }[] = [];
    for (let p = 1; p < processes.rows; p++) {
      if (processes.kind[p] === TaskKind.Free) continue;
      const share = Math.min(1, (now.exec[p]! - before.exec[p]!) / 1e9 / seconds);
      const waitsFor = WAIT_NAMES[waits.channel[p]!]!;
      const rss = processes.rss[p]! > 0 ? mib(processes.rss[p]!) : "";
      rows.push({
        share,
        line: `${String(processes.pid[p]).padStart(5)} ${processes.names.get(p).padEnd(16)} ${percent(share)}  ${waitsFor.padEnd(10)} ${String(processes.calls[p]).padStart(8)} calls  ${rss}`,
      });
    }
    const shown = rows.sort((a, b) => b.share - a.share).slice(0, TASKS_MAX);
    return ["  pid task              CPU  waits for", ...shown.map(({ line }) => line)];
  }
}

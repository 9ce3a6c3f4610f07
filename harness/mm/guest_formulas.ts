/**
 * The formulas of the memory wing against a running Linux: what its /proc and debugfs say, and what ours make of the same
 * counts, digit for digit.
 *
 * - guestFormulas(options)     boots a guest, puts it into several states, compares; a row a formula
 * - indexLines, zonesIn        the text of debugfs' extfrag files made here; what /proc/zoneinfo says of each zone
 */
import {
  batchSize,
  fragmentationIndex,
  fragmentationText,
  highSize,
  hugePageMinFreeKbytes,
  lowmemReserve,
  minFreeKbytes,
  parseBuddyinfo,
  unusableIndex,
  unusableText,
  watermarks,
} from "../../mm/index.ts";
import type { ZoneSpec } from "../../mm/index.ts";
import { UserError } from "../cli/exit.ts";
import { bootGuest } from "../qemu/guest.ts";
import type { Guest } from "../qemu/guest.ts";

export interface FormulaRow {
  readonly formula: string;
  readonly compared: number;
  readonly equal: number;
  /** Where they first part. */
  readonly difference: string | null;
}

export interface FormulaReport {
  readonly release: string;
  readonly rows: readonly FormulaRow[];
}

export interface FormulaOptions {
  readonly memoryMiB: number;
  readonly progress: (line: string) => void;
}

const PAGEBLOCK_FRAMES = 512;
const FRAME_KB = 4;
/** vm.min_free_kbytes that the guest is told, one after the other; odd ones, since the formulas round. */
const MIN_FREE_KB = [1001, 3333, 9999, 20_011];
const TRIES = 12;
/** Of a guest of less than 4 GiB. */
const MAIN_ZONE = "DMA32";

class Tally {
  readonly #rows = new Map<string, { compared: number; equal: number; difference: string | null }>();

  compare(formula: string, where: string, linux: string | number, ours: string | number): void {
    const row = this.#rows.get(formula) ?? { compared: 0, equal: 0, difference: null };
    row.compared++;
    if (linux === ours) row.equal++;
    else row.difference ??= `${where}: Linux ${linux}, ours ${ours}`;
    this.#rows.set(formula, row);
  }

  rows(): FormulaRow[] {
    return [...this.#rows].map(([formula, row]) => ({ formula, ...row }));
  }
}

/** As extfrag/unusable_index and extfrag/extfrag_index print them. */
export function indexLines(zones: ReadonlyMap<string, readonly number[]>): { unusable: string[]; extfrag: string[] } {
  const lines = (text: (counts: readonly number[], order: number) => string): string[] =>
    [...zones].map(
      ([name, counts]) =>
        `Node 0, zone ${name.padStart(8)} ${counts.map((_, order) => `${text(counts, order)} `).join("")}`,
    );
  return {
    unusable: lines((counts, order) => unusableText(unusableIndex(counts, order))),
    extfrag: lines((counts, order) => fragmentationText(fragmentationIndex(counts, order))),
  };
}

export interface ZoneFigures {
  readonly name: ZoneSpec["name"];
  readonly managed: number;
  readonly min: number;
  readonly low: number;
  readonly high: number;
  readonly protection: readonly number[];
  /** Of the per-CPU list of CPU 0. */
  readonly pcpHigh: number;
  readonly pcpBatch: number;
}

/** The zones that have memory, from /proc/zoneinfo. */
export function zonesIn(zoneinfo: string): ZoneFigures[] {
  return zoneinfo
    .split(/^Node 0, zone +/m)
    .slice(1)
    .flatMap((text) => {
      const figure = (name: string): number => Number(new RegExp(`^ +${name} +(\\d+)$`, "m").exec(text)?.[1] ?? NaN);
      const managed = figure("managed");
      if (managed === 0) return [];
      return {
        name: /^\w+/.exec(text)![0] as ZoneSpec["name"],
        managed,
        min: figure("min"),
        low: figure("low"),
        high: figure("high"),
        protection: (/protection: \((.*)\)/.exec(text)?.[1] ?? "").split(", ").map(Number),
        pcpHigh: figure("high:"),
        pcpBatch: figure("batch:"),
      };
    });
}

const lines = (text: string): string[] => text.split("\n").filter((line) => line !== "");

/** The shell itself reads: a process more would take pages and give them back meanwhile. */
const READ_INDEXES =
  'sleep 0.1; all=""; for file in buddyinfo unusable buddyinfo extfrag buddyinfo; do ' +
  "case $file in buddyinfo) path=/proc/buddyinfo;; *) path=/sys/kernel/debug/extfrag/${file}_index;; esac; " +
  'while IFS= read -r line; do all="$all$line|"; done < $path; done; echo -n "$all"';

/** Counts and indexes of one moment, zone by zone: again until a zone's counts stand still meanwhile. */
async function compareIndexes(guest: Guest, state: string, tally: Tally): Promise<void> {
  const waiting = new Set(["first"]);
  for (let attempt = 0; attempt < TRIES && waiting.size > 0; attempt++) {
    const text = (await guest.must(READ_INDEXES)).replaceAll("|", "\n");
    const zones = parseBuddyinfo(text);
    if (waiting.delete("first")) for (const name of zones.keys()) waiting.add(name);
    const ours = indexLines(zones);
    for (const [at, name] of [...zones.keys()].entries()) {
      const said = lines(text).filter((_, line) => line % zones.size === at);
      const [before, unusable, between, extfrag, after] = said as [string, string, string, string, string];
      if (between !== before || after !== before || !waiting.delete(name)) continue;
      const where = `${state}, zone ${name}`;
      tally.compare("unusable free space index, all orders", where, unusable, ours.unusable[at]!);
      tally.compare("fragmentation index, all orders", where, extfrag, ours.extfrag[at]!);
    }
  }
  // The small zone may never: it is where the reader's own pages come from when the large one is at its watermark.
  if (waiting.has(MAIN_ZONE)) throw new UserError(`free memory did not stand still in ${TRIES} tries (${state})`);
}

function compareZones(zones: readonly ZoneFigures[], minKb: number, where: string, tally: Tally): void {
  const managed = zones.map((zone) => zone.managed);
  const lowmem = managed.reduce((sum, frames) => sum + frames, 0);
  const specs = zones.map(({ name }): ZoneSpec => ({ name, start: 0, end: 0 }));
  for (const [at, zone] of zones.entries()) {
    const here = `${where}, zone ${zone.name}`;
    const marks = watermarks(minKb, zone.managed, lowmem);
    for (const mark of ["min", "low", "high"] as const)
      tally.compare("watermarks of a zone", `${here}, ${mark}`, zone[mark], marks[mark]);
    for (let highest = at + 1; highest < zones.length; highest++)
      tally.compare("lowmem reserve", here, zone.protection[highest]!, lowmemReserve(specs, managed, at, highest));
    const batch = batchSize(zone.managed);
    tally.compare("per-CPU list, batch and high", here, zone.pcpBatch, batch);
    tally.compare("per-CPU list, batch and high", here, zone.pcpHigh, highSize(zone.low, 1, batch));
  }
}

/** Little is left but single pages: all of memory but this goes to one file, and the rest to files of a page. */
const REST_MIB = 36;
const FILES = 3000;
const FILL = [
  "mkdir -p /frag && mount -t tmpfs -o size=100% tmpfs /frag && cd /frag",
  "free=$(awk '/MemAvailable/ {print int($2 / 1024)}' /proc/meminfo)",
  `dd if=/dev/zero of=most bs=1M count=$((free - ${REST_MIB})) 2> /dev/null`,
  `i=0; while [ $i -lt ${FILES} ]; do echo > page$i; i=$((i + 1)); done`,
].join("; ");
const HOLES = "cd /frag; rm page*[02468]";
const MORE = "cd /frag; dd if=/dev/zero of=more bs=1M count=4 2> /dev/null";

export async function guestFormulas({ memoryMiB, progress }: FormulaOptions): Promise<FormulaReport> {
  const tally = new Tally();
  progress("booting");
  const guest = await bootGuest({ memoryMiB });
  try {
    const release = (await guest.must("uname -r")).trim();
    const read = async (path: string): Promise<string> => (await guest.must(`cat ${path}`)).trim();
    const minKbNow = async (): Promise<number> => Number(await read("/proc/sys/vm/min_free_kbytes"));
    const zonesNow = async (): Promise<ZoneFigures[]> => zonesIn(await guest.must("cat /proc/zoneinfo"));

    // What was managed when the watermarks were first set: all that was not reserved, and what was freed before.
    const boot = await guest.must("dmesg");
    const [, physical, reserved] = /Memory: \d+K\/(\d+)K available .* (\d+)K reserved/.exec(boot) ?? [];
    const alternatives = /Freeing SMP alternatives memory: (\d+)K/.exec(boot)?.[1] ?? "0";
    const lowmemKb = Number(physical) - Number(reserved) + Number(alternatives);
    const started = await read("/sys/kernel/mm/transparent_hugepage/enabled");
    if (started.includes("[never]"))
      tally.compare("min_free_kbytes at boot", `${memoryMiB} MiB`, await minKbNow(), minFreeKbytes(lowmemKb));

    progress("watermarks");
    await guest.must("cat /proc/sys/vm/lowmem_reserve_ratio > /tmp/r; cat /tmp/r > /proc/sys/vm/lowmem_reserve_ratio");
    for (const minKb of MIN_FREE_KB) {
      await guest.must(`echo ${minKb} > /proc/sys/vm/min_free_kbytes`);
      compareZones(await zonesNow(), minKb, `min_free_kbytes ${minKb}`, tally);
    }

    progress("khugepaged's watermark");
    const low = MIN_FREE_KB[0]!;
    await guest.must(
      `cd /sys/kernel/mm/transparent_hugepage; echo never > enabled; echo ${low} > /proc/sys/vm/min_free_kbytes`,
    );
    const zones = await zonesNow();
    const above = zones.reduce((sum, zone) => sum + Math.max(0, zone.managed - zone.high), 0);
    const wanted = hugePageMinFreeKbytes(low, zones.length, above, PAGEBLOCK_FRAMES);
    await guest.must("echo always > /sys/kernel/mm/transparent_hugepage/enabled; sleep 0.2");
    tally.compare("min_free_kbytes with khugepaged", `${above * FRAME_KB} kB above high`, await minKbNow(), wanted);
    compareZones(await zonesNow(), wanted, "with khugepaged", tally);

    await guest.must("echo 1024 > /proc/sys/vm/min_free_kbytes; mount -t debugfs debugfs /sys/kernel/debug");
    const states = [
      ["booted", ":"],
      ["nearly full", FILL],
      ["every second page of a part free", HOLES],
      ["nearly full, with holes", MORE],
    ] as const;
    for (const [state, command] of states) {
      progress(`free memory, ${state}`);
      await guest.must(command);
      await compareIndexes(guest, state, tally);
    }
    return { release, rows: tally.rows() };
  } finally {
    await guest.cut();
  }
}

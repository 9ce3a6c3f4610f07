/**
 * Memory in /proc: meminfo, buddyinfo, pagetypeinfo, zoneinfo, slabinfo, vmstat, pressure/{cpu,io,memory}, in Linux 6.1's
 * formats and order. A file is there when the part it tells of is, a line when its number has a meaning in this machine:
 * which pages are active, for one, is the eviction policy's own business and in no line.
 *
 * - memoryNodes(parts)   the nodes
 */
import type { PageCache } from "../../abi/page_cache.ts";
import { PAGE_SIZE } from "../../abi/units.ts";
import {
  buddyinfo,
  type PageAlloc,
  PAGEBLOCK_ORDER,
  pagetypeinfo,
  type Psi,
  PsiResource,
  readVmEvents,
  slabinfo,
  slabRows,
  type Slub,
  ZONE,
  zoneinfo,
  zonesOf,
} from "../../../mm/index.ts";
import type { PseudoNode } from "./pseudo_fs.ts";

/** Parts are missing when their feature is off; numbers that nobody knows, too. */
export interface MemoryParts {
  readonly memory?: PageAlloc;
  readonly slub?: Slub;
  readonly psi?: Psi;
  readonly cache?: PageCache;
  /** Pages of the cache that hold file systems' metadata (Buffers). */
  readonly bufferPages?: () => number;
  /** Pages of tmpfs. */
  readonly sharedPages?: () => number;
  /** Frames that tasks have, and pages that they may ask for without a further call. */
  readonly anonPages?: () => number;
  readonly committedPages?: () => number;
  /** Counted since boot. */
  readonly refaults?: () => number;
  readonly faults?: () => number;
  readonly majorFaults?: () => number;
  readonly readSectors?: () => number;
  readonly writtenSectors?: () => number;
}

const PRESSURE_NONE = "full avg10=0.00 avg60=0.00 avg300=0.00 total=0";

type Line = readonly [name: string, value: number | undefined];

const known = (lines: readonly Line[]): readonly (readonly [string, number])[] =>
  lines.filter((line): line is readonly [string, number] => line[1] !== undefined);

const sumOver = (memory: PageAlloc, word: number): number =>
  memory.zones.reduce((sum, { words }) => sum + words[word]!, 0);

/** Frames that no user gets: each zone's high watermark and what it keeps from requests for higher zones. */
function reservedPages(memory: PageAlloc): number {
  return memory.zones.reduce((sum, { words }) => {
    const kept = memory.zones.map((_, highest) => words[ZONE.reserve + highest]!);
    return sum + Math.min(words[ZONE.high]! + Math.max(...kept), words[ZONE.managed]!);
  }, 0);
}

function slabPages(slub: Slub, reclaimable: boolean): number {
  const rows = slabRows(slub).filter((row) => row.reclaimable === reclaimable);
  return rows.reduce((sum, { slabs, pagesPerSlab }) => sum + slabs * pagesPerSlab, 0);
}

/** Linux's si_mem_available(): free, and of what can be had back all but half or the low watermark. */
function availablePages(memory: PageAlloc, cached: number, reclaimable: number): number {
  const low = sumOver(memory, ZONE.low);
  const spared = (pages: number): number => pages - Math.min(Math.floor(pages / 2), low);
  return Math.max(sumOver(memory, ZONE.free) - reservedPages(memory) + spared(cached) + spared(reclaimable), 0);
}

export function meminfo(memory: PageAlloc, parts: MemoryParts): string {
  const { slub, cache } = parts;
  const total = sumOver(memory, ZONE.managed);
  const filePages = cache?.cached() ?? 0;
  const shared = parts.sharedPages?.();
  const buffers = parts.bufferPages?.() ?? 0;
  const reclaimable = slub && slabPages(slub, true);
  const fixed = slub && slabPages(slub, false);
  const lines: Line[] = [
    ["MemTotal", total],
    ["MemFree", sumOver(memory, ZONE.free)],
    ["MemAvailable", availablePages(memory, filePages, reclaimable ?? 0)],
    ["Buffers", buffers],
    ["Cached", filePages - buffers + (shared ?? 0)],
    ["SwapCached", 0],
    ["SwapTotal", 0],
    ["SwapFree", 0],
    ["Dirty", cache?.dirty()],
    ["Writeback", cache?.writeback()],
    ["AnonPages", parts.anonPages?.()],
    ["Shmem", shared],
    ["KReclaimable", reclaimable],
    ["Slab", slub && reclaimable! + fixed!],
    ["SReclaimable", reclaimable],
    ["SUnreclaim", fixed],
    // vm.overcommit_ratio is 50, and there is no swap.
    ["CommitLimit", Math.floor(total / 2)],
    ["Committed_AS", parts.committedPages?.()],
  ];
  const kb = PAGE_SIZE / 1024;
  return known(lines)
    .map(([name, pages]) => `${`${name}:`.padEnd(16)}${String(pages * kb).padStart(8)} kB\n`)
    .join("");
}

const sectorsKb = (sectors: number | undefined): number | undefined => sectors && Math.floor(sectors / 2);

export function vmstatText(memory: PageAlloc, parts: MemoryParts): string {
  const { slub, cache } = parts;
  const lines: Line[] = [
    ["nr_free_pages", sumOver(memory, ZONE.free)],
    ["nr_slab_reclaimable", slub && slabPages(slub, true)],
    ["nr_slab_unreclaimable", slub && slabPages(slub, false)],
    ["workingset_refault_file", parts.refaults?.()],
    ["nr_anon_pages", parts.anonPages?.()],
    ["nr_file_pages", cache && cache.cached() + (parts.sharedPages?.() ?? 0)],
    ["nr_dirty", cache?.dirty()],
    ["nr_writeback", cache?.writeback()],
    ["nr_shmem", parts.sharedPages?.()],
    ["pgpgin", sectorsKb(parts.readSectors?.())],
    ["pgpgout", sectorsKb(parts.writtenSectors?.())],
  ];
  for (const [name, value] of Object.entries(readVmEvents(memory))) {
    lines.push([name, value]);
    if (name === "pgfree") lines.push(["pgfault", parts.faults?.()], ["pgmajfault", parts.majorFaults?.()]);
  }
  return known(lines)
    .map(([name, value]) => `${name} ${value}\n`)
    .join("");
}

export function memoryNodes(parts: MemoryParts): PseudoNode[] {
  const { memory, slub, psi } = parts;
  const nodes: PseudoNode[] = [];
  if (memory !== undefined)
    nodes.push(
      { path: "buddyinfo", text: () => buddyinfo(zonesOf(memory)) },
      { path: "meminfo", text: () => meminfo(memory, parts) },
      {
        path: "pagetypeinfo",
        text: () => pagetypeinfo(zonesOf(memory), memory.config.pageblockOrder ?? PAGEBLOCK_ORDER),
        permissions: 0o400,
      },
      { path: "vmstat", text: () => vmstatText(memory, parts) },
      { path: "zoneinfo", text: () => zoneinfo(memory) },
    );
  if (slub !== undefined) nodes.push({ path: "slabinfo", text: () => slabinfo(slub), permissions: 0o400 });
  if (psi !== undefined)
    for (const [name, resource] of [
      ["cpu", PsiResource.Cpu],
      ["io", PsiResource.Io],
      ["memory", PsiResource.Memory],
    ] as const)
      nodes.push({ path: `pressure/${name}`, text: () => pressure(psi, resource) });
  return nodes;
}

/** Brought up to now first. When all CPUs' tasks wait for a CPU has no meaning for a whole machine: Linux shows zeros. */
function pressure(psi: Psi, resource: PsiResource): string {
  psi.sample();
  const text = psi.text(resource);
  return resource === PsiResource.Cpu ? text.replace(/^full .*$/m, PRESSURE_NONE) : text;
}

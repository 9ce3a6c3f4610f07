/**
 * The memory files of /proc, byte for byte in Linux 6.1's format, each from plain data that is also given out.
 *
 * - zonesOf(mm)                        free blocks by zone, migratetype and order; pageblocks by type
 * - buddyinfo, pagetypeinfo            text of that data (of a real guest's just as well)
 * - zoneinfo(mm), vmstat(mm)           text of the allocator's state
 * - parseBuddyinfo, parsePagetypeinfo  back from text; undefined where it is none
 */
import { MIGRATE_NAMES, MIGRATE_TYPES } from "./migratetype.ts";
import type { PageAlloc } from "./page_alloc.ts";
import { PCP } from "./pcp.ts";
import { type VmEvent, VM, vmEvents } from "./vmstat.ts";
import { ZONE } from "./zone.ts";

export interface ZoneBlocks {
  readonly name: string;
  /** [order] */
  readonly free: readonly number[];
  /** [migratetype][order] */
  readonly byType: readonly (readonly number[])[];
  /** [migratetype] pageblocks */
  readonly pageblocks: readonly number[];
}

export function zonesOf(mm: PageAlloc): ZoneBlocks[] {
  const orders = Array.from({ length: mm.map.shape.orderMax + 1 }, (_, order) => order);
  return mm.zones.map((buddy, zone) => {
    const { words } = buddy;
    const pageblocks = MIGRATE_NAMES.map(() => 0);
    const size = 1 << buddy.pageblockOrder;
    for (let at = words[ZONE.start]!; at < words[ZONE.end]!; at += size)
      pageblocks[buddy.blockType[at >>> buddy.pageblockOrder]!]!++;
    const byType = MIGRATE_NAMES.map((_, type) =>
      orders.map((order) => (type < MIGRATE_TYPES ? buddy.blocksOf(type, order) : 0)),
    );
    return { name: mm.config.zones[zone]!.name, free: orders.map((order) => buddy.blocks(order)), byType, pageblocks };
  });
}

const cells = (values: readonly (number | string)[], width: number): string =>
  values.map((value) => `${String(value).padStart(width)} `).join("");

export const buddyinfo = (zones: readonly ZoneBlocks[]): string =>
  zones.map((zone) => `Node 0, zone ${zone.name.padStart(8)} ${cells(zone.free, 6)}\n`).join("");

export function pagetypeinfo(zones: readonly ZoneBlocks[], pageblockOrder: number): string {
  const orders = zones[0]!.free.map((_, order) => order);
  const free = zones.flatMap((zone) =>
    zone.byType.map(
      (counts, type) =>
        `Node ${cells([0], 4).trimEnd()}, zone ${zone.name.padStart(8)}, type ${MIGRATE_NAMES[type]!.padStart(12)} ` +
        `${cells(counts, 6)}\n`,
    ),
  );
  const blocks = zones.map((zone) => `Node 0, zone ${zone.name.padStart(8)} ${cells(zone.pageblocks, 12)}\n`);
  return (
    `Page block order: ${pageblockOrder}\nPages per block:  ${1 << pageblockOrder}\n\n` +
    `Free pages count per migrate type at order  ${cells(orders, 6)}\n${free.join("")}` +
    `\nNumber of blocks type  ${cells(MIGRATE_NAMES, 12)}\n${blocks.join("")}`
  );
}

const numbers = (text: string): number[] => text.trim().split(/\s+/).map(Number);

/** Zone name -> free blocks by order. */
export function parseBuddyinfo(text: string): Map<string, number[]> {
  const zones = new Map<string, number[]>();
  for (const [, name, counts] of text.matchAll(/^Node 0, zone +(\w+) ((?: *\d+)+) *$/gm))
    // pagetypeinfo, if it follows, has lines alike: a zone's first is buddyinfo's.
    if (!zones.has(name!)) zones.set(name!, numbers(counts!));
  return zones;
}

/** Undefined when the text has no such tables. Text may hold other things around them (as `*.before.txt` does). */
export function parsePagetypeinfo(text: string): ZoneBlocks[] | undefined {
  const split = text.indexOf("Number of blocks type");
  const start = text.indexOf("Free pages count per migrate type");
  if (split < 0 || start < 0) return undefined;
  const byType = new Map<string, number[][]>();
  for (const [, name, counts] of text
    .slice(start, split)
    .matchAll(/^Node +0, zone +(\w+), type +\w+ ((?: *\d+)+) *$/gm)) {
    const lists = byType.get(name!) ?? [];
    lists.push(numbers(counts!));
    byType.set(name!, lists);
  }
  const zones: ZoneBlocks[] = [];
  for (const [, name, counts] of text.slice(split).matchAll(/^Node 0, zone +(\w+) ((?: *\d+)+) *$/gm)) {
    const lists = byType.get(name!);
    if (lists === undefined || lists.length === 0) return undefined;
    const free = lists[0]!.map((_, order) => lists.reduce((sum, list) => sum + list[order]!, 0));
    zones.push({ name: name!, free, byType: lists, pageblocks: numbers(counts!).slice(0, lists.length) });
  }
  return zones.length === 0 ? undefined : zones;
}

export function zoneinfo(mm: PageAlloc): string {
  const lines: string[] = [];
  for (const [zone, { words }] of mm.zones.entries()) {
    const spec = mm.config.zones[zone]!;
    const spanned = words[ZONE.end]! - words[ZONE.start]!;
    const protection = mm.zones.map((_, highest) => words[ZONE.reserve + highest]!);
    lines.push(
      `Node 0, zone ${spec.name.padStart(8)}`,
      `  pages free     ${words[ZONE.free]}`,
      `        boost    ${words[ZONE.boost]}`,
      `        min      ${words[ZONE.min]}`,
      `        low      ${words[ZONE.low]}`,
      `        high     ${words[ZONE.high]}`,
      `        spanned  ${spanned}`,
      `        present  ${words[ZONE.present]}`,
      `        managed  ${words[ZONE.managed]}`,
      `        cma      0`,
      `        protection: (${protection.join(", ")})`,
      `      nr_free_pages ${words[ZONE.free]}`,
      `  pagesets`,
    );
    const pcp = mm.pcps[zone]!;
    for (let cpu = 0; cpu < mm.config.cpus; cpu++) {
      const at = pcp.at(cpu);
      lines.push(
        `    cpu: ${cpu}`,
        `              count: ${pcp.words[at + PCP.count]}`,
        `              high:  ${pcp.words[at + PCP.high]}`,
        `              batch: ${pcp.words[at + PCP.batch]}`,
      );
    }
    lines.push(`  node_unreclaimable:  0`, `  start_pfn:           ${spec.start}`);
  }
  return `${lines.join("\n")}\n`;
}

/** Event counters of all CPUs, with what the per-CPU lists have not yet handed over. */
export function readVmEvents(mm: PageAlloc): Readonly<Record<VmEvent, number>> {
  const rows = mm.counters.slice();
  const names = { DMA: VM.pgalloc_dma, DMA32: VM.pgalloc_dma32, Normal: VM.pgalloc_normal } as const;
  for (const [zone, pcp] of mm.pcps.entries())
    for (let cpu = 0; cpu < mm.config.cpus; cpu++) {
      rows[names[mm.config.zones[zone]!.name]]! += pcp.words[pcp.at(cpu) + PCP.allocs]!;
      rows[VM.pgfree]! += pcp.words[pcp.at(cpu) + PCP.frees]!;
    }
  return vmEvents(rows);
}

export function vmstat(mm: PageAlloc): string {
  const free = mm.zones.reduce((sum, { words }) => sum + words[ZONE.free]!, 0);
  const lines = Object.entries(readVmEvents(mm)).map(([name, value]) => `${name} ${value}`);
  return `nr_free_pages ${free}\n${lines.join("\n")}\n`;
}

/**
 * The page allocator checks itself: every frame is in exactly one block or in a hole, every list is sound, every count
 * is true. O(frames). Tests, fuzzers and `mm replay` call it; it panics with what is wrong.
 */
import { assert } from "../kernel/lib/assert.ts";
import { Kind, type Memmap, ZONE_LISTS } from "./memmap.ts";
import { MIGRATE_TYPES, Migrate, PCP_TYPES } from "./migratetype.ts";
import type { Buddy } from "./buddy.ts";
import type { PageAlloc } from "./page_alloc.ts";
import { PCP } from "./pcp.ts";
import { ZONE } from "./zone.ts";

/** Visits a list both ways; returns its nodes in order. */
function walk(map: Memmap, head: number): number[] {
  const nodes: number[] = [];
  let before = head;
  for (let at = map.next[head]!; at !== head; at = map.next[at]!) {
    assert(at >= 0 && at < map.zoneLists, "check: a list leads out of the frames");
    assert(map.prev[at] === before, "check: next and prev of a list disagree");
    assert(nodes.length < map.zoneLists, "check: a list does not end");
    nodes.push(at);
    before = at;
  }
  assert(map.prev[head] === before, "check: a list's tail is wrong");
  return nodes;
}

function checkZoneLists(map: Memmap, buddy: Buddy, onList: Uint8Array): number {
  const { words } = buddy;
  let free = 0;
  for (let type = 0; type < MIGRATE_TYPES; type++) {
    for (let order = 0; order < ZONE_LISTS / MIGRATE_TYPES; order++) {
      const list = (type << 4) | order;
      const nodes = walk(map, buddy.lists + list);
      assert(nodes.length === words[ZONE.count + list], "check: a free list disagrees with its count");
      const masked = (words[ZONE.mask + type]! & (1 << order)) !== 0;
      assert(masked === nodes.length > 0, "check: the mask of non-empty orders is wrong");
      for (const pfn of nodes) {
        assert(map.state[pfn] === ((Kind.Free << 6) | list), "check: a listed block's state names another list");
        assert(pfn % (1 << order) === 0, "check: a free block is not aligned");
        assert(
          pfn >= words[ZONE.start]! && pfn + (1 << order) <= words[ZONE.end]!,
          "check: a free block leaves its zone",
        );
        assert(onList[pfn] === 0, "check: a block is on two lists");
        onList[pfn] = 1;
        free += 1 << order;
        if (order < buddy.orderMax) checkBuddy(map, buddy, pfn, order);
      }
    }
  }
  assert(free === words[ZONE.free], "check: the free lists disagree with the zone's free count");
  const mark = words[ZONE.low]! + words[ZONE.boost]! + words[ZONE.highatomic]!;
  assert(mark === words[ZONE.fastMark], "check: the fast path's mark is stale");
  assert(words[ZONE.lock] === 0, "check: the zone lock is held");
  return free;
}

function checkBuddy(map: Memmap, buddy: Buddy, pfn: number, order: number): void {
  const other = map.state[pfn ^ (1 << order)]!;
  if (other >> 6 !== Kind.Free || (other & 15) !== order) return;
  const types = [pfn, pfn ^ (1 << order)].map((at) => buddy.blockType[at >>> buddy.pageblockOrder]!);
  const kept = order >= buddy.pageblockOrder && types[0] !== types[1] && types.includes(Migrate.HighAtomic);
  assert(kept, "check: two free buddies were not merged");
}

function checkPcpLists(mm: PageAlloc, onList: Uint8Array): void {
  const { map } = mm;
  for (const [zone, pcp] of mm.pcps.entries())
    for (let cpu = 0; cpu < mm.config.cpus; cpu++) {
      let count = 0;
      for (let list = 0; list < PCP.words; list++) {
        for (const pfn of walk(map, map.pcpLists + pcp.at(cpu) + list)) {
          const state = map.state[pfn]!;
          const order = list < 12 ? Math.floor(list / PCP_TYPES) : map.shape.pageblockOrder;
          assert(state >> 6 === Kind.Pcp && (state & 15) === order, "check: a per-CPU block's state is wrong");
          assert(mm.zoneOf(pfn) === zone, "check: a per-CPU block is of another zone");
          assert(onList[pfn] === 0, "check: a block is on two lists");
          onList[pfn] = 1;
          count += 1 << order;
        }
      }
      assert(count === pcp.words[pcp.at(cpu) + PCP.count], "check: per-CPU lists disagree with their count");
    }
}

/** Returns frames by kind, for tests. */
export function checkPageAlloc(mm: PageAlloc): { free: number; pcp: number; allocated: number } {
  const { map } = mm;
  const onList = new Uint8Array(map.zoneLists);
  let free = 0;
  for (const buddy of mm.zones) free += checkZoneLists(map, buddy, onList);
  checkPcpLists(mm, onList);
  const sums = [0, 0, 0, 0];
  for (let pfn = 0; pfn < map.zoneLists;) {
    const state = map.state[pfn]!;
    const kind = state >> 6;
    const frames = kind === Kind.Tail ? 1 : 1 << (state & 15);
    for (let inner = pfn + 1; inner < pfn + frames; inner++)
      assert(map.state[inner] === 0, "check: a block begins inside another");
    assert((kind === Kind.Free || kind === Kind.Pcp) === (onList[pfn] === 1), "check: a free block is on no list");
    sums[kind]! += frames;
    pfn += frames;
  }
  assert(sums[Kind.Free] === free, "check: free states disagree with the lists");
  let managed = 0;
  let highatomic = 0;
  for (const { words } of mm.zones) {
    managed += words[ZONE.managed]!;
    highatomic += words[ZONE.highatomic]!;
  }
  const held = sums[Kind.Free]! + sums[Kind.Pcp]! + sums[Kind.Allocated]!;
  assert(held === managed, "check: frames were lost or made");
  assert(
    highatomic % (1 << map.shape.pageblockOrder) === 0,
    "check: the HighAtomic reserve is no whole number of blocks",
  );
  return { free, pcp: sums[Kind.Pcp]!, allocated: sums[Kind.Allocated]! };
}

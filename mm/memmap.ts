/**
 * The memory map: what is known of every physical frame, and beside it the words of zones and per-CPU lists, all in one
 * SharedArrayBuffer that is seen as 32-bit words and as bytes. One array for everything hot: a function that touches
 * ten fields loads one base and one length (five separate arrays made the allocator three times slower).
 *
 *   words   next | prev | owner | zones' words | per-CPU words | counters (float64)     bytes   state | blockType
 *
 *   next, prev   a frame's links in circular lists. Behind the frames come the lists' heads (sentinels), so that adding
 *                and removing has no special case:   frames | 64 a zone | 16 a CPU and zone | slab caches
 *   owner        who asked for the block last; kept after the free, for the panic that names it
 *   state        one byte a frame, of a block's first frame only; 0 for the frames behind it and for holes:
 *                  kind << 6 | migratetype << 4 | order     kind: Allocated, Free (on a zone's list), Pcp (on a CPU's)
 *                Free: the list's type. Pcp: type of its pageblock when it came. Allocated: mobility asked for.
 *   blockType    one byte a pageblock: its migratetype
 *
 * Who writes: a Free frame's words and every transition to or from Free are the zone lock holder's; a Pcp frame's words
 * are its CPU's; an Allocated frame's links are its owner's (slub and the page cache use them).
 * Frame numbers count from the start of RAM. next[pfn] is words[pfn].
 */
import { assert } from "../kernel/lib/assert.ts";
import type { Pfn } from "../kernel/abi/units.ts";
import { INT32, packState } from "./buddy_math.ts";
import { VM_STRIDE } from "./vmstat.ts";
import { CPUS_MAX, PAGE_ORDER_MAX, RAM_FRAMES_MAX, SLAB_CACHES_MAX, ZONES_MAX } from "../kernel/abi/limits.ts";

export const Kind = { Tail: 0, Allocated: 1, Free: 2, Pcp: 3 } as const;
export const ORDER_MAX = PAGE_ORDER_MAX;
export const PAGEBLOCK_ORDER = 9;
/** Free lists of a zone: migratetype << 4 | order. */
export const ZONE_LISTS = 64;
/** Lists of one CPU in one zone, padded to a cache line: orders 0..3 and the pageblock's, times three types. */
export const PCP_LISTS = 16;
/** Words of a zone (mm/zone.ts). */
export const ZONE_WORDS = 64 + ZONE_LISTS;
/** Lists a slab cache keeps its slabs on: partial and full. */
export const SLAB_LISTS = 2;

export const stateByte = (kind: number, type: number, order: number): number => packState(INT32, kind, type, order);

export interface MemmapShape {
  readonly frames: number;
  readonly zones: number;
  readonly cpus: number;
  /** Largest block, as an order. Linux's 10 but for exhaustive tests on a handful of frames. */
  readonly orderMax: number;
  readonly pageblockOrder: number;
}

export class Memmap {
  readonly shape: MemmapShape;
  readonly buffer: SharedArrayBuffer;
  /** The whole buffer, and where its parts start in words and in bytes. */
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
  readonly prevAt: number;
  readonly ownerAt: number;
  readonly zonesAt: number;
  readonly cpusAt: number;
  readonly stateAt: number;
  readonly typeAt: number;
  /** The parts as arrays of their own, for all that is not hot. */
  readonly next: Int32Array;
  readonly prev: Int32Array;
  readonly owner: Int32Array;
  readonly counters: Float64Array;
  readonly state: Uint8Array;
  readonly blockType: Uint8Array;
  /** Where the sentinels of each kind start in next and prev. */
  readonly zoneLists: number;
  readonly pcpLists: number;
  readonly slabLists: number;

  constructor(shape: MemmapShape, shared?: SharedArrayBuffer) {
    const { frames, zones, cpus, orderMax, pageblockOrder } = shape;
    assert(frames > 0 && frames <= RAM_FRAMES_MAX, "Memmap: frames out of range");
    assert(zones > 0 && zones <= ZONES_MAX && cpus > 0 && cpus <= CPUS_MAX, "Memmap: zones or CPUs out of range");
    assert(pageblockOrder <= orderMax && orderMax <= ORDER_MAX, "Memmap: orders out of range");
    this.shape = shape;
    // A buddy is looked at before it is known to exist: the arrays cover whole blocks of the largest order.
    const span = Math.ceil(frames / (1 << orderMax)) << orderMax;
    this.zoneLists = Math.ceil(span / 16) * 16;
    this.pcpLists = this.zoneLists + zones * ZONE_LISTS;
    this.slabLists = this.pcpLists + cpus * zones * PCP_LISTS;
    const nodes = this.slabLists + SLAB_CACHES_MAX * SLAB_LISTS;
    const blocks = (span >>> pageblockOrder) + 1;
    this.prevAt = nodes;
    this.ownerAt = nodes * 2;
    this.zonesAt = Math.ceil((this.ownerAt + this.zoneLists) / 16) * 16;
    this.cpusAt = this.zonesAt + zones * ZONE_WORDS;
    const countersAt = this.cpusAt + cpus * zones * PCP_LISTS;
    this.stateAt = (countersAt + cpus * VM_STRIDE * 2) * 4;
    this.typeAt = this.stateAt + this.zoneLists;
    const bytes = Math.ceil((this.typeAt + blocks) / 8) * 8;
    this.buffer = shared ?? new SharedArrayBuffer(bytes);
    assert(this.buffer.byteLength === bytes, "Memmap: the buffer is of another shape");
    this.words = new Int32Array(this.buffer);
    this.bytes = new Uint8Array(this.buffer);
    this.next = this.words.subarray(0, nodes);
    this.prev = this.words.subarray(this.prevAt, this.prevAt + nodes);
    this.owner = this.words.subarray(this.ownerAt, this.ownerAt + this.zoneLists);
    this.counters = new Float64Array(this.buffer, countersAt * 4, cpus * VM_STRIDE);
    this.state = this.bytes.subarray(this.stateAt, this.stateAt + this.zoneLists);
    this.blockType = this.bytes.subarray(this.typeAt, this.typeAt + blocks);
    if (shared !== undefined) return;
    for (let node = this.zoneLists; node < nodes; node++) {
      this.next[node] = node;
      this.prev[node] = node;
    }
  }

  /** First frame and order of the block around `pfn`: an allocated, free or per-CPU block. -1 in a hole. */
  blockAround(pfn: Pfn): number {
    for (let order = 0; order <= this.shape.orderMax; order++) {
      const head = (pfn >>> order) << order;
      const state = this.state[head]!;
      if (state !== 0) return (state & 15) >= order ? head : -1;
    }
    return -1;
  }
}

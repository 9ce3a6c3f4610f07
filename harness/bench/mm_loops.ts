/**
 * The loops that bench mm times, the same as in mm_twin.c down to the random numbers, so that checksums can be compared.
 * Each returns the sum of what was handed out, modulo 2^32. `null_` loops do all but allocate.
 */
import type { PhysAddr, Pfn } from "../../kernel/abi/units.ts";
import { PAGE_SIZE } from "../../kernel/abi/units.ts";
import { futexLocks } from "../../kernel/lib/lock_ops.ts";
import { GFP, Kmalloc, PageAlloc, type PageAllocConfig, Slub, ZONE } from "../../mm/index.ts";

const FRAMES = 262_144;
const SLOTS = 65_536;
const SEED = 0x9e3779b9 | 0;
const MOVABLE = GFP.GFP_HIGHUSER_MOVABLE;
const ALLOCATED_MOVABLE = 0x50;

export const loopConfig = (cpus: number): PageAllocConfig => ({
  zones: [{ name: "DMA32", start: 0, end: FRAMES }],
  cpus,
  locks: futexLocks,
});

/** One machine for all loops, as a process has one as a rule; each loop starts from its first state. */
let one: { readonly mm: PageAlloc; readonly start: Uint8Array } | undefined;

function machine(): PageAlloc {
  if (one === undefined) {
    const mm = new PageAlloc(loopConfig(1));
    one = { mm, start: mm.map.bytes.slice() };
  }
  one.mm.map.bytes.set(one.start);
  return one.mm;
}

let heap: { readonly ram: SharedArrayBuffer; readonly slub: Slub; readonly start: readonly Uint8Array[] } | undefined;

/** The slab allocator on that machine, likewise. */
function slabs(): { ram: SharedArrayBuffer; kmalloc: Kmalloc } {
  const mm = machine();
  if (heap === undefined) {
    const ram = new SharedArrayBuffer(FRAMES * PAGE_SIZE);
    const slub = new Slub(mm, ram, futexLocks);
    heap = { ram, slub, start: Object.values(slub.buffers()).map((buffer) => new Uint8Array(buffer).slice()) };
  }
  for (const [index, buffer] of Object.values(heap.slub.buffers()).entries())
    new Uint8Array(buffer).set(heap.start[index]!);
  return { ram: heap.ram, kmalloc: new Kmalloc(heap.slub) };
}

export type Loop = (operations: number) => number;

/** Slots and random state live on from the warming run to the counted one. */
function slotted(step: (x: number, slot: number, slots: Int32Array) => number): Loop {
  const slots = new Int32Array(SLOTS).fill(-1);
  let random = SEED;
  let total = 0;
  return (operations) => {
    // Locals: what lives on between runs would be written to memory in each step.
    let x = random;
    let sum = total;
    for (let i = 0; i < operations; i++) {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      sum = (sum + step(x, x >>> 16, slots)) | 0;
    }
    random = x;
    total = sum;
    return sum >>> 0;
  };
}

function pair(): Loop {
  const mm = machine();
  let total = 0;
  return (operations) => {
    let sum = total;
    for (let i = 0; i < operations; i++) {
      const pfn = mm.alloc(0, MOVABLE, 0, 1);
      sum = (sum + pfn) | 0;
      mm.free(0, pfn as Pfn, 0);
    }
    total = sum;
    return sum >>> 0;
  };
}

function nullPair(): Loop {
  let total = 0;
  return (operations) => {
    let sum = total;
    for (let i = 0; i < operations; i++) sum = (sum + i) | 0;
    total = sum;
    return sum >>> 0;
  };
}

/** One CPU's share of order-0 work; `mm` may be shared with others. */
export function randomOn(mm: PageAlloc, cpu: number, seed: number): Loop {
  const slots = new Int32Array(SLOTS).fill(-1);
  let random = seed;
  let total = 0;
  return (operations) => {
    // Locals: what lives on between runs would be written to memory in each step.
    let x = random;
    let sum = total;
    for (let i = 0; i < operations; i++) {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      const at = x >>> 16;
      if (slots[at]! < 0) {
        const pfn = mm.alloc(cpu, MOVABLE, 0, 1);
        slots[at] = pfn;
        sum = (sum + pfn) | 0;
      } else {
        mm.free(cpu, slots[at]! as Pfn, 0);
        slots[at] = -1;
      }
    }
    random = x;
    total = sum;
    return sum >>> 0;
  };
}

const nullRandom = (): Loop =>
  slotted((_x, at, slots) => {
    const old = slots[at]!;
    slots[at] = old < 0 ? at : -1;
    return old < 0 ? at : 0;
  });

function locked(): Loop {
  const buddy = machine().zones[0]!;
  const { words, state } = buddy;
  const orders = new Uint8Array(SLOTS);
  const slots = new Int32Array(SLOTS).fill(-1);
  let random = SEED;
  let total = 0;
  return (operations) => {
    // Locals: what lives on between runs would be written to memory in each step.
    let x = random;
    let sum = total;
    for (let i = 0; i < operations; i++) {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      const at = x >>> 16;
      const held = slots[at]!;
      futexLocks.lock(words, ZONE.lock);
      if (held < 0) {
        const order = 31 - Math.clz32((x | 1024) & -(x | 1024));
        const pfn = buddy.take(order, 1);
        if (pfn >= 0) {
          state[pfn] = ALLOCATED_MOVABLE | order;
          words[ZONE.free]! -= 1 << order;
        }
        slots[at] = pfn;
        orders[at] = order;
        sum = (sum + pfn) | 0;
      } else {
        buddy.put(held, orders[at]!, 1, false);
        words[ZONE.free]! += 1 << orders[at]!;
        slots[at] = -1;
      }
      futexLocks.unlock(words, ZONE.lock);
    }
    random = x;
    total = sum;
    return sum >>> 0;
  };
}

function nullLocked(): Loop {
  const orders = new Uint8Array(SLOTS);
  return slotted((x, at, slots) => {
    const old = slots[at]!;
    slots[at] = old < 0 ? at : -1;
    if (old < 0) orders[at] = 31 - Math.clz32((x | 1024) & -(x | 1024));
    return old < 0 ? at : 0;
  });
}

function kmalloc(): Loop {
  const { ram, kmalloc: allocator } = slabs();
  const objects = new Int32Array(ram);
  const slots = new Int32Array(SLOTS).fill(-1);
  let random = SEED;
  let total = 0;
  return (operations) => {
    // Locals: what lives on between runs would be written to memory in each step.
    let x = random;
    let sum = total;
    for (let i = 0; i < operations; i++) {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      const at = x >>> 16;
      const held = slots[at]!;
      if (held < 0) {
        const addr = allocator.kmalloc(0, 16 << ((x & 255) % 6), GFP.GFP_KERNEL, 1);
        const object = addr >>> 2;
        objects[object + 1] = 1;
        slots[at] = object;
        sum = (sum + object) | 0;
      } else {
        allocator.kfree(0, (held * 4) as PhysAddr, 1);
        slots[at] = -1;
      }
    }
    random = x;
    total = sum;
    return sum >>> 0;
  };
}

const nullKmalloc = (): Loop =>
  slotted((x, at, slots) => {
    const old = slots[at]!;
    slots[at] = old < 0 ? (x & 255) % 6 : -1;
    return old < 0 ? at : 0;
  });

/** Fresh state for each round: the checksum is that of the twin's run from its start. */
export const LOOPS: Readonly<Record<string, () => Loop>> = {
  pair,
  null_pair: nullPair,
  random: () => randomOn(machine(), 0, SEED),
  null_random: nullRandom,
  locked,
  null_locked: nullLocked,
  kmalloc,
  null_kmalloc: nullKmalloc,
};

/** Two CPUs on one allocator: what a worker is told. */
export interface CpuJob {
  readonly buffer: SharedArrayBuffer;
  readonly cpu: number;
  readonly cpus: number;
  readonly operations: number;
  /** Counts workers that are ready; all start when it reaches `workers`. */
  readonly gate: SharedArrayBuffer;
  readonly workers: number;
}

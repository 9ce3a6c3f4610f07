/**
 * The page allocator under random requests of all orders, mobilities and CPUs, on one or two zones, with drains, saves
 * and restores, huge atomic requests and compaction; beside the plainest model: who holds each frame. Every block must
 * be aligned, whole, in its zone and nobody else's; the allocator checks itself; at the end all memory is back.
 */
import { isErr } from "../kernel/abi/errno.ts";
import type { MovablePages } from "../kernel/abi/reclaim.ts";
import type { Pfn } from "../kernel/abi/units.ts";
import { noLocks } from "../kernel/lib/lock_ops.ts";
import { nextBelow, prng } from "../kernel/lib/prng.ts";
import { GFP, PageAlloc, type ZoneSpec, attachReclaim, checkPageAlloc, mobilityOf } from "../mm/index.ts";
import type { FuzzResult, FuzzTarget } from "./target.ts";

const OPS = 400;
const FRAMES = 4096;
const CPUS = 3;
const GFPS = [
  GFP.GFP_KERNEL,
  GFP.GFP_HIGHUSER_MOVABLE,
  GFP.GFP_NOFS | GFP.__GFP_RECLAIMABLE,
  GFP.GFP_ATOMIC,
  GFP.GFP_DMA,
  GFP.GFP_TRANSHUGE,
];

/** Who holds movable blocks: asked by compaction to move one. */
class Holder implements MovablePages {
  readonly #slotAt = new Map<number, number>();
  readonly #frameOf = new Map<number, number>();

  hold(pfn: number, slot: number): void {
    this.#slotAt.set(pfn, slot);
    this.#frameOf.set(slot, pfn);
  }

  drop(slot: number): void {
    this.#slotAt.delete(this.#frameOf.get(slot)!);
    this.#frameOf.delete(slot);
  }

  frameOf(slot: number): Pfn {
    return this.#frameOf.get(slot)! as Pfn;
  }

  migrate(from: Pfn, to: Pfn): boolean {
    const slot = this.#slotAt.get(from);
    if (slot === undefined) return false;
    this.drop(slot);
    this.hold(to, slot);
    return true;
  }
}

interface Live {
  readonly slot: number;
  readonly order: number;
  /** -1: movable, ask the holder. */
  readonly pfn: number;
}

class Case {
  readonly #draw: Int32Array;
  readonly #live: Live[] = [];
  readonly #holder = new Holder();
  readonly #sabotage: boolean;
  #mm: PageAlloc;
  #frames = 0;

  constructor(seed: number, sabotage: boolean) {
    this.#draw = prng(seed);
    this.#sabotage = sabotage;
    const zones: ZoneSpec[] =
      nextBelow(this.#draw, 2) === 0
        ? [{ name: "Normal", start: 0, end: FRAMES - nextBelow(this.#draw, 600) }]
        : [
            { name: "DMA", start: 0, end: 1024 },
            { name: "DMA32", start: 1024, end: FRAMES },
          ];
    const hole = nextBelow(this.#draw, 200);
    const grouping = nextBelow(this.#draw, 4) > 0;
    this.#mm = new PageAlloc({ zones, cpus: CPUS, grouping, reserved: [[hole, hole + 10]], locks: noLocks });
    this.#attach();
  }

  run(): void {
    for (let slot = 0; slot < OPS; slot++) {
      const kind = nextBelow(this.#draw, 100);
      if (kind < 52) this.#alloc(slot);
      else if (kind < 95) this.#free();
      else if (kind < 97) this.#mm.drainAll(nextBelow(this.#draw, CPUS));
      else if (kind < 98) this.#restore();
      if (slot % 25 === 0) this.#check();
    }
    while (this.#live.length > 0) this.#free();
    this.#mm.drainAll(0);
    const end = checkPageAlloc(this.#mm);
    if (end.allocated + end.pcp > 0) throw new Error(`${end.allocated + end.pcp} frames never came back`);
  }

  #attach(): void {
    attachReclaim(this.#mm, { movable: this.#holder });
  }

  #alloc(slot: number): void {
    const gfp = GFPS[nextBelow(this.#draw, GFPS.length)]!;
    const order = nextBelow(this.#draw, 4) > 0 ? nextBelow(this.#draw, 2) : nextBelow(this.#draw, 11);
    const pfn = this.#mm.alloc(nextBelow(this.#draw, CPUS), gfp, order, slot);
    if (isErr(pfn)) return;
    if (pfn % (1 << order) !== 0) throw new Error(`frame ${pfn} is not aligned to order ${order}`);
    const movable = mobilityOf(gfp) === 1;
    if (movable) this.#holder.hold(pfn, slot);
    this.#live.push({ slot, order, pfn: movable ? -1 : pfn });
    this.#frames += 1 << order;
    if (this.#sabotage && slot > OPS / 2) this.#mm.map.next[pfn] = pfn;
    if (this.#sabotage && slot > OPS / 2) this.#mm.zones[0]!.insert(pfn, 0, order, false);
  }

  #free(): void {
    if (this.#live.length === 0) return;
    const index = nextBelow(this.#draw, this.#live.length);
    const block = this.#live[index]!;
    this.#live[index] = this.#live.at(-1)!;
    this.#live.pop();
    const pfn = block.pfn === -1 ? this.#holder.frameOf(block.slot) : (block.pfn as Pfn);
    if (block.pfn === -1) this.#holder.drop(block.slot);
    this.#mm.free(nextBelow(this.#draw, CPUS), pfn, block.order);
    this.#frames -= 1 << block.order;
  }

  #restore(): void {
    this.#mm = new PageAlloc(this.#mm.config, this.#mm.buffer.slice(0));
    this.#attach();
  }

  #check(): void {
    const { allocated } = checkPageAlloc(this.#mm);
    if (allocated !== this.#frames) throw new Error(`${allocated} frames are held, the model says ${this.#frames}`);
    const owner = new Uint8Array(FRAMES);
    for (const { slot, order, pfn } of this.#live) {
      const head = pfn === -1 ? this.#holder.frameOf(slot) : pfn;
      for (let frame = head; frame < head + (1 << order); frame++)
        if (owner[frame]!++ > 0) throw new Error(`frame ${frame} was handed out twice`);
    }
  }
}

function runCases(seed: number, runs: number, sabotage: boolean, progress: (done: number) => void): FuzzResult {
  for (let index = 0; index < runs; index++) {
    try {
      new Case(seed + index, sabotage).run();
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      return { runs: index + 1, failure: { seed: seed + index, message } };
    }
    progress(index + 1);
  }
  return { runs };
}

export const target: FuzzTarget = {
  name: "buddy",
  help: "page allocator: random requests against a map of who holds each frame",
  run: (seed, runs, progress) => runCases(seed, runs, false, progress),
  canary: (seed) => runCases(seed, 1, true, () => undefined),
};

/**
 * kmalloc and kfree of random sizes on random CPUs, with drains, shrinks, saves and restores; every second case in debug
 * mode. Each object is filled with its own byte: one that changes was handed out twice or written by its neighbour. The
 * slab and page allocators check themselves, and at the end all memory is back.
 */
import { isErr } from "../kernel/abi/errno.ts";
import type { PhysAddr } from "../kernel/abi/units.ts";
import { PAGE_SIZE } from "../kernel/abi/units.ts";
import { noLocks } from "../kernel/lib/lock_ops.ts";
import { nextBelow, prng } from "../kernel/lib/prng.ts";
import { GFP, KMALLOC_SIZES, Kmalloc, PageAlloc, SlabFlag, Slub, checkPageAlloc } from "../mm/index.ts";
import type { FuzzResult, FuzzTarget } from "./target.ts";

const OPS = 600;
const FRAMES = 1024;
const CPUS = 2;

interface Live {
  readonly addr: PhysAddr;
  readonly size: number;
  readonly mark: number;
}

class Case {
  readonly #draw: Int32Array;
  readonly #live: Live[] = [];
  readonly #flags: number;
  readonly #sabotage: boolean;
  #ram = new SharedArrayBuffer(FRAMES * PAGE_SIZE);
  #bytes = new Uint8Array(this.#ram);
  #pages: PageAlloc;
  #slub: Slub;
  #kmalloc: Kmalloc;

  constructor(seed: number, sabotage: boolean) {
    this.#draw = prng(seed);
    this.#sabotage = sabotage;
    this.#flags = seed % 2 === 0 ? 0 : SlabFlag.Debug;
    this.#pages = new PageAlloc({ zones: [{ name: "DMA32", start: 0, end: FRAMES }], cpus: CPUS, locks: noLocks });
    this.#slub = new Slub(this.#pages, this.#ram, noLocks);
    this.#kmalloc = new Kmalloc(this.#slub, this.#flags);
  }

  run(): void {
    for (let op = 0; op < OPS; op++) {
      const kind = nextBelow(this.#draw, 100);
      if (kind < 52) this.#alloc(op);
      else if (kind < 96) this.#free();
      else if (kind < 97) this.#slub.drainAll(nextBelow(this.#draw, CPUS));
      else if (kind < 98) this.#slub.shrink(0, 1 + nextBelow(this.#draw, KMALLOC_SIZES.length));
      else if (kind < 99) this.#restore();
      if (op % 50 === 0) this.#slub.check();
    }
    while (this.#live.length > 0) this.#free();
    this.#slub.drainAll(0);
    this.#slub.check();
    for (let cache = 1; cache <= KMALLOC_SIZES.length; cache++) {
      if (this.#flags === SlabFlag.Debug) this.#slub.validate(cache);
      if (this.#slub.destroyCache(0, cache) !== 0) throw new Error(`cache ${cache} still has slabs at the end`);
    }
    this.#pages.drainAll(0);
    if (checkPageAlloc(this.#pages).allocated > 0) throw new Error("pages never came back");
  }

  #alloc(op: number): void {
    const size = 1 + nextBelow(this.#draw, nextBelow(this.#draw, 20) === 0 ? 20_000 : 600);
    const addr = this.#kmalloc.kmalloc(nextBelow(this.#draw, CPUS), size, GFP.GFP_KERNEL, op);
    if (isErr(addr)) return;
    const mark = op & 0xff;
    this.#bytes.fill(mark, addr, addr + size + (this.#sabotage ? 16 : 0));
    this.#live.push({ addr, size, mark });
  }

  #free(): void {
    if (this.#live.length === 0) return;
    const index = nextBelow(this.#draw, this.#live.length);
    const { addr, size, mark } = this.#live[index]!;
    this.#live[index] = this.#live.at(-1)!;
    this.#live.pop();
    for (let at = addr; at < addr + size; at++)
      if (this.#bytes[at] !== mark) throw new Error(`object 0x${addr.toString(16)} changed at byte ${at - addr}`);
    this.#kmalloc.kfree(nextBelow(this.#draw, CPUS), addr, -1);
  }

  #restore(): void {
    const saved = this.#slub.buffers();
    this.#ram = this.#ram.slice(0);
    this.#bytes = new Uint8Array(this.#ram);
    this.#pages = new PageAlloc(this.#pages.config, this.#pages.buffer.slice(0));
    const slubCopy = { control: saved.control.slice(0), frames: saved.frames.slice(0) };
    this.#slub = new Slub(this.#pages, this.#ram, noLocks, slubCopy);
    this.#kmalloc = new Kmalloc(this.#slub, this.#flags);
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
  name: "slub",
  help: "slab allocator: random kmalloc and kfree, contents and structure checked, half of it in debug mode",
  run: (seed, runs, progress) => runCases(seed, runs, false, progress),
  canary: (seed) => runCases(seed, 1, true, () => undefined),
};

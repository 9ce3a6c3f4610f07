import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EBUSY, isErr } from "../../kernel/abi/errno.ts";
import type { PhysAddr } from "../../kernel/abi/units.ts";
import { PAGE_SIZE } from "../../kernel/abi/units.ts";
import { noLocks } from "../../kernel/lib/lock_ops.ts";
import { nextBelow, prng } from "../../kernel/lib/prng.ts";
import { checkPageAlloc } from "../../mm/check.ts";
import { GFP } from "../../mm/gfp.ts";
import { KMALLOC_SIZES, Kmalloc } from "../../mm/kmalloc.ts";
import { PageAlloc } from "../../mm/page_alloc.ts";
import { cpuObjects, minPartial, slabObjects, slabOrder } from "../../mm/slab_size.ts";
import { slabRows, slabinfo } from "../../mm/slabinfo.ts";
import { SlabFlag, Slub } from "../../mm/slub.ts";
import { MiB, smallMachine } from "./machine.ts";

const K: number = GFP.GFP_KERNEL;

function slubMachine(frames: number, cpus = 2, flags = 0) {
  const pages = smallMachine(frames, { cpus });
  const ram = new SharedArrayBuffer(frames * PAGE_SIZE);
  const slub = new Slub(pages, ram, noLocks);
  return { pages, ram, slub, kmalloc: new Kmalloc(slub, flags), bytes: new Uint8Array(ram) };
}

describe("slab sizes equal Linux's", () => {
  it.each([
    [8, 512, 1],
    [64, 64, 1],
    [96, 42, 1],
    [192, 21, 1],
    [256, 16, 1],
    [512, 8, 1],
    [1024, 8, 2],
    [2048, 8, 4],
    [4096, 8, 8],
    [8192, 4, 8],
  ])("on one CPU kmalloc-%i: %i objects on %i pages", (size, objects, pages) => {
    const order = slabOrder(size, 1);
    expect([slabObjects(order, size), 1 << order]).toEqual([objects, pages]);
  });

  it("limits", () => {
    expect([cpuObjects(64), cpuObjects(256), cpuObjects(1024), cpuObjects(4096)]).toEqual([120, 52, 24, 6]);
    expect([minPartial(8), minPartial(4096), minPartial(2 ** 22)]).toEqual([5, 6, 10]);
  });
});

type Op =
  | { kind: "alloc"; cpu: number; bytes: number }
  | { kind: "free"; cpu: number; which: number }
  | { kind: "drain"; cpu: number }
  | { kind: "shrink"; cpu: number }
  | { kind: "save" };
const op: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 50,
    arbitrary: fc.record({
      kind: fc.constant("alloc" as const),
      cpu: fc.nat(1),
      bytes: fc.oneof({ weight: 9, arbitrary: fc.integer({ min: 1, max: 700 }) }, fc.integer({ min: 1, max: 20_000 })),
    }),
  },
  { weight: 46, arbitrary: fc.record({ kind: fc.constant("free" as const), cpu: fc.nat(1), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("drain" as const), cpu: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("shrink" as const), cpu: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.constant({ kind: "save" as const }) },
);

/** The model: a map of live objects, each filled with its own byte; an object that changes was handed out twice. */
function run(ops: readonly Op[], flags: number): void {
  const machine = slubMachine(2 * MiB, 2, flags);
  let { pages, ram, slub, kmalloc, bytes } = machine;
  const live: { addr: PhysAddr; size: number; mark: number }[] = [];
  let serial = 0;
  for (const step of ops) {
    serial++;
    if (step.kind === "alloc") {
      const addr = kmalloc.kmalloc(step.cpu, step.bytes, K, serial);
      if (isErr(addr)) continue;
      const mark = serial & 0xff;
      bytes.fill(mark, addr, addr + step.bytes);
      live.push({ addr, size: step.bytes, mark });
    } else if (step.kind === "free" && live.length > 0) {
      const [object] = live.splice(step.which % live.length, 1);
      const whole = bytes.subarray(object!.addr, object!.addr + object!.size).every((byte) => byte === object!.mark);
      if (!whole) expect.fail("an object's bytes changed while it was held");
      kmalloc.kfree(step.cpu, object!.addr, serial);
    } else if (step.kind === "drain") slub.drainAll(step.cpu);
    else if (step.kind === "shrink") for (let cache = 1; cache <= 13; cache++) slub.shrink(step.cpu, cache);
    else if (step.kind === "save") {
      const saved = slub.buffers();
      pages = new PageAlloc(pages.config, pages.buffer.slice(0));
      ram = ram.slice(0);
      bytes = new Uint8Array(ram);
      slub = new Slub(pages, ram, noLocks, { control: saved.control.slice(0), frames: saved.frames.slice(0) });
      kmalloc = new Kmalloc(slub, flags);
    }
    if (serial % 16 === 0) slub.check();
  }
  for (const { addr } of live) kmalloc.kfree(0, addr, 0);
  slub.drainAll(0);
  slub.check();
  for (let cache = 1; cache <= 13; cache++) expect(slub.destroyCache(0, cache)).toBe(0);
  pages.drainAll(0);
  expect(checkPageAlloc(pages).allocated).toBe(0);
}

describe("Slub and Kmalloc", () => {
  it.each([
    ["plain", 0, 60, 0x51ab],
    ["debugged", SlabFlag.Debug, 25, 0x51ac],
  ])("%s: objects are whole, apart, and all come back", (_name, flags, numRuns, seed) => {
    fc.assert(
      fc.property(fc.array(op, { minLength: 200, maxLength: 600, size: "max" }), (ops) => run(ops, flags)),
      { numRuns, seed, endOnFailure: true },
    );
  });

  it("an object freed on another CPU finds its way back", () => {
    const { slub, kmalloc } = slubMachine(8 * MiB);
    const addrs: PhysAddr[] = [];
    for (let index = 0; index < 5000; index++) addrs.push(kmalloc.kmalloc(0, 100, K, 1) as PhysAddr);
    for (const addr of addrs) kmalloc.kfree(1, addr, 1);
    slub.check();
    const again = kmalloc.kmalloc(0, 100, K, 1) as PhysAddr;
    kmalloc.kfree(0, again, 1);
    slub.drainAll(0);
    slub.check();
    expect(slabRows(slub).find((row) => row.name === "kmalloc-128")!.activeObjects).toBe(0);
  });

  it("bulk calls", () => {
    const { slub } = slubMachine(4 * MiB);
    const cache = slub.createCache("inode", 600);
    const into = new Float64Array(500);
    expect(slub.allocBulk(0, cache, K, 1, into)).toBe(500);
    expect(new Set(into).size).toBe(500);
    expect(slub.destroyCache(0, cache)).toBe(EBUSY);
    slub.freeBulk(1, cache, into, 1);
    slub.drainAll(0);
    expect(slub.destroyCache(0, cache)).toBe(0);
    const all = new Float64Array(20_000);
    const big = slub.createCache("big", 1000);
    const got = slub.allocBulk(0, big, K, 1, all);
    expect(got).toBeLessThan(4 * 1024);
    slub.check();
  });

  it("a large slab is only a wish: with memory in single pages a small one is taken", () => {
    const { pages, slub, kmalloc } = slubMachine(8 * MiB);
    const held = new Set<number>();
    for (;;) {
      const pfn = pages.alloc(0, GFP.GFP_NOWAIT, 0, 1);
      if (isErr(pfn)) break;
      held.add(pfn);
    }
    for (const pfn of held) if (pfn % 2 === 0) pages.free(0, pfn as never, 0);
    pages.drainAll(0);
    const addr = kmalloc.kmalloc(0, 1024, K, 1);
    expect(isErr(addr)).toBe(false);
    slub.check();
    kmalloc.kfree(0, addr as PhysAddr, 1);
    slub.drainAll(0);
    slub.check();
  });

  it("slabinfo", () => {
    const { slub, kmalloc } = slubMachine(4 * MiB);
    kmalloc.kmalloc(0, 90, K, 1);
    const row = slabinfo(slub)
      .split("\n")
      .find((line) => line.startsWith("kmalloc-96"));
    expect(row).toBe(
      "kmalloc-96            42     42     96   42    1 : tunables    0    0    0 : slabdata      1      1      0",
    );
  });

  it("plain mode sees a wrong cache, a wild pointer, an immediate double free", () => {
    const { slub, kmalloc } = slubMachine(4 * MiB);
    const addr = kmalloc.kmalloc(0, 64, K, 1) as PhysAddr;
    const other = slub.createCache("other", 64);
    expect(() => slub.free(0, other, addr, 1)).toThrow(/wrong cache: 0x[0-9a-f]+ is of kmalloc-64, freed to other/);
    expect(() => slub.free(0, other, (100 * PAGE_SIZE) as PhysAddr, 1)).toThrow(/wild free/);
    expect(() => kmalloc.kfree(0, (900 * PAGE_SIZE + 8) as PhysAddr, 1)).toThrow(/wild or double free/);
    kmalloc.kfree(0, addr, 1);
    expect(() => kmalloc.kfree(0, addr, 1)).toThrow(/double free of an object of kmalloc-64/);
    slub.check();
  });
});

describe("debug mode", () => {
  it("catches all of 10,000 injected overflows, writes after free, double frees, wrong caches; nothing when none", () => {
    const draw = prng(0xdeb6);
    let caught = 0;
    for (let round = 0; round < 50; round++) {
      const { slub, kmalloc, bytes } = slubMachine(2 * MiB, 1, SlabFlag.Debug);
      const foreign = slub.createCache("foreign", 40, SlabFlag.Debug);
      for (let injection = 0; injection < 200; injection++) {
        const size = KMALLOC_SIZES[nextBelow(draw, 9)]!;
        const crowd = Array.from({ length: 3 }, () => kmalloc.kmalloc(0, size, K, 5) as PhysAddr);
        const addr = crowd[nextBelow(draw, 3)]!;
        const spoil = (from: number, length: number): (() => void) => {
          const at = from + nextBelow(draw, length);
          const old = bytes[at]!;
          bytes[at] = old ^ (1 + nextBelow(draw, 255));
          return () => {
            bytes[at] = old;
          };
        };
        let repair: (() => void) | undefined;
        let act: () => void;
        const kind = injection % 6;
        if (kind === 0) {
          repair = spoil(addr + size, 8);
          act = () => kmalloc.kfree(0, addr, 6);
        } else if (kind === 1) {
          repair = spoil(addr - 8, 8);
          act = () => kmalloc.kfree(0, addr, 6);
        } else if (kind === 2) {
          kmalloc.kfree(0, addr, 6);
          repair = spoil(addr, size);
          act = () => void kmalloc.kmalloc(0, size, K, 7);
        } else if (kind === 3) {
          kmalloc.kfree(0, addr, 6);
          act = () => kmalloc.kfree(0, addr, 6);
        } else if (kind === 4) act = () => slub.free(0, foreign, addr, 6);
        else act = () => kmalloc.kfree(0, (addr + 1 + nextBelow(draw, 7)) as PhysAddr, 6);
        let message = "";
        try {
          act();
        } catch (error) {
          message = String(error);
        }
        const expected = [
          /right red zone overwritten.*allocated by 5/,
          /left red zone overwritten.*allocated by 5/,
          /poison overwritten.*freed by 6/,
          /double free.*freed by 6/,
          /wrong cache/,
          /no object/,
        ][kind]!;
        if (!expected.test(message)) expect.fail(`injection ${injection} of kind ${kind} was missed: "${message}"`);
        caught++;
        // Nothing else was harmed: repaired, all goes on.
        repair?.();
        if (kind === 2 || kind === 3) crowd.splice(crowd.indexOf(addr), 1);
        for (const held of crowd) kmalloc.kfree(0, held, 6);
      }
      slub.check();
      for (let cache = 1; cache <= 14; cache++) slub.validate(cache);
    }
    expect(caught).toBe(10_000);
  });

  it("validate() finds a write after free that nobody has met yet", () => {
    const { slub, kmalloc, bytes } = slubMachine(MiB, 1, SlabFlag.Debug);
    const addr = kmalloc.kmalloc(0, 32, K, 11) as PhysAddr;
    kmalloc.kfree(0, addr, 12);
    const cache = slub.cacheOf(addr);
    expect(slub.validate(cache)).toBeGreaterThan(0);
    bytes[addr + 5] = 1;
    expect(() => slub.validate(cache)).toThrow(/poison overwritten at offset 5: 0x1 .* allocated by 11 .* freed by 12/);
  });
});

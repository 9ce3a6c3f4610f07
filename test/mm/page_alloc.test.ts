import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isErr, ENOMEM } from "../../kernel/abi/errno.ts";
import type { Pfn } from "../../kernel/abi/units.ts";
import { checkPageAlloc } from "../../mm/check.ts";
import { GFP } from "../../mm/gfp.ts";
import { PageAlloc } from "../../mm/page_alloc.ts";
import { PCP } from "../../mm/pcp.ts";
import { vmEvents } from "../../mm/vmstat.ts";
import { ZONE } from "../../mm/zone.ts";
import { MiB, smallMachine } from "./machine.ts";

const GFPS = [
  GFP.GFP_KERNEL,
  GFP.GFP_HIGHUSER_MOVABLE,
  GFP.GFP_NOFS | GFP.__GFP_RECLAIMABLE,
  GFP.GFP_ATOMIC,
  GFP.GFP_DMA,
];
const CPUS = 3;

type Op =
  | { kind: "alloc"; cpu: number; order: number; gfp: number }
  | { kind: "free"; cpu: number; which: number }
  | { kind: "drain"; cpu: number }
  | { kind: "save" };
const op: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 50,
    arbitrary: fc.record({
      kind: fc.constant("alloc" as const),
      cpu: fc.nat(CPUS - 1),
      order: fc.oneof({ weight: 6, arbitrary: fc.nat(1) }, { weight: 2, arbitrary: fc.nat(10) }),
      gfp: fc.nat(GFPS.length - 1),
    }),
  },
  { weight: 45, arbitrary: fc.record({ kind: fc.constant("free" as const), cpu: fc.nat(CPUS - 1), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("drain" as const), cpu: fc.nat(CPUS - 1) }) },
  { weight: 1, arbitrary: fc.constant({ kind: "save" as const }) },
);

/** The model: who holds each frame. Every block must be whole, aligned, in its zone and nobody else's. */
class Model {
  readonly owner = new Int32Array(16 * MiB);
  readonly live: { pfn: Pfn; order: number }[] = [];
  add(pfn: Pfn, order: number, owner: number): void {
    expect(pfn % 2 ** order).toBe(0);
    for (let frame = pfn; frame < pfn + 2 ** order; frame++) {
      if (this.owner[frame] !== 0) expect.fail(`frame ${frame} handed out twice`);
      this.owner[frame] = owner;
    }
    this.live.push({ pfn, order });
  }
  frames(): number {
    return this.live.reduce((sum, block) => sum + 2 ** block.order, 0);
  }
}

const twoZones = (): PageAlloc =>
  smallMachine(0, {
    zones: [
      { name: "DMA", start: 0, end: 1024 },
      { name: "DMA32", start: 1024, end: 4096 },
    ],
    cpus: CPUS,
    reserved: [[0, 16]],
  });

function run(ops: readonly Op[]): number {
  let mm = twoZones();
  const model = new Model();
  let serial = 0;
  for (const step of ops) {
    serial++;
    if (step.kind === "alloc") {
      const pfn = mm.alloc(step.cpu, GFPS[step.gfp]!, step.order, serial);
      if (isErr(pfn)) continue;
      if (step.gfp === 4) expect(pfn).toBeLessThan(1024);
      model.add(pfn, step.order, serial);
    } else if (step.kind === "free" && model.live.length > 0) {
      const [block] = model.live.splice(step.which % model.live.length, 1);
      model.owner.fill(0, block!.pfn, block!.pfn + 2 ** block!.order);
      mm.free(step.cpu, block!.pfn, block!.order);
    } else if (step.kind === "drain") mm.drainAll(step.cpu);
    else if (step.kind === "save") {
      mm = new PageAlloc(mm.config, mm.buffer.slice(0));
    }
    if (serial % 8 === 0) expect(checkPageAlloc(mm).allocated).toBe(model.frames());
  }
  for (const { pfn, order } of model.live) mm.free(0, pfn, order);
  mm.drainAll(0);
  const end = checkPageAlloc(mm);
  expect([end.pcp, end.allocated]).toEqual([0, 0]);
  const counted = vmEvents(mm.counters);
  expect(counted.pgalloc_dma + counted.pgalloc_dma32).toBe(counted.pgfree);
  return ops.length;
}

describe("PageAlloc", () => {
  it("never hands a frame out twice nor loses one, over 100,000 operations on three CPUs and two zones", () => {
    let operations = 0;
    fc.assert(
      // One failing run says enough: shrinking a thousand operations takes minutes.
      fc.property(fc.array(op, { minLength: 800, maxLength: 1000, size: "max" }), (ops) => {
        operations += run(ops);
      }),
      { numRuns: 115, seed: 0x0b0d, endOnFailure: true },
    );
    expect(operations).toBeGreaterThanOrEqual(100_000);
  });

  it("alloc() says ENOMEM when nothing is left and serves again after a free", () => {
    const mm = smallMachine(MiB * 4);
    const held: Pfn[] = [];
    for (;;) {
      const pfn = mm.alloc(0, GFP.GFP_KERNEL, 0, 1);
      if (isErr(pfn)) {
        expect(pfn).toBe(ENOMEM);
        break;
      }
      held.push(pfn);
    }
    // Plain requests stop at the min watermark, atomic ones dig into the reserve.
    const { words } = mm.zones[0]!;
    expect(words[ZONE.free]).toBeLessThanOrEqual(words[ZONE.min]!);
    const urgent: Pfn[] = [];
    for (let pfn = mm.alloc(0, GFP.GFP_ATOMIC, 0, 1); !isErr(pfn); pfn = mm.alloc(0, GFP.GFP_ATOMIC, 0, 1))
      urgent.push(pfn);
    const half = words[ZONE.min]! - (words[ZONE.min]! >> 1);
    expect(words[ZONE.free]).toBe(half - (half >> 2));
    for (const pfn of [...held, ...urgent]) mm.free(0, pfn, 0);
    expect(isErr(mm.alloc(0, GFP.GFP_KERNEL, 0, 1))).toBe(false);
    checkPageAlloc(mm);
  });

  it("a NOFAIL request gets the last frames", () => {
    const mm = smallMachine(MiB * 4);
    while (!isErr(mm.alloc(0, GFP.GFP_KERNEL, 0, 1)));
    const { words } = mm.zones[0]!;
    for (let left = words[ZONE.free]!; left > 0; left--)
      expect(isErr(mm.alloc(0, GFP.GFP_KERNEL | GFP.__GFP_NOFAIL, 0, 1))).toBe(false);
  });

  it("a drain request is served by its CPU", () => {
    const mm = smallMachine(MiB * 256, { cpus: 2 });
    mm.kick = () => undefined;
    const pfn = mm.alloc(1, GFP.GFP_KERNEL, 0, 1);
    expect(isErr(pfn)).toBe(false);
    const held = (cpu: number): number => mm.pcps[0]!.words[mm.pcps[0]!.at(cpu) + PCP.count]!;
    expect(held(1)).toBeGreaterThan(0);
    mm.drainAll(0);
    expect(held(1)).toBeGreaterThan(0);
    mm.tick(1);
    expect(held(1)).toBe(0);
    // Once: the next tick leaves the list alone.
    mm.alloc(1, GFP.GFP_KERNEL, 0, 1);
    mm.tick(1);
    expect(held(1)).toBeGreaterThan(0);
    checkPageAlloc(mm);
  });

  it("atomic higher-order requests reserve HighAtomic blocks, given back before memory is refused", () => {
    const mm = smallMachine(MiB * 64);
    while (!isErr(mm.alloc(0, GFP.GFP_HIGHUSER_MOVABLE, 4, 1)));
    const { words } = mm.zones[0]!;
    const before = words[ZONE.free]!;
    expect(isErr(mm.alloc(0, GFP.GFP_ATOMIC, 4, 2))).toBe(false);
    expect(words[ZONE.highatomic]).toBe(512);
    expect(words[ZONE.free]).toBe(before - 16);
    checkPageAlloc(mm);
    // A request that may wait and finds no progress makes the kernel dissolve the reserve.
    mm.hooks = { ...mm.hooks, reclaimablePages: () => 0 };
    while (!isErr(mm.alloc(0, GFP.GFP_KERNEL, 0, 3)));
    expect(words[ZONE.highatomic]).toBe(0);
    checkPageAlloc(mm);
  });

  it("without grouping all blocks are Unmovable, the mobility asked for is still known", () => {
    const mm = smallMachine(MiB * 16, { grouping: false });
    const pfn = mm.alloc(0, GFP.GFP_HIGHUSER_MOVABLE, 0, 1) as number;
    expect(mm.map.blockType[0]).toBe(0);
    expect(mm.map.state[pfn]).toBe(0x50);
    checkPageAlloc(mm);
  });
});

describe("a wrong free panics, names frame, order and last owner, and changes nothing", () => {
  const cases: [name: string, act: (mm: PageAlloc, pfn: Pfn) => void, message: RegExp][] = [
    [
      "double, while on the per-CPU list",
      (mm, pfn) => {
        mm.free(0, pfn, 2);
        mm.free(0, pfn, 2);
      },
      /double free of frame 0x[0-9a-f]+ order 2: already free, last owner 77/,
    ],
    [
      "double, while on the zone's list",
      (mm, pfn) => {
        mm.free(0, pfn, 2);
        mm.drainAll(0);
        mm.free(0, pfn, 2);
      },
      /double free of frame 0x[0-9a-f]+ order 2: already free, last owner/,
    ],
    [
      "of another order",
      (mm, pfn) => mm.free(0, pfn, 1),
      /order 1: the block was allocated with order 2, last owner 77/,
    ],
    [
      "misaligned",
      (mm, pfn) => mm.free(0, (pfn + 1) as Pfn, 0),
      /misaligned free of frame 0x[0-9a-f]+ order 0: inside the block 0x[0-9a-f]+ order 2, last owner 77/,
    ],
    ["wild: beyond memory", (mm) => mm.free(0, 0x7fff_ffff as Pfn, 0), /wild free of frame 0x7fffffff order 0/],
    ["wild: negative", (mm) => mm.free(0, -5 as Pfn, 0), /wild free/],
    ["wild: a hole", (mm) => mm.free(0, 3 as Pfn, 0), /wild free of frame 0x3 order 0/],
    ["wild: no frame number", (mm) => mm.free(0, 1.5 as Pfn, 0), /wild free/],
  ];
  it.each(cases)("%s", (_name, act, message) => {
    const mm = smallMachine(MiB * 16, { reserved: [[0, 16]] });
    const pfn = mm.alloc(0, GFP.GFP_KERNEL, 2, 77) as Pfn;
    const other = mm.alloc(0, GFP.GFP_KERNEL, 2, 78) as Pfn;
    let failed = "";
    const before = (): string => Buffer.from(mm.buffer).toString("latin1");
    const guarded = new Proxy(mm, {
      get(target, key) {
        const value: unknown = Reflect.get(target, key, target);
        if (key !== "free") return typeof value === "function" ? (value.bind(target) as unknown) : value;
        return (cpu: number, at: Pfn, order: number): void => {
          const seen = before();
          try {
            target.free(cpu, at, order);
          } catch (error) {
            failed = String(error);
            expect(before() === seen).toBe(true);
          }
        };
      },
    });
    act(guarded, pfn);
    expect(failed).toMatch(message);
    checkPageAlloc(mm);
    mm.free(0, other, 2);
    checkPageAlloc(mm);
  });
});

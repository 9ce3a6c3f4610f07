import { fc, test } from "@fast-check/vitest";
import { expect, it } from "vitest";
import { FaultPlan, SATA_SSD, SimDisk } from "../../../drivers/index.ts";
import type { FaultRule } from "../../../drivers/index.ts";
import { BlockOp } from "../../../kernel/abi/block.ts";
import { EINVAL, EIO } from "../../../kernel/abi/errno.ts";
import type { Nanos } from "../../../kernel/abi/units.ts";
import { BlockIo, deviceFits, IoKind } from "../../../kernel/fs/block_io.ts";
import { growingArena, load, save } from "../../../kernel/lib/growing_arena.ts";

const SEED = 20_261_128;
const SIZE = 1024;
const DISK = 16;
const ARENA = 8;

class Rig {
  nowNs = 0;
  readonly disk: SimDisk;
  readonly faults: FaultPlan | undefined;
  arena = growingArena();
  bytes!: Uint8Array;
  io!: BlockIo;
  readonly ended: (readonly [kind: number, arg: number, result: number])[] = [];
  readonly foreign = new Map<number, Uint8Array>();

  constructor(queueDepth: number, isSlow: boolean, rows: number, rules?: readonly FaultRule[]) {
    this.faults = rules === undefined ? undefined : new FaultPlan(rules, 1);
    this.disk = new SimDisk({
      sectors: (DISK * SIZE) / 512,
      queueDepth,
      now: () => this.nowNs as Nanos,
      ...(isSlow ? { service: SATA_SSD } : {}),
      ...(this.faults === undefined ? {} : { faults: this.faults }),
    });
    this.make(rows);
    this.io.reset();
  }

  make(rows: number): void {
    this.bytes = this.arena.uint8(ARENA * SIZE);
    this.io = new BlockIo({ device: this.disk, memory: this.arena, arena: this.bytes, blockSize: SIZE, rows });
    for (const kind of [IoKind.Home, IoKind.Data])
      this.io.own(kind, {
        ended: (arg, result) => this.ended.push([kind, arg, result]),
        data: (arg) => this.foreign.get(arg)!,
      });
  }

  /** The same, in a new machine. */
  move(rows: number): void {
    const saved = save(this.arena);
    this.arena = growingArena();
    this.make(rows);
    load(this.arena, saved);
    this.io.restart();
  }

  drain(): void {
    for (let n = 0; n < 1000; n++) {
      this.nowNs += 50_000;
      this.io.poll();
      this.io.check();
    }
  }
}

const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("write" as const),
      foreign: fc.boolean(),
      block: fc.nat(DISK - 1),
      slot: fc.nat(ARENA - 1),
      byte: fc.integer({ min: 1, max: 255 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("poll" as const), ns: fc.nat(60_000) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("flush" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("move" as const) }) },
);

test.prop(
  [fc.integer({ min: 1, max: 6 }), fc.boolean(), fc.integer({ min: 1, max: 6 }), fc.array(step, { maxLength: 60 })],
  {
    seed: SEED,
    numRuns: 200,
  },
)(
  "BlockIo ends every request that it takes once, whatever the device takes at a time (model: a map)",
  (depth, isSlow, rows, steps) => {
    const rig = new Rig(depth, isSlow, rows);
    const content = new Uint8Array(DISK);
    /** Blocks and slots of requests that have not ended: neither is used twice at a time, as its users do. */
    const open = new Map<number, { readonly block: number; readonly slot: number }>();
    let serial = 0;
    let told = 0;
    const look = (): void => {
      for (; told < rig.ended.length; told++) {
        const [, arg, result] = rig.ended[told]!;
        expect(result).toBe(0);
        expect(open.delete(arg)).toBe(true);
      }
    };
    for (const s of steps) {
      if (s.do === "move") rig.move(rows);
      else if (s.do === "poll") {
        rig.nowNs += s.ns;
        rig.io.poll();
      } else if (s.do === "flush") {
        if (rig.io.start(BlockOp.Flush, 0, 0, 0, -1, IoKind.Home, serial) >= 0)
          open.set(serial++, { block: -1, slot: -1 });
      } else {
        if ([...open.values()].some(({ block, slot }) => block === s.block || slot === s.slot)) continue;
        let row: number;
        if (!s.foreign) {
          rig.bytes.fill(s.byte, s.slot * SIZE, (s.slot + 1) * SIZE);
          row = rig.io.start(BlockOp.Write, 0, s.block, 1, s.slot * SIZE, IoKind.Home, serial);
        } else {
          const data = new Uint8Array(SIZE).fill(s.byte);
          rig.foreign.set(serial, data);
          row = rig.io.startData(BlockOp.Write, 0, s.block, 1, data, IoKind.Data, serial, 0);
        }
        expect(row >= 0).toBe(open.size < rows);
        if (row < 0) continue;
        open.set(serial++, { block: s.block, slot: s.slot });
        content[s.block] = s.byte;
      }
      look();
      rig.io.check();
      expect(rig.io.free).toBe(rows - open.size);
    }
    rig.drain();
    look();
    expect(open.size).toBe(0);
    for (let block = 0; block < DISK; block++) expect(rig.disk.image[block * SIZE + 7]).toBe(content[block]);
  },
);

it("BlockIo tells of each request's own result, and goes on after an error", () => {
  const rig = new Rig(1, true, 4, [{ kind: "eio-write", from: 2, to: 4 }]);
  for (let block = 0; block < 3; block++) rig.io.start(BlockOp.Write, 0, block, 1, 0, IoKind.Home, block);
  rig.drain();
  expect(rig.ended.map(([, arg, result]) => [arg, result]).sort(([a], [b]) => a! - b!)).toEqual([
    [0, 0],
    [1, EIO],
    [2, 0],
  ]);
});

it("BlockIo.take() ends a read at once on a device that does; poll() does not tell of it again", () => {
  const rig = new Rig(4, false, 1);
  rig.disk.image.fill(9, SIZE, 2 * SIZE);
  const row = rig.io.start(BlockOp.Read, 0, 1, 1, 0, IoKind.Home, 5);
  expect(rig.io.take(row)).toBe(0);
  expect(rig.bytes[0]).toBe(9);
  // The row is in use again before the device has told of its first use.
  const next = rig.io.start(BlockOp.Write, 0, 2, 1, 0, IoKind.Home, 6);
  expect(next).toBe(row);
  rig.io.poll();
  expect(rig.ended).toEqual([[IoKind.Home, 6, 0]]);
});

it("deviceFits() refuses a device whose sectors are larger than a block", () => {
  const limits = new SimDisk({ sectors: 64, logicalBlockSize: 4096 }).limits;
  expect(deviceFits(limits, 4096)).toBe(0);
  expect(deviceFits(limits, 1024)).toBe(EINVAL);
});

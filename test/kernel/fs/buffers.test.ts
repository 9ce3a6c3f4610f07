import { fc, test } from "@fast-check/vitest";
import { expect, it } from "vitest";
import { FaultPlan, SATA_SSD, SimDisk } from "../../../drivers/index.ts";
import { EIO, EIOCBQUEUED, ENOMEM } from "../../../kernel/abi/errno.ts";
import type { Nanos } from "../../../kernel/abi/units.ts";
import { CallEnd, WAIT } from "../../../kernel/fs/blocks.ts";
import { Buffers, WAIT_ANY } from "../../../kernel/fs/buffers.ts";
import { SlotState } from "../../../kernel/fs/buffer_slots.ts";
import { openJbd2 } from "../../../kernel/fs/jbd2/jbd2.ts";
import type { Jbd2 } from "../../../kernel/fs/jbd2/jbd2.ts";
import { growingArena, load, save } from "../../../kernel/lib/growing_arena.ts";

const SEED = 20_261_128;
const SIZE = 1024;
const DISK = 64;

const diskOf = (isSlow: boolean, now: () => number): SimDisk => {
  const image = new Uint8Array(DISK * SIZE);
  for (let block = 0; block < DISK; block++) image.fill(block, block * SIZE, (block + 1) * SIZE);
  return new SimDisk({
    sectors: (DISK * SIZE) / 512,
    image,
    now: () => now() as Nanos,
    ...(isSlow ? { service: SATA_SSD } : {}),
  });
};

const buffersOn = (device: SimDisk, slots: number): Buffers => {
  const buffers = new Buffers({ device, memory: growingArena(), blockSize: SIZE, count: DISK, slots });
  buffers.reset();
  return buffers;
};

/** The errno with which a call ends, or what it returns. */
const ending = (call: () => number): number => {
  try {
    return call();
  } catch (error) {
    if (error instanceof CallEnd) return error.errno;
    throw error;
  }
};

const change = fc.record({
  how: fc.constantFrom(
    "writable" as const,
    "writable" as const,
    "fresh" as const,
    "fresh" as const,
    "forget" as const,
    "at" as const,
  ),
  // Some that meet often, and more than the cache holds.
  block: fc.oneof(fc.nat(3), fc.nat(3), fc.nat(59)),
  byte: fc.nat(255),
});
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("call" as const),
      changes: fc.array(change, { minLength: 1, maxLength: 5 }),
      keep: fc.integer({ min: 0, max: 3 }).map((n) => n > 0),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("step" as const), ns: fc.nat(200_000) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("commit" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("move" as const) }) },
);

const open = (device: SimDisk, memory: ReturnType<typeof growingArena>, slots: number, now: () => number): Jbd2 => {
  const jbd2 = openJbd2({ device, memory, blockSize: SIZE, count: DISK, slots, ioRows: 8, now: () => now() as Nanos });
  if ("reason" in jbd2) throw new Error(jbd2.reason);
  return jbd2;
};

test.prop([fc.boolean(), fc.integer({ min: 24, max: 50 }), fc.array(step, { maxLength: 80, size: "max" })], {
  seed: SEED,
  numRuns: 200,
})(
  "Buffers are contents that a call changes as a whole or not at all, saved and restored at any time (model: an array)",
  (isSlow, slots, steps) => {
    let nowNs = 0;
    const now = (): number => nowNs;
    const device = diskOf(isSlow, now);
    let memory = growingArena();
    let jbd2 = open(device, memory, slots, now);
    jbd2.reset();
    let model = Array.from({ length: DISK }, (_, block) => block);
    /** What a forgotten block holds is nobody's business until it is written again. */
    const unknown = new Set<number>();
    for (const s of steps) {
      if (s.do === "move") {
        const saved = save(memory);
        memory = growingArena();
        jbd2 = open(device, memory, slots, now);
        load(memory, saved);
        jbd2.restart();
      } else if (s.do === "commit") jbd2.requestCommit(jbd2.tid);
      else if (s.do === "step") {
        nowNs += s.ns;
        jbd2.step();
      } else {
        if (jbd2.begin(s.changes.length) === EIOCBQUEUED) continue;
        const next = [...model];
        const lost = new Set(unknown);
        const { buffers } = jbd2;
        const end = ending(() => {
          for (const { how, block, byte } of s.changes) {
            if (how === "forget") {
              buffers.forget(block);
              lost.add(block);
              continue;
            }
            const at = buffers[how](block);
            const has = buffers.bytes[at + 100];
            if (how === "fresh") expect(has).toBe(0);
            else if (!lost.has(block)) expect(has).toBe(next[block]);
            if (how === "at") continue;
            buffers.bytes.fill(byte, at, at + SIZE);
            next[block] = byte;
            lost.delete(block);
          }
          return 0;
        });
        if (end !== 0) expect(end).toBe(EIOCBQUEUED);
        if (end === 0 && s.keep) {
          jbd2.merge();
          model = next;
          unknown.clear();
          for (const block of lost) unknown.add(block);
        } else jbd2.abort();
      }
      jbd2.check();
    }
    for (let n = 0; jbd2.empty() !== 0; n++) {
      expect(n).toBeLessThan(2000);
      nowNs += 100_000;
      jbd2.step();
    }
    for (let block = 0; block < DISK; block++)
      if (!unknown.has(block)) expect(device.image[block * SIZE + 100]).toBe(model[block]);
  },
);

it("Buffers.at() starts a read and throws WAIT until it has ended; on a memory disk it does not wait", () => {
  let nowNs = 0;
  const slow = buffersOn(
    diskOf(true, () => nowNs),
    8,
  );
  slow.begin(false);
  expect(() => slow.at(3)).toThrow(WAIT);
  slow.abort();
  expect(slow.io.isBusy(slow.waitingOn)).toBe(true);
  nowNs = 1e9;
  slow.io.poll();
  slow.begin(false);
  expect(slow.bytes[slow.at(3)]).toBe(3);
  expect([slow.at(-1), slow.at(DISK), slow.at(2 ** 40)]).toEqual([-1, -1, -1]);
  slow.abort();

  const quick = buffersOn(
    diskOf(false, () => 0),
    8,
  );
  quick.begin(false);
  expect(quick.bytes[quick.at(5)]).toBe(5);
  quick.abort();
});

it("a read that failed ends one call with EIO; the next one reads again", () => {
  const image = new Uint8Array(DISK * SIZE).fill(7);
  const faults = new FaultPlan([{ kind: "eio-read", times: 1 }], 1);
  const buffers = buffersOn(new SimDisk({ sectors: (DISK * SIZE) / 512, image, faults }), 8);
  const read = (): number => {
    buffers.begin(false);
    const end = ending(() => buffers.bytes[buffers.at(3)]!);
    buffers.abort();
    return end;
  };
  expect(read()).toBe(EIO);
  expect(read()).toBe(7);
});

it("blocks that the open call uses are not evicted; a call that is larger than the cache ends with ENOMEM", () => {
  const buffers = buffersOn(
    diskOf(false, () => 0),
    8,
  );
  buffers.begin(false);
  const ats = Array.from({ length: 8 }, (_, block) => buffers.at(block));
  expect(ending(() => buffers.at(8))).toBe(ENOMEM);
  expect(ats.map((at) => buffers.bytes[at])).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  buffers.abort();
  // The least recently used goes.
  buffers.begin(false);
  buffers.at(0);
  buffers.at(8);
  buffers.abort();
  expect(buffers.slots.index.get(0)).toBeGreaterThanOrEqual(0);
  expect(buffers.slots.index.get(1)).toBe(-1);
});

it("fresh() of the block that would be evicted next keeps what the end of the call may bring back", () => {
  const buffers = buffersOn(
    diskOf(false, () => 0),
    8,
  );
  buffers.begin(false);
  for (let block = 0; block < 8; block++) buffers.at(block);
  buffers.abort();
  buffers.begin(true);
  for (const block of [0, 2]) buffers.bytes.fill(0xee, buffers.fresh(block), buffers.at(block) + SIZE);
  buffers.check();
  buffers.abort();
  buffers.begin(false);
  expect([0, 2].map((block) => buffers.bytes[buffers.at(block)])).toEqual([0, 2]);
  buffers.abort();
  // Two others went.
  expect([1, 3].map((block) => buffers.slots.index.get(block))).toEqual([-1, -1]);
});

it("fresh() does not take the slot of the block itself, though it is the last that is left", () => {
  const buffers = buffersOn(
    diskOf(false, () => 0),
    8,
  );
  buffers.begin(false);
  buffers.at(0);
  buffers.abort();
  buffers.begin(true);
  for (let block = 20; block < 27; block++) buffers.fresh(block);
  expect(ending(() => buffers.fresh(0))).toBe(ENOMEM);
  buffers.check();
  buffers.abort();
  expect(buffers.slots.index.get(0)).toBeGreaterThanOrEqual(0);
});

it("a full cache makes a call wait, and the journal write; the versions of one block are as many as have a use", () => {
  const device = diskOf(false, () => 0);
  const jbd2 = open(device, growingArena(), 16, () => 0);
  jbd2.reset();
  const { buffers } = jbd2;
  const count = (): number[] =>
    [SlotState.Running, SlotState.Committing, SlotState.Writing].map((state) => buffers.slots.count[state]!);
  const put = (block: number): void => {
    expect(jbd2.begin(1, 0)).toBe(0);
    buffers.bytes[buffers.writable(block)]! += 1;
    jbd2.merge();
  };
  put(1);
  put(1);
  put(2);
  expect(count()).toEqual([2, 0, 0]);
  buffers.turn();
  put(1);
  expect(count()).toEqual([1, 2, 0]);
  expect(buffers.slots.older[buffers.slots.index.get(1)]).not.toBe(-1);
  jbd2.beginRead();
  for (let block = 10; block < 23; block++) buffers.at(block);
  expect(ending(() => buffers.at(30))).toBe(EIOCBQUEUED);
  jbd2.endRead();
  expect([buffers.pressed, jbd2.waitingOn()]).toEqual([true, WAIT_ANY]);
});

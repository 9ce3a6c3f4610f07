/** Another elevator while requests wait and are at the device: none is lost, doubled, or told to who does not know it. */
import { expect, it } from "vitest";
import { BlockQueue, ELEVATORS, SATA_SSD, SimDisk, blockRequest } from "../../../drivers/index.ts";
import { BlockOp, REQ_FUA, SECTOR_SIZE } from "../../../kernel/abi/block.ts";
import type { BlockRequest } from "../../../kernel/abi/block.ts";
import type { Elevator } from "../../../kernel/abi/elevator.ts";
import { assert } from "../../../kernel/lib/assert.ts";
import { nanos } from "../../../kernel/abi/units.ts";
import { nextBelow, prng } from "../../../kernel/lib/prng.ts";

const SECTORS = 4096;

/** Holds an elevator to what it is promised: the end of its own rows only, merges of rows that it has. */
const strict = (elevator: Elevator): Elevator => ({
  name: elevator.name,
  create: (setup) => {
    const inner = elevator.create(setup);
    const [inside, out] = [new Set<number>(), new Set<number>()];
    return {
      get waiting() {
        return inner.waiting;
      },
      get wakeAtNs() {
        return inner.wakeAtNs;
      },
      insert(row) {
        assert(!inside.has(row) && !out.has(row), "a row comes twice");
        inside.add(row);
        inner.insert(row);
      },
      dispatch(nowNs) {
        const row = inner.dispatch(nowNs);
        if (row >= 0) {
          assert(inside.delete(row), "a row that does not wait");
          out.add(row);
        }
        return row;
      },
      grown(row) {
        assert(inside.has(row), "a row grows that is elsewhere");
        inner.grown(row);
      },
      completed(row, nowNs) {
        assert(out.delete(row), "the end of another elevator's row");
        inner.completed(row, nowNs);
      },
    };
  },
});

const STRICT = ELEVATORS.map(strict);

it("random switches under load: each request ends once, and the disk is as if in order", () => {
  let [waited, issued] = [0, 0];
  for (let seed = 1; seed <= 30; seed++) {
    const random = prng(seed);
    let now = 0;
    const image = new Uint8Array(SECTORS * SECTOR_SIZE);
    const disk = new SimDisk({ sectors: SECTORS, image, now: () => nanos(now), service: SATA_SSD, queueDepth: 8 });
    const queue = new BlockQueue(disk, { elevator: STRICT[seed % 4]!, now: () => nanos(now) });
    const expected = new Uint8Array(SECTORS);
    /** Sectors that a request under way touches: two that overlap have no order. */
    const busy = new Set<number>();
    const open = new Set<BlockRequest>();
    let [made, wrong] = [0, 0];
    const take = (): void => {
      for (const ended of queue.poll()) {
        expect(open.delete(ended), `seed ${seed}: ended twice`).toBe(true);
        expect(ended.result).toBe(0);
        for (let s = ended.sector; s < ended.sector + ended.sectors; s++) busy.delete(s);
        if (ended.op !== BlockOp.Read) continue;
        for (let s = 0; s < ended.sectors; s++) {
          const bytes = [ended.data![s * SECTOR_SIZE], ended.data![(s + 1) * SECTOR_SIZE - 1]];
          if (bytes.some((byte) => byte !== expected[ended.sector + s])) wrong++;
        }
      }
    };
    for (let step = 0; step < 600; step++) {
      const what = nextBelow(random, 10);
      if (what < 6) {
        const sectors = 1 + nextBelow(random, 16);
        const sector = nextBelow(random, SECTORS - sectors);
        const range = Array.from({ length: sectors }, (_, n) => sector + n);
        if (range.some((s) => busy.has(s))) continue;
        const [task, flags] = [nextBelow(random, 4), nextBelow(random, 8) === 0 ? REQ_FUA : 0];
        const isRead = nextBelow(random, 2) === 0;
        const byte = ++made & 255;
        const data = new Uint8Array(sectors * SECTOR_SIZE).fill(isRead ? 0 : byte);
        const request = blockRequest(
          isRead ? BlockOp.Read : BlockOp.Write,
          sector,
          data,
          isRead ? { task } : { task, flags },
        );
        if (queue.submit([request]) === 0) continue;
        open.add(request);
        for (const s of range) {
          busy.add(s);
          if (!isRead) expected[s] = byte;
        }
      } else if (what === 6) {
        waited += queue.waiting;
        issued += queue.inFlight;
        queue.switchTo(STRICT[nextBelow(random, 4)]!);
      } else if (what === 7) {
        queue.requestsMax = 4 + nextBelow(random, 40);
        queue.mergeLook = nextBelow(random, 9);
      } else {
        now = Math.max(now, Math.min(disk.nextAtNs, queue.wakeAtNs, now + 1e6));
        take();
      }
    }
    for (let spin = 0; open.size > 0 && spin < 5000; spin++) {
      now = Math.max(now, Math.min(disk.nextAtNs, queue.wakeAtNs));
      take();
    }
    expect([open.size, queue.waiting, queue.inFlight], `seed ${seed}`).toEqual([0, 0, 0]);
    expect([wrong, image.filter((_, at) => at % SECTOR_SIZE === 0)]).toEqual([0, expected]);
  }
  // It was under load.
  expect(waited).toBeGreaterThan(20_000);
  expect(issued).toBeGreaterThan(10_000);
});

it("what waits goes over in order of arrival, flushes stay in front, and what is at the device ends as before", () => {
  const seen: string[] = [];
  class Noting extends SimDisk {
    override submit(batch: readonly BlockRequest[]): number {
      const taken = super.submit(batch);
      for (const { op, sector } of batch.slice(0, taken)) seen.push(`${op}@${sector}`);
      return taken;
    }
  }
  let now = 0;
  const disk = new Noting({ sectors: SECTORS, now: () => nanos(now), service: SATA_SSD });
  const queue = new BlockQueue(disk, { elevator: STRICT[1]!, now: () => nanos(now), depth: 1 });
  const { Write, Flush } = BlockOp;
  const sectors = [900, 300, 700, 100, 500];
  // The second time rows are no longer in the order in which they are taken.
  for (const elevator of [STRICT[0]!, STRICT[1]!, STRICT[0]!]) {
    seen.length = 0;
    for (const sector of sectors) queue.submit([blockRequest(Write, sector, new Uint8Array(SECTOR_SIZE))]);
    queue.submit([blockRequest(Flush, 0, undefined)]);
    queue.switchTo(elevator);
    let ended = 0;
    for (let spin = 0; spin < 100 && ended < 6; spin++) {
      now = disk.nextAtNs;
      ended += queue.poll().length;
    }
    expect(ended).toBe(6);
    const order = elevator.name === "none" ? sectors : [900, 100, 300, 500, 700];
    expect(seen).toEqual([`${Write}@900`, `${Flush}@0`, ...order.slice(1).map((sector) => `${Write}@${sector}`)]);
  }
});

const read = (task: number, sector: number): BlockRequest =>
  blockRequest(BlockOp.Read, sector, new Uint8Array(SECTOR_SIZE), { task });

it("an elevator that waits for one task's next request is left, and the others go on at once", () => {
  let now = 0;
  const disk = new SimDisk({ sectors: SECTORS, now: () => nanos(now), service: SATA_SSD });
  const fair = ELEVATORS.find(({ name }) => name === "fair")!;
  const queue = new BlockQueue(disk, { elevator: fair, now: () => nanos(now), depth: 8 });
  queue.submit([read(1, 0)]);
  now = disk.nextAtNs;
  queue.poll();
  queue.submit([read(2, 800)]);
  expect([queue.waiting, queue.inFlight, queue.wakeAtNs < Infinity]).toEqual([1, 0, true]);
  queue.switchTo(ELEVATORS[0]!);
  expect([queue.waiting, queue.inFlight, queue.wakeAtNs]).toEqual([0, 1, Infinity]);
});

import { describe, expect, it } from "vitest";
import { FAULT_KINDS, FaultPlan, HDD, NVME_SSD, SATA_SSD, SimDisk, blockRequest } from "../../../drivers/index.ts";
import type { FaultRule, ServiceModel, SimDiskOptions } from "../../../drivers/index.ts";
import { BlockOp, REQ_FUA, SECTOR_SIZE } from "../../../kernel/abi/block.ts";
import type { BlockRequest } from "../../../kernel/abi/block.ts";
import { EIO } from "../../../kernel/abi/errno.ts";
import { nanos } from "../../../kernel/abi/units.ts";
import { nextBelow, prng } from "../../../kernel/lib/prng.ts";

const SECTORS = 64;
const bytes = (sectors: number, value: number): Uint8Array => new Uint8Array(sectors * SECTOR_SIZE).fill(value);
const write = (sector: number, value: number, sectors = 1, flags = 0): BlockRequest =>
  blockRequest(BlockOp.Write, sector, bytes(sectors, value), { flags });
const flush = (): BlockRequest => blockRequest(BlockOp.Flush, 0, undefined);

function now(disk: SimDisk, ...requests: BlockRequest[]): (number | undefined)[] {
  for (const request of requests) {
    disk.submit([request]);
    disk.poll();
  }
  return requests.map(({ result }) => result);
}

function readByte(disk: SimDisk, sector: number): number {
  const read = blockRequest(BlockOp.Read, sector, bytes(1, 0));
  now(disk, read);
  return read.data![0]!;
}

const volatileDisk = (rules: readonly FaultRule[] = [], more: Partial<SimDiskOptions> = {}): SimDisk =>
  new SimDisk({ sectors: SECTORS, atomicBytes: 512, faults: new FaultPlan(rules, 9), ...more });

describe("the crash model", () => {
  it("loses what was not flushed, keeps what was, and FUA alone", () => {
    const disk = volatileDisk();
    now(disk, write(0, 1), flush(), write(1, 2), write(2, 3, 1, REQ_FUA));
    const lost = disk.crash(() => false);
    expect([0, 1, 2].map((sector) => lost[sector * SECTOR_SIZE])).toEqual([1, 0, 3]);
    const kept = disk.crash(() => true);
    expect([0, 1, 2].map((sector) => kept[sector * SECTOR_SIZE])).toEqual([1, 2, 3]);
  });

  it("never brings back a version older than the durable one", () => {
    const disk = volatileDisk();
    now(disk, write(0, 1), write(0, 2, 1, REQ_FUA));
    expect(disk.crash(() => true)[0]).toBe(2);
  });

  it("tears only between atomic sectors", () => {
    for (const [atomicBytes, whole] of [
      [512, 1],
      [4096, 8],
    ] as const) {
      const disk = new SimDisk({ sectors: SECTORS, atomicBytes });
      now(disk, write(0, 7, 16));
      for (let cut = 0; cut <= 16 / whole; cut++) {
        const image = disk.crash((_, unit) => unit < cut);
        const survived = Array.from({ length: 16 }, (_, sector) => (image[sector * SECTOR_SIZE] === 7 ? 1 : 0));
        expect(survived).toEqual(Array.from({ length: 16 }, (_, sector) => (sector < cut * whole ? 1 : 0)));
      }
    }
  });

  it("random writes, flushes and cuts: every image is one the rules allow", () => {
    for (let seed = 1; seed <= 30; seed++) {
      const random = prng(seed);
      const disk = volatileDisk();
      /** The obvious model: all versions a sector may have after a cut. */
      const allowed: number[][] = Array.from({ length: SECTORS }, () => [0]);
      for (let step = 1; step < 120; step++) {
        const sector = nextBelow(random, SECTORS - 4);
        const sectors = 1 + nextBelow(random, 4);
        const value = 1 + (step % 255);
        const kind = nextBelow(random, 10);
        if (kind < 7) {
          now(disk, write(sector, value, sectors));
          for (let i = sector; i < sector + sectors; i++) allowed[i]!.push(value);
        } else if (kind < 9) {
          now(disk, write(sector, value, sectors, REQ_FUA));
          for (let i = sector; i < sector + sectors; i++) allowed[i] = [value];
        } else {
          now(disk, flush());
          for (const [i, versions] of allowed.entries()) allowed[i] = [versions.at(-1)!];
        }
        const image = disk.crash(() => nextBelow(random, 2) === 0);
        const wrong = allowed.findIndex((versions, i) => !versions.includes(image[i * SECTOR_SIZE]!));
        expect(wrong, `seed ${seed} step ${step}`).toBe(-1);
      }
    }
  });

  it("tells of each sector that becomes durable: told together they are the medium, also when writes end out of order", () => {
    for (let seed = 1; seed <= 30; seed++) {
      const random = prng(seed);
      const told = new Uint8Array(SECTORS * SECTOR_SIZE);
      let at = 0;
      const disk = volatileDisk([{ kind: "latency", oneIn: 3, addNs: 3e6 }], {
        service: NVME_SSD,
        now: () => nanos(at),
        durable: (sector, sectors) => told.set(sectors, sector * SECTOR_SIZE),
      });
      for (let step = 1; step < 150; step++) {
        const sector = nextBelow(random, SECTORS - 4);
        const kind = nextBelow(random, 10);
        const flags = kind === 8 ? REQ_FUA : 0;
        disk.submit([kind < 9 ? write(sector, 1 + (step % 255), 1 + nextBelow(random, 4), flags) : flush()]);
        at += nextBelow(random, 1e6);
        disk.poll();
        expect(Buffer.compare(disk.cache!.durable, told), `seed ${seed} step ${step}`).toBe(0);
        expect(
          Buffer.compare(
            disk.crash(() => true),
            disk.image,
          ),
          `seed ${seed} step ${step}`,
        ).toBe(0);
      }
    }
  });

  it("a flush promises nothing about a write that had not ended when it came", () => {
    let at = 0;
    const disk = volatileDisk([{ kind: "latency", times: 1, addNs: 1e9 }], { service: SATA_SSD, now: () => nanos(at) });
    disk.submit([write(0, 1)]);
    disk.submit([flush()]);
    at = 1e8;
    expect(disk.poll().map(({ op }) => op)).toEqual([BlockOp.Flush]);
    expect(disk.crash(() => false)[0]).toBe(0);
    at = 2e9;
    disk.poll();
    expect(disk.crash(() => false)[0]).toBe(0);
  });
});

describe("faults", () => {
  it("eio: ends with EIO, transfers nothing; `after` and `times` count", () => {
    const disk = volatileDisk([
      { kind: "eio-write", after: 1, times: 1 },
      { kind: "eio-read", from: 5, to: 6 },
    ]);
    expect(now(disk, write(0, 1), write(1, 1), write(2, 1))).toEqual([0, EIO, 0]);
    expect(disk.image[SECTOR_SIZE]).toBe(0);
    expect(now(disk, blockRequest(BlockOp.Read, 5, bytes(1, 0)), blockRequest(BlockOp.Read, 6, bytes(1, 0)))).toEqual([
      EIO,
      0,
    ]);
  });

  it("torn, misdirected and lost writes end well", () => {
    const torn = volatileDisk([{ kind: "torn-write" }]);
    expect(now(torn, write(0, 4, 8))).toEqual([0]);
    expect(readByte(torn, 7)).toBe(0);
    const wandering = volatileDisk([{ kind: "misdirected-write" }]);
    expect(now(wandering, write(0, 4))).toEqual([0]);
    expect(readByte(wandering, 0)).toBe(0);
    expect(wandering.image.filter((byte) => byte === 4).length).toBe(SECTOR_SIZE);
    const losing = volatileDisk([{ kind: "lost-write" }]);
    expect(now(losing, write(0, 4), flush())).toEqual([0, 0]);
    expect(readByte(losing, 0)).toBe(0);
  });

  it("dropped flush and FUA end well and promise nothing", () => {
    const disk = volatileDisk([{ kind: "dropped-flush", times: 1 }, { kind: "dropped-fua" }]);
    expect(now(disk, write(0, 1), flush(), write(1, 2, 1, REQ_FUA))).toEqual([0, 0, 0]);
    expect(Array.from(disk.crash(() => false)).some((byte) => byte !== 0)).toBe(false);
    now(disk, flush());
    expect(disk.crash(() => false)[0]).toBe(1);
  });

  it("a reordered flush leaves some writes behind, not all", () => {
    const disk = volatileDisk([{ kind: "reordered-flush", times: 1 }]);
    now(disk, ...Array.from({ length: 24 }, (_, i) => write(i, 1)), flush());
    const image = disk.crash(() => false);
    const durable = Array.from({ length: 24 }, (_, i) => image[i * SECTOR_SIZE]!).reduce((sum, byte) => sum + byte, 0);
    expect(durable).toBeGreaterThan(0);
    expect(durable).toBeLessThan(24);
  });

  it("a stale read gives the version before; latency adds time", () => {
    const disk = volatileDisk([{ kind: "stale-read", times: 1 }]);
    now(disk, write(0, 1), write(0, 2));
    expect([readByte(disk, 0), readByte(disk, 0)]).toEqual([1, 2]);
    let at = 0;
    const slow = volatileDisk([{ kind: "latency", addNs: 5e6, times: 1 }], { service: NVME_SSD, now: () => nanos(at) });
    slow.submit([write(0, 1)]);
    expect(slow.nextAtNs).toBeGreaterThan(5e6);
    at = 1e9;
    slow.poll();
    slow.submit([write(0, 1)]);
    expect(slow.nextAtNs - at).toBeLessThan(5e6);
  });

  it("draws repeat by seed, and every kind can strike", () => {
    for (const kind of FAULT_KINDS) {
      const strikes = (seed: number): string => {
        const plan = new FaultPlan([{ kind, oneIn: 3 }], seed);
        const disk = new SimDisk({ sectors: SECTORS, atomicBytes: 512, faults: plan });
        for (let i = 0; i < 60; i++) {
          now(disk, write(i, 1, 1, REQ_FUA), blockRequest(BlockOp.Read, i, bytes(1, 0)), flush());
        }
        return JSON.stringify(plan.log);
      };
      expect(strikes(1)).toBe(strikes(1));
      expect(strikes(1)).not.toBe(strikes(2));
      expect(JSON.parse(strikes(1))).not.toEqual([]);
    }
  });
});

/** Virtual time for `count` reads of 4 KiB with `depth` in flight. */
function readTime(service: ServiceModel, count: number, depth: number, sectorOf: (i: number) => number): number {
  let at = 0;
  const disk = new SimDisk({ sectors: 2 ** 16, now: () => nanos(at), service });
  let sent = 0;
  let done = 0;
  while (done < count) {
    while (sent - done < depth && sent < count)
      disk.submit([blockRequest(BlockOp.Read, sectorOf(sent++), bytes(8, 0))]);
    at = disk.nextAtNs;
    done += disk.poll().length;
  }
  return at;
}
const scattered = (i: number): number => (Math.imul(i, 2_654_435_761) >>> 17) & ~7;

describe("service times", () => {
  it("a hard disk: random reads take a seek and half a turn, sequential ones the transfer", () => {
    const random = readTime(HDD, 200, 1, scattered) / 200;
    expect(random).toBeGreaterThan(3e6);
    expect(random).toBeLessThan(14e6);
    expect(readTime(HDD, 200, 1, (i) => i * 8) / 200).toBeLessThan(random / 20);
  });

  it("flash: depth brings throughput until the link is full", () => {
    for (const [model, factor] of [
      [SATA_SSD, 4],
      [NVME_SSD, 12],
    ] as const) {
      const one = readTime(model, 400, 1, scattered);
      const many = readTime(model, 400, 32, scattered);
      expect(one / many).toBeGreaterThan(factor);
    }
    expect(readTime(NVME_SSD, 400, 1, scattered)).toBeLessThan(readTime(SATA_SSD, 400, 1, scattered));
  });
});

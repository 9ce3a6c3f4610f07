/** Ways to reach a block device: direct, a store behind a page cache, the submission and completion ring. */
import { describe, expect, it } from "vitest";
import {
  BlockBacking,
  ECANCELED,
  FaultPlan,
  IOSQE_IO_DRAIN,
  IOSQE_IO_LINK,
  IoOp,
  IoRing,
  SATA_SSD,
  SimDisk,
  ioRingBytes,
  readDirect,
  writeDirect,
} from "../../../drivers/index.ts";
import { EFAULT, EINVAL, EIO, EIOCBQUEUED } from "../../../kernel/abi/errno.ts";
import { PAGE_SIZE, nanos } from "../../../kernel/abi/units.ts";
import { next32, nextBelow, prng } from "../../../kernel/lib/prng.ts";

const SECTORS = 1024;

describe("direct access", () => {
  it("readDirect() and writeDirect() split by the device's largest request", () => {
    const disk = new SimDisk({ sectors: SECTORS, sectorsMax: 8 });
    const bytes = Uint8Array.from({ length: 20 * 512 }, (_, i) => i * 7);
    expect(writeDirect(disk, 512, bytes)).toBe(bytes.length);
    const back = new Uint8Array(bytes.length);
    expect(readDirect(disk, 512, back)).toBe(bytes.length);
    expect(back).toEqual(bytes);
  });

  it("what is no whole block ends with EINVAL, beyond the end with EIO", () => {
    const disk = new SimDisk({ sectors: SECTORS, logicalBlockSize: 4096 });
    expect(readDirect(disk, 512, new Uint8Array(4096))).toBe(EINVAL);
    expect(readDirect(disk, 0, new Uint8Array(512))).toBe(EINVAL);
    expect(readDirect(disk, SECTORS * 512, new Uint8Array(4096))).toBe(EIO);
  });
});

describe("BlockBacking", () => {
  it("a call in flight is completed by poll(), an error too", () => {
    let now = 0;
    const faults = new FaultPlan([{ kind: "eio-read", from: 80, to: 88 }], 1);
    const disk = new SimDisk({ sectors: SECTORS, now: () => nanos(now), service: SATA_SSD, faults });
    disk.image.fill(5, 2 * PAGE_SIZE, 3 * PAGE_SIZE);
    const ended: [number, number][] = [];
    const store = new BlockBacking(disk, (io, result) => void ended.push([io, result]));
    const page = new Uint8Array(PAGE_SIZE);
    expect(store.size()).toBe(SECTORS * 512);
    expect(store.readPages(2, [page], 1)).toBe(EIOCBQUEUED);
    expect(store.poll()).toBe(false);
    now = 1e9;
    expect(store.poll()).toBe(true);
    expect(ended).toEqual([[1, 0]]);
    expect(page[0]).toBe(5);
    expect(store.readPages(10, [page], 2)).toBe(EIOCBQUEUED);
    now = 2e9;
    expect(store.poll()).toBe(true);
    expect(store.writePages(3, [new Uint8Array(PAGE_SIZE).fill(9)], 3)).toBe(EIOCBQUEUED);
    now = 3e9;
    expect(store.poll()).toBe(true);
    expect(ended).toEqual([
      [1, 0],
      [2, EIO],
      [3, 0],
    ]);
    expect(disk.image[3 * PAGE_SIZE]).toBe(9);
  });

  it("a memory disk answers at once; the last part of a page beyond the end is zeroes", () => {
    const disk = new SimDisk({ sectors: 12 });
    disk.image.fill(7);
    const store = new BlockBacking(disk, () => expect.unreachable("nothing is in flight"));
    const pages = [new Uint8Array(PAGE_SIZE).fill(1), new Uint8Array(PAGE_SIZE).fill(1)];
    expect(store.readPages(0, pages, 1)).toBe(0);
    expect(pages[0]).toEqual(new Uint8Array(PAGE_SIZE).fill(7));
    expect(pages[1]!.subarray(0, 2048)).toEqual(new Uint8Array(2048).fill(7));
    expect(pages[1]!.subarray(2048)).toEqual(new Uint8Array(2048));
  });
});

const ENTRIES = 8;
const BASE = 0;
const DATA = 16_384;

function ring(service = false): { io: IoRing; memory: Uint8Array; disk: SimDisk; finish: () => [number, number][] } {
  let now = 0;
  const memory = new Uint8Array(new SharedArrayBuffer(65_536));
  const disk = new SimDisk({
    sectors: SECTORS,
    now: () => nanos(now),
    queueDepth: 4,
    ...(service ? { service: SATA_SSD } : {}),
  });
  const io = new IoRing(memory, BASE, ENTRIES, disk);
  const finish = (): [number, number][] => {
    const reaped: [number, number][] = [];
    for (let spin = 0; spin < 200; spin++) {
      io.step();
      for (let one = io.reap(); one !== undefined; one = io.reap()) reaped.push([Number(one.userData), one.result]);
      if (disk.nextAtNs !== Infinity) now = Math.max(now, disk.nextAtNs);
    }
    return reaped;
  };
  return { io, memory, disk, finish };
}

describe("IoRing", () => {
  it("carries out reads, writes and fsync; results are lengths or errors", () => {
    expect(ioRingBytes(ENTRIES)).toBeLessThan(DATA);
    const { io, memory, finish } = ring();
    memory.fill(3, DATA, DATA + 512);
    io.prepare(IoOp.Write, 1024, DATA, 512, 1n, IOSQE_IO_LINK);
    io.prepare(IoOp.Fsync, 0, 0, 0, 2n, IOSQE_IO_LINK);
    io.prepare(IoOp.Read, 1024, DATA + 512, 512, 3n);
    io.prepare(IoOp.Read, 0, 65_000, 1024, 4n);
    io.prepare(IoOp.Read, 100, DATA, 512, 5n);
    io.prepare(99, 0, 0, 0, 6n);
    io.prepare(IoOp.Nop, 0, 0, 0, 7n);
    const results = new Map(finish());
    expect(Object.fromEntries(results)).toEqual({ 1: 512, 2: 0, 3: 512, 4: EFAULT, 5: EINVAL, 6: EINVAL, 7: 0 });
    expect(memory.slice(DATA + 512, DATA + 1024)).toEqual(new Uint8Array(512).fill(3));
  });

  it("a chain runs in order and is cancelled behind a failure; a drain waits for all before it", () => {
    const { io, finish } = ring(true);
    io.prepare(IoOp.Read, 0, DATA, 4096, 1n, IOSQE_IO_LINK);
    io.prepare(IoOp.Read, SECTORS * 512, DATA, 512, 2n, IOSQE_IO_LINK);
    io.prepare(IoOp.Nop, 0, 0, 0, 3n);
    io.prepare(IoOp.Nop, 0, 0, 0, 4n, IOSQE_IO_DRAIN);
    io.prepare(IoOp.Nop, 0, 0, 0, 5n);
    expect(finish()).toEqual([
      [1, 4096],
      [2, EIO],
      [3, ECANCELED],
      [4, 0],
      [5, 0],
    ]);
  });

  it("is full at its number of entries, and loses no completion when nobody reaps", () => {
    const { io } = ring();
    let sent = 0;
    for (let round = 0; round < 5; round++) {
      while (io.prepare(IoOp.Nop, 0, 0, 0, BigInt(sent))) sent++;
      io.step();
    }
    expect(sent).toBe(5 * ENTRIES);
    expect(io.overflows).toBeGreaterThan(0);
    const seen: number[] = [];
    for (let spin = 0; spin < 10; spin++) {
      for (let one = io.reap(); one !== undefined; one = io.reap()) seen.push(Number(one.userData));
      io.step();
    }
    expect(seen).toEqual(Array.from({ length: sent }, (_, i) => i));
  });

  it("random operations give what a plain array gives", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const { io, memory, disk, finish } = ring(seed % 2 === 0);
      const random = prng(seed);
      const model = new Uint8Array(SECTORS * 512);
      for (let round = 0; round < 20; round++) {
        const reads: [sector: number, at: number][] = [];
        for (let i = 0; i < ENTRIES; i++) {
          const sector = i * 64 + nextBelow(random, 64);
          const at = DATA + i * 512;
          if (nextBelow(random, 2) === 0) {
            memory.fill(next32(random) & 0xff, at, at + 512);
            model.set(memory.subarray(at, at + 512), sector * 512);
            io.prepare(IoOp.Write, sector * 512, at, 512, BigInt(i));
          } else {
            reads.push([sector, at]);
            io.prepare(IoOp.Read, sector * 512, at, 512, BigInt(i));
          }
        }
        expect(finish().length).toBe(ENTRIES);
        for (const [sector, at] of reads)
          expect(memory.slice(at, at + 512)).toEqual(model.slice(sector * 512, sector * 512 + 512));
      }
      expect(disk.image).toEqual(model);
    }
  });
});

/** Statements of VirtIO 2.7 that show in memory; docs/virtio_spec.md maps each to its section. */
import { blockRequest } from "../../../drivers/index.ts";
import type { VirtioBlkOptions } from "../../../drivers/index.ts";
import { RingView } from "../../../harness/blk/ring_view.ts";
import type { SeenChain } from "../../../harness/blk/ring_view.ts";
import { BlockOp } from "../../../kernel/abi/block.ts";
import type { BlockRequest } from "../../../kernel/abi/block.ts";
import { describe, expect, it } from "vitest";
import { start, run, bytes } from "./machine.ts";

const DATA = 4096;

/** What the driver makes available for some requests, seen before the device looks. */
function posted(driverOptions: Partial<VirtioBlkOptions>, ...requests: BlockRequest[]): SeenRequests {
  const sim = start("mmio", { deferred: true }, driverOptions);
  const { size, desc, driver, device } = sim.device.virtio.queues[0]!;
  const view = new RingView(sim.ram, { size, desc, driver, device }, false);
  sim.driver.submit(requests);
  const chains: SeenChain[] = [];
  for (let chain = view.next(); chain !== undefined; chain = view.next()) chains.push(chain);
  return { sim, view, chains, addresses: { size, desc, driver, device } };
}

interface SeenRequests {
  readonly sim: ReturnType<typeof start>;
  readonly view: RingView;
  readonly chains: readonly SeenChain[];
  readonly addresses: { size: number; desc: number; driver: number; device: number };
}

const all = (): BlockRequest[] => [
  blockRequest(BlockOp.Write, 8, new Uint8Array(DATA)),
  blockRequest(BlockOp.Read, 16, new Uint8Array(DATA)),
  blockRequest(BlockOp.Flush, 99, undefined),
  blockRequest(BlockOp.Discard, 24, undefined, { sectors: 8 }),
  blockRequest(BlockOp.WriteZeroes, 32, undefined, { sectors: 8 }),
];

describe("split ring driver", () => {
  it("aligns the parts, and puts writable buffers behind readable ones in chains no longer than the queue", () => {
    for (const indirect of [false, true]) {
      const { chains, addresses } = posted({ indirect, segmentBytes: 1024, queueSize: 32 }, ...all());
      expect([addresses.desc % 16, addresses.driver % 2, addresses.device % 4]).toEqual([0, 0, 0]);
      expect(chains.length).toBe(5);
      for (const { segments } of chains) {
        expect(segments.length).toBeLessThanOrEqual(addresses.size);
        const firstWritable = segments.findIndex(({ isWritable }) => isWritable);
        expect(segments.slice(firstWritable).every(({ isWritable }) => isWritable)).toBe(true);
        expect(segments.reduce((sum, one) => sum + one.bytes, 0)).toBeLessThan(2 ** 32);
      }
    }
  });

  it("uses a table only where the feature was agreed on, never with next, never within a table", () => {
    for (const indirect of [false, true]) {
      const { sim, addresses } = posted({ indirect, segmentBytes: 1024, queueSize: 32 }, ...all());
      const memory = new DataView(sim.ram.u8.buffer);
      let tables = 0;
      for (let i = 0; i < addresses.size; i++) {
        const at = addresses.desc + 16 * i;
        const flags = memory.getUint16(at + 12, true);
        if ((flags & 4) === 0) continue;
        tables++;
        expect(flags & 1).toBe(0);
        const table = Number(memory.getBigUint64(at, true));
        const entries = memory.getUint32(at + 8, true) / 16;
        for (let entry = 0; entry < entries; entry++) {
          expect(memory.getUint16(table + 16 * entry + 12, true) & 4).toBe(0);
          const isLast = entry + 1 === entries;
          expect(memory.getUint16(table + 16 * entry + 14, true)).toBe(isLast ? 0 : entry + 1);
        }
      }
      expect(tables).toBe(indirect ? 5 : 0);
    }
  });

  it("in order, descriptors are used in ring order and the last one's next is 0", () => {
    const { sim, addresses } = posted({ indirect: false, inOrder: true, queueSize: 8 }, ...all().slice(0, 2));
    const memory = new DataView(sim.ram.u8.buffer);
    const next = (i: number): number => memory.getUint16(addresses.desc + 16 * i + 14, true);
    const heads = (slot: number): number => memory.getUint16(addresses.driver + 4 + 2 * slot, true);
    expect([next(0), next(1), next(3), next(4)]).toEqual([1, 2, 4, 5]);
    sim.device.step();
    sim.driver.poll();
    sim.driver.submit(all().slice(0, 1));
    expect([heads(0), heads(1), heads(2)]).toEqual([0, 3, 6]);
    expect([next(6), next(7)]).toEqual([7, 0]);
  });

  it("leaves the flags alone with the event index, and sets them to 0 or 1 without", () => {
    for (const eventIdx of [true, false]) {
      const { sim, addresses } = posted({ eventIdx }, ...all());
      const memory = new DataView(sim.ram.u8.buffer);
      const flags = (at: number): number => memory.getUint16(at, true);
      const seen = new Set<number>();
      for (let i = 0; i < 6; i++) {
        seen.add(flags(addresses.driver));
        expect(flags(addresses.device)).toBe(0);
        sim.driver.wait(1e6);
        sim.driver.poll();
        seen.add(flags(addresses.driver));
      }
      expect([...seen].every((value) => value === 0 || (value === 1 && !eventIdx))).toBe(true);
    }
  });

  it("frames requests as told: flush without sector, one range without unmap, twenty bytes for the identity", () => {
    const { sim, chains, view } = posted({ indirect: false, queueSize: 32 }, ...all());
    const header = (chain: SeenChain): [type: number, sector: number] => {
      const { addr } = chain.segments[0]!;
      return [view.memory.getUint32(addr, true), Number(view.memory.getBigUint64(addr + 8, true))];
    };
    expect(chains.map(header)).toEqual([
      [1, 8],
      [0, 16],
      [4, 0],
      [11, 0],
      [13, 0],
    ]);
    for (const chain of chains.slice(0, 2)) expect(chain.segments[1]!.bytes).toBe(DATA);
    expect(chains[2]!.segments.length).toBe(2);
    for (const chain of chains.slice(3)) {
      expect(chain.segments[1]!.bytes).toBe(16);
      expect(view.memory.getUint32(chain.segments[1]!.addr + 12, true)).toBe(0);
    }
    sim.device.step();
    sim.driver.poll();
    sim.driver.readId(0);
    sim.driver.readId(1);
    expect(view.next()!.segments[1]!.bytes).toBe(20);
  });

  it("spurious interrupts and notifications do no harm", () => {
    const { sim } = posted({}, ...all());
    for (let i = 0; i < 10; i++) {
      sim.transport.notify(0);
      sim.driver.wait(0);
      sim.driver.poll();
    }
    expect(sim.driver.broken).toBeUndefined();
    expect(sim.driver.poll()).toEqual([]);
    expect(run(sim.driver, blockRequest(BlockOp.Read, 0, bytes(1)))).toEqual([0]);
  });
});

import { expect, it } from "vitest";
import { BlockOp } from "../../../../kernel/abi/block.ts";
import { NS_PER_MS, type Nanos } from "../../../../kernel/abi/units.ts";
import { blockNodes, queueCounts } from "../../../../kernel/fs/pseudo/proc_block.ts";
import { BlockQueue, blockRequest, ELEVATORS, SATA_SSD, SimDisk } from "../../../../drivers/index.ts";
import { tree } from "./machine.ts";

const bytes = (sectors: number): Uint8Array => new Uint8Array(sectors * 512);

function queueOn() {
  const clock = { now: 0 };
  const now = (): Nanos => clock.now as Nanos;
  const disk = new SimDisk({ sectors: 4096, now, service: SATA_SSD });
  return { clock, queue: new BlockQueue(disk, { elevator: ELEVATORS[1]!, now }) };
}

it("partitions", () => {
  const zero = queueCounts(queueOn().queue, 0);
  const { textOf } = tree({ proc: blockNodes({ counts: () => zero, sectors: 2049 }) });
  expect(textOf("/proc/partitions")).toBe("major minor  #blocks  name\n\n 252        0       1024 vda\n");
  expect(textOf("/proc/diskstats")).toBe(" 252       0 vda 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n");
});

it("diskstats of a queue: merges, sectors, times, and what is in flight", () => {
  const { clock, queue } = queueOn();
  const { textOf } = tree({ proc: blockNodes({ counts: () => queueCounts(queue, 3 * NS_PER_MS), sectors: 4096 }) });
  const numbers = (): number[] => textOf("/proc/diskstats").split("vda ")[1]!.split(" ").map(Number);
  const end = (count: number): void => {
    for (let ended = 0; ended < count; clock.now += NS_PER_MS) ended += queue.poll().length;
  };
  queue.plug();
  for (const sector of [0, 8, 16]) queue.submit([blockRequest(BlockOp.Write, sector, bytes(8), { task: 1 })]);
  queue.unplug();
  expect(numbers()[8]).toBe(1);
  end(3);
  queue.submit([blockRequest(BlockOp.Read, 0, bytes(16), { task: 2 })]);
  queue.submit([blockRequest(BlockOp.Flush, 0, undefined)]);
  end(2);
  const [reads, readMerges, readSectors, , writes, writeMerges, writtenSectors, writeMs, inFlight, busyMs] = numbers();
  expect([reads, readMerges, readSectors]).toEqual([1, 0, 16]);
  expect([writes, writeMerges, writtenSectors, inFlight, busyMs]).toEqual([1, 2, 24, 0, 3]);
  expect(writeMs).toBeGreaterThan(0);
  expect(numbers()).toHaveLength(17);
  expect(numbers()[15]).toBe(1);
  // Each time is cut to a millisecond by itself.
  expect(numbers()[10]! - numbers()[3]! - writeMs! - numbers()[16]!).toBeLessThan(3);
});

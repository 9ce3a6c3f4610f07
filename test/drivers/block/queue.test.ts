import { describe, expect, it } from "vitest";
import { BlockQueue, ELEVATORS, SATA_SSD, SimDisk, TASK_IO, blockRequest } from "../../../drivers/index.ts";
import { BlockOp, SECTOR_SIZE } from "../../../kernel/abi/block.ts";
import type { BlockRequest } from "../../../kernel/abi/block.ts";
import { nanos } from "../../../kernel/abi/units.ts";
import { openSimVirtio } from "../../../harness/blk/sim_devices.ts";
import { verify } from "../../../harness/blk/verify.ts";

const data = (sectors: number, byte: number): Uint8Array => new Uint8Array(sectors * SECTOR_SIZE).fill(byte);

/** A disk that notes what reaches it. */
class NotingDisk extends SimDisk {
  readonly seen: string[] = [];

  override submit(batch: readonly BlockRequest[]): number {
    const taken = super.submit(batch);
    for (const { op, sector, sectors } of batch.slice(0, taken)) this.seen.push(`${op}@${sector}+${sectors}`);
    return taken;
  }
}

function queueOn(depth?: number): { disk: NotingDisk; queue: BlockQueue; go: () => BlockRequest[] } {
  let now = 0;
  const disk = new NotingDisk({ sectors: 4096, now: () => nanos(now), service: SATA_SSD });
  const options = depth === undefined ? {} : { depth };
  const queue = new BlockQueue(disk, { elevator: ELEVATORS[1]!, now: () => nanos(now), ...options });
  const go = (): BlockRequest[] => {
    const ended: BlockRequest[] = [];
    for (let spin = 0; spin < 1000; spin++) {
      ended.push(...queue.poll());
      if (disk.nextAtNs === Infinity) break;
      now = disk.nextAtNs;
    }
    return ended;
  };
  return { disk, queue, go };
}

describe("BlockQueue", () => {
  it("plugged neighbours are merged at both ends, into one request", () => {
    const { disk, queue, go } = queueOn();
    const writes = [3, 1, 2, 0].map((i) => blockRequest(BlockOp.Write, 8 * i, data(8, i + 1)));
    queue.plug();
    queue.submit(writes);
    expect(disk.seen).toEqual([]);
    queue.unplug();
    expect(go().length).toBe(4);
    expect(disk.seen).toEqual([`${BlockOp.Write}@0+32`]);
    expect(queue.merges).toBe(3);
    const reads = [1, 0].map((i) => blockRequest(BlockOp.Read, 8 * i, data(8, 0)));
    queue.plug();
    queue.submit(reads);
    queue.unplug();
    go();
    expect(reads.map((read) => read.data![100])).toEqual([2, 1]);
  });

  it("merged parts that are neighbours in memory reach the device as they lie there, others in one piece of their bytes", () => {
    for (const order of [
      [0, 1, 2, 3],
      [1, 0, 2, 3],
      [0, 2, 1, 3],
    ]) {
      const { disk, queue, go } = queueOn();
      const memory = new Uint8Array(64 * SECTOR_SIZE);
      const part = (n: number): Uint8Array =>
        memory.subarray((8 + 8 * order[n]!) * SECTOR_SIZE, (16 + 8 * order[n]!) * SECTOR_SIZE);
      const send = (op: BlockOp): void => {
        queue.plug();
        queue.submit([0, 1, 2, 3].map((n) => blockRequest(op, 8 * n, part(n))));
        queue.unplug();
        go();
      };
      for (let n = 0; n < 4; n++) part(n).fill(n + 1);
      send(BlockOp.Write);
      expect([0, 1, 2, 3].map((n) => disk.image[(8 * n + 7) * SECTOR_SIZE])).toEqual([1, 2, 3, 4]);
      memory.fill(9);
      send(BlockOp.Read);
      expect([0, 1, 2, 3].map((n) => [part(n)[0], part(n).at(-1)])).toEqual([1, 2, 3, 4].map((n) => [n, n]));
      expect([memory[8 * SECTOR_SIZE - 1], memory[40 * SECTOR_SIZE]]).toEqual([9, 9]);
      expect(disk.seen).toEqual([`${BlockOp.Write}@0+32`, `${BlockOp.Read}@0+32`]);
    }
  });

  it("does not merge across tasks, operations, gaps, FUA and the device's largest request", () => {
    const { disk, queue, go } = queueOn();
    queue.plug();
    queue.submit([
      blockRequest(BlockOp.Write, 0, data(8, 1), { task: 1 }),
      blockRequest(BlockOp.Write, 8, data(8, 1), { task: 2 }),
      blockRequest(BlockOp.Read, 16, data(8, 1), { task: 2 }),
      blockRequest(BlockOp.Write, 32, data(8, 1), { task: 2 }),
      blockRequest(BlockOp.Write, 40, data(8, 1), { task: 2, flags: 1 }),
    ]);
    queue.unplug();
    go();
    expect(disk.seen.length).toBe(5);
  });

  it("keeps at most `depth` requests at the device", () => {
    const { disk, queue, go } = queueOn(2);
    queue.submit(Array.from({ length: 10 }, (_, i) => blockRequest(BlockOp.Read, i * 100, data(1, 0))));
    expect(disk.seen.length).toBe(2);
    expect(queue.waiting).toBe(8);
    expect(go().length).toBe(10);
  });

  it("accounts bytes, waits and service times to the task", () => {
    const { queue, go } = queueOn(1);
    queue.submit([1, 2, 2].map((task, i) => blockRequest(BlockOp.Write, i * 100, data(2, 0), { task })));
    go();
    expect(queue.accounts.get(1, TASK_IO.writeBytes)).toBe(1024);
    expect(queue.accounts.get(2, TASK_IO.writeBytes)).toBe(2048);
    expect(queue.accounts.get(2, TASK_IO.writes)).toBe(2);
    expect(queue.accounts.get(1, TASK_IO.waitNs)).toBe(0);
    expect(queue.accounts.get(2, TASK_IO.waitNs)).toBeGreaterThan(0);
    expect(queue.accounts.get(2, TASK_IO.serviceNs)).toBeGreaterThan(0);
  });

  it.each(ELEVATORS.map((elevator) => [elevator.name, elevator] as const))(
    "over a virtio driver with several queues answers as the model does: %s",
    (_name, elevator) => {
      const driver = { queues: 4, queueSize: 16, dataBytes: 32_768 };
      const opened = openSimVirtio({ sectors: 4096, driver, unmapped: false }, "pci");
      let now = 0;
      const queue = new BlockQueue(opened.device, { elevator, now: () => nanos(now) });
      const device = Object.assign(queue, {
        broken: undefined,
        wait: (timeoutNs: number): boolean => {
          now = Math.min(now + timeoutNs, Math.max(queue.wakeAtNs, now + 1));
          return opened.device.wait(timeoutNs);
        },
      });
      const job = { device: "queue", ops: 1200, seed: 2, sectors: 4096, driver, unmapped: false };
      expect(verify({ ...opened, device }, job)).toMatchObject({
        mismatches: 0,
        firstMismatch: null,
        imageEqual: true,
      });
      opened.close();
    },
  );
});

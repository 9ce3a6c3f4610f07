/**
 * The test set of the block drivers, as data that knows no test runner and no world: what holds for a driver on our
 * simulated device holds for it on QEMU's. A case opens the device, on a zeroed medium, with the driver options that it
 * wants, and ends well or throws.
 *
 * - casesOf(kind)   the set: contract, verified operations over all ring formats or queue shapes, control operations
 * - MANY            OPS verified operations in one go
 * - CANARY          a case that must throw
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import { BlockQueue, ELEVATORS, Nvme, VirtioBlk, blockRequest, pollUntilEnded } from "../../../drivers/index.ts";
import type { OpenedDevice } from "../../../harness/blk/devices.ts";
import { verify } from "../../../harness/blk/verify.ts";
import { BlockOp, SECTOR_SIZE } from "../../../kernel/abi/block.ts";
import type { BlockDevice, BlockRequest } from "../../../kernel/abi/block.ts";
import { EIO, EOPNOTSUPP } from "../../../kernel/abi/errno.ts";
import { nanos } from "../../../kernel/abi/units.ts";
import { VirtioFeature } from "../../../kernel/abi/virtio.ts";
import { CONTRACT } from "../../contract/block_device_cases.ts";

export type DriverOptions = Readonly<Record<string, number | boolean>>;
export type DeviceKind = "virtio" | "nvme";

export interface TestWorld {
  open(driver: DriverOptions): OpenedDevice;
  /** What the device says it is called. */
  readonly serial: string;
}

export interface DeviceCase {
  readonly name: string;
  run(world: TestWorld): void;
}

/** Of the medium. */
export const SECTORS = 4096;
/** What a device has at least. */
export const QUEUES = 4;
export const QUEUE_SIZE = 128;
export const OPS = 20_000;
/** Of all ring formats, or queue shapes, together. */
const OPS_OF_SETTINGS = 8_000;

const WAIT_NS = 20e6;
const FLAGS = ["packed", "indirect", "eventIdx", "inOrder"] as const;
const VIRTIO_SIZES = { queues: 3, queueSize: 32, dataBytes: 16_384, segmentBytes: 2_560 };

/** Every combination of the flags. What a device does not offer is not negotiated. */
const COMBINATIONS: readonly (readonly [name: string, DriverOptions])[] = Array.from(
  { length: 2 ** FLAGS.length },
  (_, bits) => {
    const flags = Object.fromEntries(FLAGS.map((flag, bit) => [flag, ((bits >> bit) & 1) === 1]));
    return [FLAGS.filter((flag) => flags[flag] === true).join(" ") || "plain", { ...VIRTIO_SIZES, ...flags }];
  },
);

const NVME_SETTINGS: readonly (readonly [name: string, DriverOptions])[] = [
  [4, 4096],
  [32, 16_384],
  [128, 65_536],
].map(([queueSize, dataBytes]) => [
  `${queueSize} entries, ${dataBytes} bytes`,
  { queueSize: queueSize!, dataBytes: dataBytes! },
]);

/** What the driver may be told besides, for the cases that are no matter of ring formats. */
const SHAPES: Readonly<Record<DeviceKind, readonly (readonly [name: string, DriverOptions])[]>> = {
  virtio: [
    ["defaults", {}],
    ["two queues of 16", { queues: 2, queueSize: 16 }],
    ["packed, in order", { queueSize: 16, packed: true, inOrder: true }],
  ],
  nvme: [
    ["defaults", {}],
    ["queue of 16", { queueSize: 16 }],
  ],
};

function verified(ops: number, seed: number, driver: DriverOptions): (world: TestWorld) => void {
  return (world) => {
    const opened = world.open(driver);
    const report = verify(opened, { device: "tested", ops, seed, sectors: SECTORS, driver, unmapped: false });
    const { mismatches, firstMismatch, imageEqual } = report;
    deepEqual(
      { ops: report.ops, mismatches, firstMismatch, imageEqual },
      { ops, mismatches: 0, firstMismatch: null, imageEqual: true },
    );
    const { reads, writes, flushes, discards, zeroes } = report;
    ok(Math.min(reads, writes, flushes, discards, zeroes) > 0, "an operation was never tried");
  };
}

/** All of them in one go. */
export const MANY: DeviceCase = { name: `${OPS} verified operations: defaults`, run: verified(OPS, 7, {}) };

export const CANARY: DeviceCase = {
  name: "a medium that was changed behind the driver's back is noticed (canary)",
  run: (world) =>
    verified(
      400,
      11,
      {},
    )({
      ...world,
      open: (driver) => {
        const opened = world.open(driver);
        const readMedium = (sector: number, into: Uint8Array): void => {
          opened.readMedium(sector, into);
          into[5]! ^= 1;
        };
        return { ...opened, readMedium };
      },
    }),
};

const filled = (sectors: number, byte: number): Uint8Array => new Uint8Array(sectors * SECTOR_SIZE).fill(byte);
const write = (sector: number, byte: number, sectors = 1): BlockRequest =>
  blockRequest(BlockOp.Write, sector, filled(sectors, byte));
const read = (sector: number, sectors = 1): BlockRequest => blockRequest(BlockOp.Read, sector, filled(sectors, 0xee));

function carryOut(device: BlockDevice, wait: () => void, ...requests: BlockRequest[]): (number | undefined)[] {
  equal(pollUntilEnded(device, requests, wait), 0);
  return requests.map(({ result }) => result);
}

/** The result of a request that was submitted. */
function resultOf(device: OpenedDevice["device"], request: BlockRequest): number | undefined {
  for (let waits = 0; request.result === undefined && waits < 100; waits++) {
    device.wait(WAIT_NS);
    device.poll();
  }
  return request.result;
}

/** The contract of a block device, on the driver itself and behind a queue with each elevator. */
function contractCases(kind: DeviceKind): DeviceCase[] {
  const cases = SHAPES[kind].flatMap(([shape, driver]) =>
    CONTRACT.map((one): DeviceCase => ({
      name: `contract, ${shape}: ${one.name}`,
      run: (world) => {
        const opened = world.open(driver);
        const { device, afterPowerCut } = opened;
        one.run({
          device,
          idle: () => device.wait(WAIT_NS),
          ...(afterPowerCut === undefined ? {} : { afterPowerCut }),
        });
      },
    })),
  );
  const behind = ELEVATORS.flatMap((elevator) =>
    CONTRACT.map((one): DeviceCase => ({
      name: `contract, behind a queue with ${elevator.name}: ${one.name}`,
      run: (world) => {
        const { device, afterPowerCut } = world.open({});
        let now = 0;
        const queue = new BlockQueue(device, { elevator, now: () => nanos(now) });
        const idle = (): void => {
          device.wait(1e6);
          now += 1e6;
        };
        one.run({ device: queue, idle, ...(afterPowerCut === undefined ? {} : { afterPowerCut }) });
      },
    })),
  );
  return [...cases, ...behind];
}

/** A driver that is started again, switched, filled to the brim: for both kinds. */
function controlCases(): DeviceCase[] {
  return [
    {
      name: "the serial is the device's own",
      run: (world) => {
        const { device } = world.open({});
        const serial = device instanceof VirtioBlk ? device.readId() : (device as Nvme).serial;
        equal(serial, world.serial);
      },
    },
    {
      name: "a batch larger than the queue is taken in parts, each request carried out once",
      run: (world) => {
        const { device } = world.open({ queueSize: 8 });
        const batch = Array.from({ length: 300 }, (_, i) => write(8 * i, i & 0xff, 3));
        let next = device.submit(batch);
        ok(next > 0 && next < batch.length, "the queue took nothing, or more than it holds");
        const ended = new Map<BlockRequest, number>();
        for (let spin = 0; ended.size < batch.length && spin < 10_000; spin++) {
          const took = next < batch.length ? device.submit(batch.slice(next)) : 0;
          next += took;
          for (const request of device.poll()) ended.set(request, (ended.get(request) ?? 0) + 1);
          if (took === 0) device.wait(WAIT_NS);
        }
        deepEqual(
          [...ended.values()],
          Array.from(batch, () => 1),
        );
        const back = read(8 * 299, 4);
        deepEqual(
          carryOut(device, () => device.wait(WAIT_NS), back),
          [0],
        );
        deepEqual(back.data, new Uint8Array([...filled(3, 299 & 0xff), ...filled(1, 0)]));
      },
    },
    {
      name: "setWriteCache() switches the volatile cache, and reads see all that was written under either",
      run: (world) => {
        const { device } = world.open({});
        const wait = (): void => void device.wait(WAIT_NS);
        const switchable = device as VirtioBlk | Nvme;
        deepEqual(carryOut(device, wait, write(0, 1)), [0]);
        equal(switchable.setWriteCache(false), 0);
        equal(device.limits.writeCache, false);
        deepEqual(carryOut(device, wait, write(1, 2), blockRequest(BlockOp.Flush, 0, undefined)), [0, 0]);
        equal(switchable.setWriteCache(true), 0);
        equal(device.limits.writeCache, true);
        const back = read(0, 2);
        deepEqual(carryOut(device, wait, blockRequest(BlockOp.Flush, 0, undefined), back), [0, 0]);
        deepEqual([back.data![0], back.data![SECTOR_SIZE]], [1, 2]);
      },
    },
    {
      name: "restart() ends what was in flight with EIO or its result, and the device works on",
      run: (world) => {
        const { device } = world.open({});
        const wait = (): void => void device.wait(WAIT_NS);
        const lost = [write(0, 7), write(8, 7), write(16, 7)];
        equal(device.submit(lost), lost.length);
        equal((device as VirtioBlk | Nvme).restart(), 0);
        const ended = device.poll();
        deepEqual(new Set(ended), new Set(lost));
        ok(
          ended.every(({ result }) => result === 0 || result === EIO),
          "a result that is neither",
        );
        const back = read(64);
        deepEqual(carryOut(device, wait, write(64, 9)), [0]);
        deepEqual(carryOut(device, wait, back), [0]);
        deepEqual(back.data, filled(1, 9));
      },
    },
    {
      name: "a driver that was closed refuses everything with EIO",
      run: (world) => {
        const opened = world.open({});
        opened.close();
        const late = [write(0, 1), read(0), blockRequest(BlockOp.Flush, 0, undefined)];
        equal(opened.device.submit(late), late.length);
        deepEqual(
          opened.device.poll().map(({ result }) => result),
          [EIO, EIO, EIO],
        );
      },
    },
  ];
}

const virtio = (world: TestWorld, driver: DriverOptions): VirtioBlk => {
  const { device } = world.open(driver);
  ok(device instanceof VirtioBlk);
  return device;
};

const VIRTIO_CASES: readonly DeviceCase[] = [
  {
    name: "each of several queues carries out what was given to it, and its interrupt is waited for",
    run: (world) => {
      const driver = virtio(world, { queues: QUEUES, queueSize: 16 });
      equal(driver.queueCount, QUEUES);
      for (let queue = QUEUES - 1; queue >= 0; queue--) {
        const request = write(queue, queue + 1);
        equal(driver.submitTo(queue, [request]), 1);
        equal(resultOf(driver, request), 0);
      }
      const back = read(0, QUEUES);
      deepEqual(
        carryOut(driver, () => driver.wait(WAIT_NS), back),
        [0],
      );
      deepEqual(
        Array.from({ length: QUEUES }, (_, queue) => back.data![queue * SECTOR_SIZE]),
        [1, 2, 3, 4],
      );
    },
  },
  {
    name: "resetQueue() resets one queue and all work on; a device that offers it and does not is Broken until restart()",
    run: (world) => {
      const driver = virtio(world, { queues: 2, queueSize: 16 });
      const hasReset = (driver.features & VirtioFeature.RingReset) !== 0n;
      const request = write(0, 5);
      equal(driver.submitTo(1, [request]), 1);
      const reset = driver.resetQueue(1);
      if (reset === EIO) {
        equal(driver.broken, "a queue does not reset");
        equal(driver.restart(), 0);
      } else equal(reset, hasReset ? 0 : EOPNOTSUPP);
      const result = resultOf(driver, request);
      ok(result === 0 || (hasReset && result === EIO), "a result that is neither");
      for (const queue of [0, 1]) {
        const again = write(8 + queue, 6);
        equal(driver.submitTo(queue, [again]), 1);
        if (resultOf(driver, again) === 0) continue;
        // QEMU 7.2 does not cancel what the queue had in flight: its late end is of no request of ours, and breaks the ring.
        ok(hasReset && driver.broken !== undefined, "a request after the reset fails on a ring that is whole");
        equal(driver.restart(), 0);
        const anew = write(8 + queue, 7);
        equal(driver.submitTo(queue, [anew]), 1);
        equal(resultOf(driver, anew), 0);
      }
    },
  },
];

export function casesOf(kind: DeviceKind): DeviceCase[] {
  const settings = kind === "virtio" ? COMBINATIONS : NVME_SETTINGS;
  const each = Math.ceil(OPS_OF_SETTINGS / settings.length);
  const ring = settings.map(([name, driver], at): DeviceCase => ({
    name: `${each} verified operations, answers as the model does: ${name}`,
    run: verified(each, 11 + at, driver),
  }));
  return [...contractCases(kind), ...ring, ...controlCases(), ...(kind === "virtio" ? VIRTIO_CASES : [])];
}

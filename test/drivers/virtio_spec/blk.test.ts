/** Statements of VirtIO 5.2; docs/virtio_spec.md maps each to its section. */
import {
  FaultPlan,
  SimBus,
  SimDisk,
  SimRam,
  VirtioBlkDevice,
  VirtioMmioWindow,
  blockRequest,
  mmioTransport,
  probeVirtioBlk,
} from "../../../drivers/index.ts";
import type { VirtioBlk } from "../../../drivers/index.ts";
import { BlkFeature } from "../../../drivers/virtio/blk_format.ts";
import { Mmio } from "../../../drivers/virtio/mmio_layout.ts";
import { SIM_MMIO_BASE, simVirtio } from "../../../harness/blk/sim_devices.ts";
import { BlockOp, SECTOR_SIZE } from "../../../kernel/abi/block.ts";
import { EIO, EOPNOTSUPP } from "../../../kernel/abi/errno.ts";
import { VirtioFeature, VirtioStatus } from "../../../kernel/abi/virtio.ts";
import type { VirtioTransport } from "../../../kernel/abi/virtio.ts";
import { describe, expect, it } from "vitest";
import { SECTORS, READY, start, run, bytes, recorded } from "./machine.ts";

describe("block driver", () => {
  it("deduces the cache from the features: none, write-back, or what the field says", () => {
    expect(cacheOf(BlkFeature.Flush | BlkFeature.ConfigWce)).toBe(false);
    expect(cacheOf(BlkFeature.ConfigWce)).toBe(true);
    expect(cacheOf(0n)).toBe(true);
  });

  it("setWriteCache() switches to write-through: what ends is durable; what ended before needs a flush", () => {
    const { driver, disk } = start("mmio");
    run(driver, blockRequest(BlockOp.Write, 0, bytes(1)));
    expect(driver.setWriteCache(false)).toBe(0);
    run(driver, blockRequest(BlockOp.Write, 1, bytes(2)));
    const image = disk.crash(() => false);
    expect([image[0], image[SECTOR_SIZE]]).toEqual([0, 2]);
    expect(driver.setWriteCache(true)).toBe(0);
    expect(driver.limits.writeCache).toBe(true);
    expect(start("mmio", { without: BlkFeature.ConfigWce }).driver.setWriteCache(true)).toBe(EOPNOTSUPP);
  });

  it("reads the serial, up to twenty characters without an end", () => {
    expect(start("mmio", { serial: "short" }).driver.readId()).toBe("short");
    expect(start("pci", { serial: "exactly-twenty-chars" }).driver.readId()).toBe("exactly-twenty-chars");
  });

  it("follows a resize after the configuration interrupt; requests beyond the new end fail", () => {
    for (const kind of ["mmio", "pci"] as const) {
      const { driver, device } = start(kind);
      device.resize(SECTORS / 2);
      expect(driver.wait(1e6)).toBe(true);
      expect(driver.limits.sectors).toBe(SECTORS / 2);
      expect(run(driver, blockRequest(BlockOp.Read, SECTORS / 2, bytes(0)))).toEqual([EIO]);
    }
  });

  it("sends nothing that writes to a read-only device, and discard and zeroes only when offered", () => {
    const { driver } = start("mmio", { readOnly: true });
    expect(run(driver, blockRequest(BlockOp.Write, 0, bytes(1)), blockRequest(BlockOp.Read, 0, bytes(1)))).toEqual([
      EIO,
      0,
    ]);
    const without = start("mmio", { without: BlkFeature.Discard | BlkFeature.WriteZeroes }).driver;
    const range = { sectors: 8 };
    expect(
      run(
        without,
        blockRequest(BlockOp.Discard, 0, undefined, range),
        blockRequest(BlockOp.WriteZeroes, 0, undefined, range),
      ),
    ).toEqual([EOPNOTSUPP, EOPNOTSUPP]);
  });

  it("resetQueue() ends what was in flight and the queue works on", () => {
    for (const kind of ["mmio", "pci"] as const) {
      const { driver, device } = start(kind, { deferred: true }, { queues: 2 });
      const lost = blockRequest(BlockOp.Write, 0, bytes(1));
      driver.submitTo(1, [lost]);
      expect(driver.resetQueue(1)).toBe(0);
      driver.poll();
      expect(lost.result).toBe(EIO);
      const kept = blockRequest(BlockOp.Write, 8, bytes(2));
      driver.submitTo(1, [kept]);
      device.step();
      driver.poll();
      expect(kept.result).toBe(0);
    }
  });

  it("data that lies in DMA memory is transferred in place", () => {
    const { driver, ram, disk } = start("mmio");
    const at = ram.alloc(4096, 4096);
    const data = ram.view!(at, 4096);
    data.fill(9);
    run(driver, blockRequest(BlockOp.Write, 8, data));
    expect(disk.image[8 * SECTOR_SIZE]).toBe(9);
    disk.image.fill(4, 8 * SECTOR_SIZE, 16 * SECTOR_SIZE);
    run(driver, blockRequest(BlockOp.Read, 8, data));
    expect(data.every((byte) => byte === 4)).toBe(true);
  });

  it("honours size_max and seg_max: a request is cut, or not taken", () => {
    const { driver } = start("mmio", {}, { segmentBytes: 1024, dataBytes: 65_536, queueSize: 8 });
    expect(driver.limits.sectorsMax).toBe(12);
    const { driver: wide } = start("mmio", {}, { segmentBytes: 512, queueSize: 128 });
    expect(wide.limits.sectorsMax).toBe(126);
  });
});

it("the block driver reads writeback only after FEATURES_OK", () => {
  let isAgreed = false;
  let reads = 0;
  for (const { write, offset, value } of recorded().recorder.log) {
    if (write && offset === Mmio.Status) isAgreed = (value & VirtioStatus.FeaturesOk) !== 0;
    if (write || offset !== Mmio.Config + 32) continue;
    reads++;
    expect(isAgreed).toBe(true);
  }
  expect(reads).toBeGreaterThan(0);
});

/** Without the feature bits, is there a cache to flush? */
const cacheOf = (without: bigint): boolean => start("mmio", { without }).driver.limits.writeCache;

describe("block device", () => {
  it("keeps padding zero and offers FLUSH wherever it offers CONFIG_WCE", () => {
    const { transport, device } = start("mmio");
    expect([33, 57, 58, 59].map((offset) => transport.config(offset, 1))).toEqual([0, 0, 0, 0]);
    for (const without of [0n, BlkFeature.Flush, BlkFeature.ConfigWce]) {
      const { features } = start("mmio", { without }).device;
      if ((features & BlkFeature.ConfigWce) !== 0n) expect(features & BlkFeature.Flush).not.toBe(0n);
    }
    expect(device.features & BlkFeature.Flush).not.toBe(0n);
  });

  it("a flush covers writes that had ended; a failing disk shows as IOERR and the data as zeroes", () => {
    const bus = new SimBus();
    const ram = new SimRam(16 << 20);
    const faults = new FaultPlan([{ kind: "eio-read", from: 4, to: 5 }], 1);
    const disk = new SimDisk({ sectors: SECTORS, atomicBytes: 512, faults });
    const device = new VirtioBlkDevice({ dma: ram, bytes: ram.bytes }, disk);
    const line = bus.line();
    bus.attach(SIM_MMIO_BASE, 0x200, new VirtioMmioWindow(device.virtio, line));
    const driver = probeVirtioBlk(ram, mmioTransport(bus, SIM_MMIO_BASE, line) as VirtioTransport) as VirtioBlk;
    run(driver, blockRequest(BlockOp.Write, 0, bytes(1)));
    run(driver, blockRequest(BlockOp.Flush, 0, undefined));
    expect(disk.crash(() => false)[0]).toBe(1);
    const data = ram.view!(ram.alloc(512, 512), 512);
    data.fill(9);
    expect(run(driver, blockRequest(BlockOp.Read, 4, data))).toEqual([EIO]);
    expect(data.every((byte) => byte === 0)).toBe(true);
  });

  it("without FLUSH accepted writes go through, and the field says so from FEATURES_OK on", () => {
    const { transport } = simVirtio("mmio", { sectors: SECTORS, ramBytes: 1 << 20 });
    transport.setStatus(0);
    transport.accept(VirtioFeature.Version1 | BlkFeature.ConfigWce);
    expect(transport.config(32, 1)).toBe(1);
    transport.setStatus(READY);
    expect(transport.config(32, 1)).toBe(0);
    const { driver, disk } = start("mmio", { without: BlkFeature.Flush | BlkFeature.ConfigWce });
    run(driver, blockRequest(BlockOp.Write, 0, bytes(7)));
    expect(disk.crash(() => false)[0]).toBe(7);
  });

  it("refuses every write on a read-only disk with IOERR and writes nothing", () => {
    const { driver, disk } = start("mmio", { readOnly: true, without: BlkFeature.ReadOnly });
    expect(run(driver, blockRequest(BlockOp.Write, 0, bytes(7)))).toEqual([EIO]);
    expect(disk.image[0]).toBe(0);
  });
});

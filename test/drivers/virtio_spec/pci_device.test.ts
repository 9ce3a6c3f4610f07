/** Statements of VirtIO 4.1 for devices; docs/virtio_spec.md maps each to its section. */
import { SimBus, blockRequest } from "../../../drivers/index.ts";
import { Cfg, MSIX_CONTROL_ENABLE } from "../../../drivers/pci/pci_layout.ts";
import { Common, NO_VECTOR } from "../../../drivers/virtio/pci_layout.ts";
import { SIM_BDF } from "../../../harness/blk/sim_devices.ts";
import { BlockOp } from "../../../kernel/abi/block.ts";
import type { Width } from "../../../kernel/abi/bus.ts";
import type { PhysAddr } from "../../../kernel/abi/units.ts";
import { VirtioStatus } from "../../../kernel/abi/virtio.ts";
import { describe, expect, it } from "vitest";
import { SECTORS, READY, start, bytes } from "./machine.ts";

const common = (
  bus: SimBus,
): { get: (offset: number, width: Width) => number; put: (offset: number, width: Width, value: number) => void } => {
  const base = (bus.configRead(SIM_BDF, Cfg.Bar0 + 16, 4) & ~0xf) >>> 0;
  return {
    get: (offset, width) => bus.read(width, (base + offset) as PhysAddr),
    put: (offset, width, value) => bus.write(width, (base + offset) as PhysAddr, value),
  };
};

describe("PCI device", () => {
  it("has its vendor and device id, and shows accepted features", () => {
    const { bus, driver } = start("pci");
    expect([bus.configRead(SIM_BDF, Cfg.VendorId, 2), bus.configRead(SIM_BDF, Cfg.DeviceId, 2)]).toEqual([
      0x1af4, 0x1042,
    ]);
    const { get, put } = common(bus);
    const word = (select: number): bigint => {
      put(Common.DriverFeatureSelect, 4, select);
      return BigInt(get(Common.DriverFeature, 4));
    };
    expect(word(0) | (word(1) << 32n)).toBe(driver.features);
  });

  it("presents capabilities of all five kinds, aligned, with room for every queue's notification", () => {
    const { bus } = start("pci");
    const seen = new Map<number, { offset: number; length: number; at: number }>();
    for (let at = bus.configRead(SIM_BDF, Cfg.Capabilities, 1); at !== 0; at = bus.configRead(SIM_BDF, at + 1, 1)) {
      if (bus.configRead(SIM_BDF, at, 1) !== 9) continue;
      const offset = bus.configRead(SIM_BDF, at + 8, 4);
      seen.set(bus.configRead(SIM_BDF, at + 3, 1), { offset, length: bus.configRead(SIM_BDF, at + 12, 4), at });
      expect(bus.configRead(SIM_BDF, at + 2, 1)).toBeGreaterThanOrEqual(16);
    }
    expect([...seen.keys()].sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5]);
    for (const type of [1, 2, 4]) expect(seen.get(type)!.offset % 4).toBe(0);
    const multiplier = bus.configRead(SIM_BDF, seen.get(2)!.at + 16, 4);
    const { get, put } = common(bus);
    for (let queue = 0; queue < get(Common.NumQueues, 2); queue++) {
      put(Common.QueueSelect, 2, queue);
      expect(get(Common.QueueNotifyOff, 2) * multiplier + 2).toBeLessThanOrEqual(seen.get(2)!.length);
    }
    put(Common.QueueSelect, 2, 0);
    const size = get(Common.QueueSize, 2);
    expect(size > 0 && (size & (size - 1)) === 0).toBe(true);
    put(Common.QueueSelect, 2, 99);
    expect(get(Common.QueueSize, 2)).toBe(0);
  });

  it("keeps 64-bit fields in independent halves, and unmaps all vectors at reset", () => {
    const { bus, driver } = start("pci");
    const { get, put } = common(bus);
    expect(get(Common.QueueMsixVector, 2)).not.toBe(NO_VECTOR);
    driver.close();
    put(Common.QueueSelect, 2, 0);
    expect([get(Common.ConfigMsixVector, 2), get(Common.QueueMsixVector, 2), get(Common.QueueEnable, 2)]).toEqual([
      NO_VECTOR,
      NO_VECTOR,
      0,
    ]);
    put(Common.QueueDesc + 4, 4, 7);
    put(Common.QueueDesc, 4, 0x1000);
    expect([get(Common.QueueDesc, 4), get(Common.QueueDesc + 4, 4)]).toEqual([0x1000, 7]);
    put(Common.QueueMsixVector, 2, 3000);
    expect(get(Common.QueueMsixVector, 2)).toBe(NO_VECTOR);
  });

  it("delivers no interrupt for an unmapped event, and clears the ISR byte as it is read", () => {
    const { bus, driver, device } = start("pci");
    const { put } = common(bus);
    put(Common.ConfigMsixVector, 2, NO_VECTOR);
    device.resize(SECTORS / 2);
    driver.wait(0);
    expect(driver.limits.sectors).toBe(SECTORS);
    const base = (bus.configRead(SIM_BDF, Cfg.Bar0 + 16, 4) & ~0xf) >>> 0;
    expect(bus.configRead(SIM_BDF, Cfg.Status, 2) & 8).toBe(8);
    const isr = (): number => bus.read(1, (base + 0x1000) as PhysAddr);
    expect([isr(), isr()]).toEqual([2, 0]);
    expect(bus.configRead(SIM_BDF, Cfg.Status, 2) & 8).toBe(0);
  });

  it("gives access to its registers through the configuration window, reading and writing", () => {
    const { bus } = start("pci");
    let window = 0;
    for (let at = bus.configRead(SIM_BDF, Cfg.Capabilities, 1); at !== 0; at = bus.configRead(SIM_BDF, at + 1, 1))
      if (bus.configRead(SIM_BDF, at, 1) === 9 && bus.configRead(SIM_BDF, at + 3, 1) === 5) window = at;
    const access = (offset: number, width: 1 | 2 | 4): void => {
      bus.configWrite(SIM_BDF, window + 4, 1, 4);
      bus.configWrite(SIM_BDF, window + 8, 4, offset);
      bus.configWrite(SIM_BDF, window + 12, 4, width);
    };
    access(Common.DeviceStatus, 1);
    expect(bus.configRead(SIM_BDF, window + 16, 1)).toBe(READY | VirtioStatus.DriverOk);
    access(Common.QueueSelect, 2);
    bus.configWrite(SIM_BDF, window + 16, 2, 1);
    expect(common(bus).get(Common.QueueSelect, 2)).toBe(1);
  });

  it("holds interrupts of masked vectors back until they are unmasked", () => {
    const { bus, driver } = start("pci");
    const msix = ((): number => {
      let at = bus.configRead(SIM_BDF, Cfg.Capabilities, 1);
      while (bus.configRead(SIM_BDF, at, 1) !== 0x11) at = bus.configRead(SIM_BDF, at + 1, 1);
      return at;
    })();
    const table = (bus.configRead(SIM_BDF, Cfg.Bar0 + 4, 4) & ~0xf) >>> 0;
    expect(bus.configRead(SIM_BDF, msix + 2, 2) & MSIX_CONTROL_ENABLE).not.toBe(0);
    bus.write(4, (table + 16 + 12) as PhysAddr, 1);
    const write = blockRequest(BlockOp.Write, 0, bytes(1));
    driver.submit([write]);
    // The driver asks for an interrupt before it waits; by then the buffer is used and must be taken by polling.
    expect(driver.wait(1e6)).toBe(true);
    driver.poll();
    expect(write.result).toBe(0);
  });
});

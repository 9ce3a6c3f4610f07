/** Statements of VirtIO 4.2 and 2.1-3.1; docs/virtio_spec.md maps each to its section. */
import { blockRequest, mmioTransport } from "../../../drivers/index.ts";
import { Mmio } from "../../../drivers/virtio/mmio_layout.ts";
import { SIM_MMIO_BASE, simVirtio } from "../../../harness/blk/sim_devices.ts";
import { BlockOp } from "../../../kernel/abi/block.ts";
import type { MmioBus, Width } from "../../../kernel/abi/bus.ts";
import { ENOSYS } from "../../../kernel/abi/errno.ts";
import type { PhysAddr } from "../../../kernel/abi/units.ts";
import { VirtioFeature, VirtioStatus } from "../../../kernel/abi/virtio.ts";
import type { VirtioTransport } from "../../../kernel/abi/virtio.ts";
import { describe, expect, it } from "vitest";
import { SECTORS, READY, start, bytes, recorded, WRITE_ONLY, READ_ONLY } from "./machine.ts";

describe("MMIO driver", () => {
  it("accesses only registers that exist, in their direction, 32 bits wide", () => {
    const { recorder } = recorded();
    const known = new Set<number>(Object.values(Mmio));
    known.delete(Mmio.Config);
    for (const { write, width, offset } of recorder.log) {
      if (offset >= Mmio.Config) continue;
      expect(known.has(offset), offset.toString(16)).toBe(true);
      expect((write ? READ_ONLY : WRITE_ONLY).includes(offset), offset.toString(16)).toBe(false);
      expect(width).toBe(4);
    }
  });

  it("reads configuration fields at their own width, aligned", () => {
    const { recorder } = recorded();
    const fields = recorder.log.filter(({ offset }) => offset >= Mmio.Config);
    expect(fields.length).toBeGreaterThan(5);
    const widths: Readonly<Record<number, Width>> = { 0: 4, 4: 4, 8: 4, 12: 4, 20: 4, 32: 1, 34: 2, 36: 4, 48: 4 };
    for (const { offset, width } of fields) expect(width).toBe(widths[offset - Mmio.Config]);
  });

  it("checks magic, version and device id first, and leaves what it does not know alone", () => {
    for (const [offset, value] of [
      [Mmio.MagicValue, 0x12345678],
      [Mmio.Version, 1],
      [Mmio.DeviceId, 0],
    ] as const) {
      const seen: number[] = [];
      const bus: MmioBus = {
        read: (_width, addr) => {
          seen.push(addr);
          if (addr === offset) return value;
          return { [Mmio.MagicValue]: 0x74726976, [Mmio.Version]: 2, [Mmio.DeviceId]: 2 }[addr as number] ?? 0;
        },
        write: () => {
          throw new Error("a register was written");
        },
      };
      expect(mmioTransport(bus, 0 as PhysAddr, { wait: () => false })).toBe(ENOSYS);
      expect(Math.max(...seen)).toBeLessThanOrEqual(offset);
    }
  });

  it("selects a feature word before it reads or writes it, and a queue before its registers", () => {
    const { recorder } = recorded();
    const { log } = recorder;
    const before = (at: number, offset: number): boolean =>
      log.slice(0, at).some((one) => one.write && one.offset === offset);
    for (const [at, { offset, write }] of log.entries()) {
      if (!write && offset === Mmio.DeviceFeatures) expect(log[at - 1]!.offset).toBe(Mmio.DeviceFeaturesSel);
      if (write && offset === Mmio.DriverFeatures) expect(log[at - 1]!.offset).toBe(Mmio.DriverFeaturesSel);
      if (write && offset === Mmio.QueueNum) expect(before(at, Mmio.QueueSel)).toBe(true);
    }
  });

  it("sets a queue up before it is ready, not larger than offered, and never touches a ready one", () => {
    const { recorder } = recorded();
    let isReady = false;
    let max = 0;
    for (const { write, offset, value } of recorder.log) {
      if (!write && offset === Mmio.QueueNumMax) max = value;
      if (write && offset === Mmio.QueueNum) expect(value).toBeLessThanOrEqual(max);
      const isSetup = offset === Mmio.QueueNum || (offset >= Mmio.QueueDescLow && offset <= Mmio.QueueDeviceHigh);
      if (isSetup) expect(isReady).toBe(false);
      if (write && offset === Mmio.QueueReady) isReady = value === 1;
      if (write && (offset === Mmio.QueueReset || (offset === Mmio.Status && value === 0))) isReady = false;
    }
    expect(isReady).toBe(true);
  });

  it("acknowledges exactly what was pending, and ignores undefined bits", () => {
    let acked = -1;
    let pending = 0xfd;
    const bus: MmioBus = {
      read: (_width, addr) =>
        ({ [Mmio.MagicValue]: 0x74726976, [Mmio.Version]: 2, [Mmio.DeviceId]: 2, [Mmio.InterruptStatus]: pending })[
          addr as number
        ] ?? 0,
      write: (_width, addr, value) => {
        if (addr === Mmio.InterruptAck) acked = value;
      },
    };
    const transport = mmioTransport(bus, 0 as PhysAddr, { wait: () => true }) as VirtioTransport;
    expect(transport.waitIrq(0, 0)).toBe(true);
    expect(acked).toBe(1);
    pending = 0xfc;
    acked = -1;
    expect(transport.waitIrq(0, 0)).toBe(false);
    expect(acked).toBe(-1);
  });
});

const registers = (): { at: (offset: number) => number; put: (offset: number, value: number) => void } & ReturnType<
  typeof simVirtio
> => {
  const sim = simVirtio("mmio", { sectors: SECTORS, ramBytes: 1 << 20 });
  return {
    ...sim,
    at: (offset) => sim.bus.read(4, (SIM_MMIO_BASE + offset) as PhysAddr),
    put: (offset, value) => sim.bus.write(4, (SIM_MMIO_BASE + offset) as PhysAddr, value),
  };
};

describe("MMIO device", () => {
  it("presents magic, version 2 and its id, and features by 32 bits", () => {
    const { at, put, device } = registers();
    expect([at(Mmio.MagicValue), at(Mmio.Version), at(Mmio.DeviceId)]).toEqual([0x74726976, 2, 2]);
    put(Mmio.DeviceFeaturesSel, 1);
    expect(BigInt(at(Mmio.DeviceFeatures))).toBe(device.features >> 32n);
    put(Mmio.DeviceFeaturesSel, 2);
    expect(at(Mmio.DeviceFeatures)).toBe(0);
  });

  it("shows an event until it is acknowledged, and clears events and queues at reset", () => {
    const { driver, bus, device } = start("mmio");
    const at = (offset: number): number => bus.read(4, (SIM_MMIO_BASE + offset) as PhysAddr);
    device.resize(SECTORS / 2);
    expect(at(Mmio.InterruptStatus)).toBe(2);
    expect(at(Mmio.InterruptStatus)).toBe(2);
    bus.write(4, (SIM_MMIO_BASE + Mmio.InterruptAck) as PhysAddr, 2);
    expect(at(Mmio.InterruptStatus)).toBe(0);
    device.resize(SECTORS);
    expect(at(Mmio.QueueReady)).toBe(1);
    driver.close();
    expect([at(Mmio.InterruptStatus), at(Mmio.QueueReady), at(Mmio.Status)]).toEqual([0, 0, 0]);
  });

  it("changes the generation when the configuration has changed, also after 256 changes", () => {
    const { transport, device } = start("mmio");
    for (const changes of [1, 256]) {
      transport.config(0, 4);
      const before = transport.configGeneration();
      for (let i = 0; i < changes; i++) device.resize(SECTORS - 8 * i);
      transport.config(0, 4);
      expect(transport.configGeneration()).not.toBe(before);
    }
  });

  it("stops a queue that is reset or not ready: nothing of it is read", () => {
    for (const register of [Mmio.QueueReset, Mmio.QueueReady]) {
      const { driver, bus, device } = start("mmio", { deferred: true });
      driver.submit([blockRequest(BlockOp.Write, 0, bytes(1))]);
      bus.write(4, (SIM_MMIO_BASE + Mmio.QueueSel) as PhysAddr, 0);
      bus.write(4, (SIM_MMIO_BASE + register) as PhysAddr, register === Mmio.QueueReset ? 1 : 0);
      expect(bus.read(4, (SIM_MMIO_BASE + Mmio.QueueReset) as PhysAddr)).toBe(0);
      expect(bus.read(4, (SIM_MMIO_BASE + Mmio.QueueReady) as PhysAddr)).toBe(0);
      device.step();
      expect(driver.poll()).toEqual([]);
    }
  });

  it("accepts FEATURES_OK only for offered features with version 1", () => {
    for (const [features, isAccepted] of [
      [VirtioFeature.Version1, true],
      [0n, false],
      [VirtioFeature.Version1 | (1n << 60n), false],
    ] as const) {
      const { transport } = simVirtio("mmio", { sectors: SECTORS, ramBytes: 1 << 20 });
      transport.setStatus(0);
      transport.accept(features);
      transport.setStatus(READY);
      expect((transport.status() & VirtioStatus.FeaturesOk) !== 0).toBe(isAccepted);
    }
  });

  it("consumes nothing before DRIVER_OK", () => {
    const { device, transport } = simVirtio("mmio", { sectors: SECTORS, ramBytes: 1 << 20 });
    transport.setStatus(READY);
    transport.notify(0);
    device.step();
    expect(device.virtio.isRunning).toBe(false);
  });
});

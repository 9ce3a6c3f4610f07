/** Statements of VirtIO 4.1 for drivers; docs/virtio_spec.md maps each to its section. */
import {
  SimBus,
  SimDisk,
  SimRam,
  VirtioBlkDevice,
  attachVirtioPci,
  blockRequest,
  pciTransport,
  probeVirtioBlk,
} from "../../../drivers/index.ts";
import type { VirtioBlk } from "../../../drivers/index.ts";
import { Cfg } from "../../../drivers/pci/pci_layout.ts";
import { Common, NO_VECTOR } from "../../../drivers/virtio/pci_layout.ts";
import { SIM_BDF, barWindow } from "../../../harness/blk/sim_devices.ts";
import { BlockOp } from "../../../kernel/abi/block.ts";
import type { MmioBus, Width } from "../../../kernel/abi/bus.ts";
import { EIO, ENOSYS } from "../../../kernel/abi/errno.ts";
import type { PhysAddr } from "../../../kernel/abi/units.ts";
import type { VirtioTransport } from "../../../kernel/abi/virtio.ts";
import { describe, expect, it } from "vitest";
import { SECTORS, start, run, bytes } from "./machine.ts";

const idOf = (vendor: number, device: number): number | VirtioTransport => {
  const { bus } = start("pci");
  const host = {
    configRead: (bdf: number, offset: number, width: 1 | 2 | 4): number =>
      ({ [Cfg.VendorId]: vendor, [Cfg.DeviceId]: device, [Cfg.RevisionId]: 77 })[offset] ??
      bus.configRead(bdf, offset, width),
    configWrite: bus.configWrite.bind(bus),
    mmio: bus.mmio,
  };
  return pciTransport(host, SIM_BDF, barWindow(), [bus.line()]);
};

describe("PCI driver", () => {
  it("finds the first usable capability of each kind, passing over unknown types and reserved BARs", () => {
    const { bus } = start("pci");
    const real = { configRead: bus.configRead.bind(bus), configWrite: bus.configWrite.bind(bus), mmio: bus.mmio };
    // The device's list, with two capabilities before it that must be ignored, in unused space.
    const extra = new Map<number, number>();
    const put = (at: number, values: readonly number[]): void => {
      for (const [i, value] of values.entries()) extra.set(at + i, value);
    };
    const first = real.configRead(SIM_BDF, Cfg.Capabilities, 1);
    put(Cfg.Capabilities, [0xd0]);
    put(0xd0, [0x09, 0xe4, 16, 200, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0]);
    put(0xe4, [0x09, first, 16, 1, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0]);
    const host = {
      ...real,
      configRead: (bdf: number, offset: number, width: 1 | 2 | 4): number => {
        if (!extra.has(offset)) return real.configRead(bdf, offset, width);
        let value = 0;
        for (let i = width - 1; i >= 0; i--) value = value * 256 + (extra.get(offset + i) ?? 0);
        return value;
      },
    };
    const transport = pciTransport(host, SIM_BDF, barWindow(), [bus.line()]);
    expect(typeof transport).toBe("object");
    expect((transport as VirtioTransport).queueMax(0)).toBeGreaterThan(0);
  });

  it("ends its walk through capabilities that loop", () => {
    const host = {
      configRead: (_bdf: number, offset: number): number =>
        ({ [Cfg.VendorId]: 0x1af4, [Cfg.DeviceId]: 0x1042, [Cfg.Status]: 0x10, [Cfg.Capabilities]: 0x40 })[offset] ??
        (offset === 0x41 ? 0x40 : 9),
      configWrite: (): void => {},
      mmio: { read: (): number => 0, write: (): void => {} },
    };
    expect(pciTransport(host, 0, barWindow(), [])).toBe(EIO);
  });

  it("matches modern and transitional ids of any revision, and no others", () => {
    for (const device of [0x1042, 0x1001]) expect((idOf(0x1af4, device) as VirtioTransport).deviceId).toBe(2);
    for (const [vendor, device] of [
      [0x8086, 0x1042],
      [0x1af4, 0x1040],
      [0x1af4, 0x1080],
      [0x1af4, 0x103f],
    ] as const)
      expect(idOf(vendor, device)).toBe(ENOSYS);
  });

  it("does not use a queue whose vector was refused or whose notification lies outside the block", () => {
    for (const [offset, lie] of [
      [Common.QueueMsixVector, NO_VECTOR],
      [Common.QueueNotifyOff, 5000],
    ] as const) {
      const { bus, ram } = start("pci");
      const base = bus.configRead(SIM_BDF, Cfg.Bar0 + 16, 4) & ~0xf;
      const mmio: MmioBus = {
        read: (width, addr) => (addr === (base >>> 0) + offset ? lie : bus.read(width, addr)),
        write: (width, addr, value) => bus.write(width, addr, value),
      };
      const host = { configRead: bus.configRead.bind(bus), configWrite: bus.configWrite.bind(bus), mmio };
      const transport = pciTransport(host, SIM_BDF, barWindow(), [bus.messageLine(), bus.messageLine()]);
      expect(probeVirtioBlk(ram, transport as VirtioTransport)).toBe(EIO);
    }
  });

  it("works without MSI-X, by the ISR byte, with one interrupt for queues and configuration", () => {
    const bus = new SimBus();
    const ram = new SimRam(16 << 20);
    const disk = new SimDisk({ sectors: SECTORS });
    const device = new VirtioBlkDevice({ dma: ram, bytes: ram.bytes }, disk);
    const line = bus.line();
    attachVirtioPci(bus, SIM_BDF, device.virtio, line);
    const transport = pciTransport(bus, SIM_BDF, barWindow(), [line]) as VirtioTransport;
    const driver = probeVirtioBlk(ram, transport, { queueSize: 16 }) as VirtioBlk;
    const write = blockRequest(BlockOp.Write, 0, bytes(3));
    driver.submit([write]);
    device.resize(SECTORS / 2);
    // While used buffers are there wait() does not look at the configuration.
    driver.poll();
    expect(driver.wait(1e6)).toBe(true);
    expect([write.result, driver.limits.sectors]).toEqual([0, SECTORS / 2]);
    expect(line.raises).toBeGreaterThan(0);
  });

  it("takes a single vector for everything", () => {
    const bus = new SimBus();
    const ram = new SimRam(16 << 20);
    const device = new VirtioBlkDevice({ dma: ram, bytes: ram.bytes }, new SimDisk({ sectors: SECTORS }));
    attachVirtioPci(bus, SIM_BDF, device.virtio, bus.line());
    const transport = pciTransport(bus, SIM_BDF, barWindow(), [bus.messageLine()]) as VirtioTransport;
    const driver = probeVirtioBlk(ram, transport, { queueSize: 16 }) as VirtioBlk;
    device.resize(SECTORS / 2);
    const write = blockRequest(BlockOp.Write, 0, bytes(3));
    driver.submit([write]);
    driver.poll();
    expect(driver.wait(1e6)).toBe(true);
    expect([write.result, driver.limits.sectors]).toEqual([0, SECTORS / 2]);
  });
});

describe("PCI driver's accesses", () => {
  interface Access {
    readonly kind: "common" | "config";
    readonly write: boolean;
    readonly offset: number;
    readonly width: number;
    readonly value: number;
  }

  const WIDTHS: Readonly<Record<number, number>> = {
    [Common.DeviceFeatureSelect]: 4,
    [Common.DeviceFeature]: 4,
    [Common.DriverFeatureSelect]: 4,
    [Common.DriverFeature]: 4,
    [Common.ConfigMsixVector]: 2,
    [Common.NumQueues]: 2,
    [Common.DeviceStatus]: 1,
    [Common.ConfigGeneration]: 1,
    [Common.QueueSelect]: 2,
    [Common.QueueSize]: 2,
    [Common.QueueMsixVector]: 2,
    [Common.QueueEnable]: 2,
    [Common.QueueNotifyOff]: 2,
    [Common.QueueDesc]: 4,
    [Common.QueueDesc + 4]: 4,
    [Common.QueueDriver]: 4,
    [Common.QueueDriver + 4]: 4,
    [Common.QueueDevice]: 4,
    [Common.QueueDevice + 4]: 4,
    [Common.QueueReset]: 2,
  };
  const READ_ONLY_COMMON: readonly number[] = [
    Common.DeviceFeature,
    Common.NumQueues,
    Common.ConfigGeneration,
    Common.QueueNotifyOff,
  ];

  /** A life of the driver: start, work, a queue reset, a restart. `stretch` lies about lengths of capabilities. */
  function life(stretch: number): { log: readonly Access[]; caps: readonly { at: number; id: number }[] } {
    const bus = new SimBus();
    const ram = new SimRam(16 << 20);
    const device = new VirtioBlkDevice(
      { dma: ram, bytes: ram.bytes },
      new SimDisk({ sectors: SECTORS, atomicBytes: 512 }),
    );
    attachVirtioPci(bus, SIM_BDF, device.virtio, bus.line());
    const log: Access[] = [];
    const caps: { at: number; id: number }[] = [];
    for (let at = bus.configRead(SIM_BDF, Cfg.Capabilities, 1); at !== 0; at = bus.configRead(SIM_BDF, at + 1, 1))
      caps.push({ at, id: bus.configRead(SIM_BDF, at, 1) });
    const isLength = (offset: number): boolean => caps.some(({ at, id }) => id === 9 && offset === at + 12);
    const isCapLen = (offset: number): boolean => caps.some(({ at, id }) => id === 9 && offset === at + 2);
    const base = (): number => (bus.configRead(SIM_BDF, Cfg.Bar0 + 16, 4) & ~0xf) >>> 0;
    const note = (write: boolean, width: number, addr: number, value: number): void => {
      const offset = addr - base();
      if (offset >= 0 && offset < 0x1000) log.push({ kind: "common", write, offset, width, value });
    };
    const host = {
      configRead: (bdf: number, offset: number, width: 1 | 2 | 4): number =>
        bus.configRead(bdf, offset, width) +
        (isLength(offset) ? stretch * 0x100000 : isCapLen(offset) ? stretch * 64 : 0),
      configWrite: (bdf: number, offset: number, width: 1 | 2 | 4, value: number): void => {
        log.push({ kind: "config", write: true, offset, width, value });
        bus.configWrite(bdf, offset, width, value);
      },
      mmio: {
        read: (width: Width, addr: PhysAddr): number => {
          const value = bus.read(width, addr);
          note(false, width, addr, value);
          return value;
        },
        write: (width: Width, addr: PhysAddr, value: number): void => {
          note(true, width, addr, value);
          bus.write(width, addr, value);
        },
      },
    };
    const lines = [bus.messageLine(), bus.messageLine()];
    const transport = pciTransport(host, SIM_BDF, barWindow(), lines) as VirtioTransport;
    const driver = probeVirtioBlk(ram, transport, { queueSize: 24 }) as VirtioBlk;
    run(driver, blockRequest(BlockOp.Write, 0, bytes(1)));
    expect(driver.resetQueue(0)).toBe(0);
    expect(driver.restart()).toBe(0);
    run(driver, blockRequest(BlockOp.Write, 0, bytes(1)));
    return { log, caps };
  }

  it("have each register's own width, and write no read-only one", () => {
    const accesses = life(0).log.filter(({ kind }) => kind === "common");
    expect(accesses.length).toBeGreaterThan(60);
    for (const { offset, width, write } of accesses) {
      expect(width, offset.toString(16)).toBe(WIDTHS[offset]);
      if (write) expect(READ_ONLY_COMMON.includes(offset), offset.toString(16)).toBe(false);
    }
  });

  it("set a queue's fields before enabling it, with a size that is a power of two, and never disable it", () => {
    let set = new Set<number>();
    let enables = 0;
    for (const { kind, write, offset, value } of life(0).log) {
      if (kind !== "common" || !write) continue;
      if (offset === Common.QueueSelect) set = new Set();
      set.add(offset);
      if (offset === Common.QueueSize) expect(value > 0 && (value & (value - 1)) === 0).toBe(true);
      if (offset !== Common.QueueEnable) continue;
      enables++;
      expect(value).toBe(1);
      for (const field of [Common.QueueSize, Common.QueueDesc, Common.QueueDriver, Common.QueueDevice])
        expect(set.has(field)).toBe(true);
    }
    expect(enables).toBe(3);
  });

  it("wait for status 0 after a reset, and for queue_reset 0 after a queue's", () => {
    const { log } = life(0);
    let resets = 0;
    for (const [at, { kind, write, offset, value }] of log.entries()) {
      const isReset = kind === "common" && write && offset === Common.DeviceStatus && value === 0;
      const isQueueReset = kind === "common" && write && offset === Common.QueueReset;
      if (!isReset && !isQueueReset) continue;
      resets++;
      const next = log.slice(at + 1).find((one) => one.kind === "common" && one.offset === offset);
      expect([next!.write, next!.value]).toEqual([false, 0]);
    }
    expect(resets).toBe(3);
  });

  it("write nothing into a capability but MSI-X's control word, whatever lengths the capabilities claim", () => {
    for (const stretch of [0, 1]) {
      const { log, caps } = life(stretch);
      const msix = caps.find(({ id }) => id === 0x11)!.at;
      const written = log.filter(({ kind, offset }) => kind === "config" && offset >= Cfg.HeaderEnd);
      expect(written.map(({ offset }) => offset)).toEqual([msix + 2]);
    }
  });
});

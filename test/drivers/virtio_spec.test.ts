/** Statements of the VirtIO specification that have no test elsewhere; docs/virtio_spec.md maps each to its section. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  FaultPlan,
  SimBus,
  SimDisk,
  SimRam,
  VirtioBlkDevice,
  VirtioMmioWindow,
  attachVirtioPci,
  blockRequest,
  mmioTransport,
  pciTransport,
  pollUntilEnded,
  probeVirtioBlk,
} from "../../drivers/index.ts";
import type { VirtioBlk, VirtioBlkDeviceOptions, VirtioBlkOptions } from "../../drivers/index.ts";
import { BlkFeature } from "../../drivers/virtio/blk_format.ts";
import { Mmio } from "../../drivers/virtio/mmio_layout.ts";
import { Common, NO_VECTOR } from "../../drivers/virtio/pci_layout.ts";
import { Cfg, MSIX_CONTROL_ENABLE } from "../../drivers/pci/pci_layout.ts";
import { RingView } from "../../harness/blk/ring_view.ts";
import type { SeenChain } from "../../harness/blk/ring_view.ts";
import { SIM_BDF, SIM_MMIO_BASE, barWindow, simVirtio } from "../../harness/blk/sim_devices.ts";
import { BlockOp, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockRequest } from "../../kernel/abi/block.ts";
import type { MmioBus, Width } from "../../kernel/abi/bus.ts";
import { EIO, ENOSYS, EOPNOTSUPP } from "../../kernel/abi/errno.ts";
import type { PhysAddr } from "../../kernel/abi/units.ts";
import { VirtioFeature, VirtioStatus } from "../../kernel/abi/virtio.ts";
import type { VirtioTransport } from "../../kernel/abi/virtio.ts";

const SECTORS = 1024;
const READY = VirtioStatus.Acknowledge | VirtioStatus.Driver | VirtioStatus.FeaturesOk;

function start(
  kind: "mmio" | "pci",
  device: Partial<VirtioBlkDeviceOptions> = {},
  driver: Partial<VirtioBlkOptions> = {},
): ReturnType<typeof simVirtio> & { driver: VirtioBlk } {
  const sim = simVirtio(kind, { sectors: SECTORS, ramBytes: 16 << 20 }, device);
  const probed = probeVirtioBlk(sim.ram, sim.transport, { queueSize: 16, ...driver });
  if (typeof probed === "number") throw new Error(`the driver does not start: ${probed}`);
  return { ...sim, driver: probed };
}

function run(driver: VirtioBlk, ...requests: BlockRequest[]): (number | undefined)[] {
  expect(pollUntilEnded(driver, requests, () => driver.wait(1e6), 100)).toBe(0);
  return requests.map(({ result }) => result);
}

const bytes = (value: number, sectors = 1): Uint8Array => new Uint8Array(sectors * SECTOR_SIZE).fill(value);

/** Register accesses of a driver, as they came. */
class Recorder implements MmioBus {
  readonly log: { write: boolean; width: Width; offset: number; value: number }[] = [];
  readonly #bus: MmioBus;
  readonly #base: number;

  constructor(bus: MmioBus, base: number) {
    this.#bus = bus;
    this.#base = base;
  }

  read(width: Width, addr: PhysAddr): number {
    const value = this.#bus.read(width, addr);
    this.log.push({ write: false, width, offset: addr - this.#base, value });
    return value;
  }

  write(width: Width, addr: PhysAddr, value: number): void {
    this.log.push({ write: true, width, offset: addr - this.#base, value });
    this.#bus.write(width, addr, value);
  }
}

function recorded(): { recorder: Recorder; driver: VirtioBlk } {
  const bus = new SimBus();
  const ram = new SimRam(16 << 20);
  const device = new VirtioBlkDevice(
    { dma: ram, bytes: ram.bytes },
    new SimDisk({ sectors: SECTORS, atomicBytes: 512 }),
  );
  const line = bus.line();
  bus.attach(SIM_MMIO_BASE, 0x200, new VirtioMmioWindow(device.virtio, line));
  const recorder = new Recorder(bus, SIM_MMIO_BASE);
  const transport = mmioTransport(recorder, SIM_MMIO_BASE, line);
  if (typeof transport === "number") throw new Error("no device");
  const driver = probeVirtioBlk(ram, transport, { queueSize: 16 });
  if (typeof driver === "number") throw new Error("the driver does not start");
  run(driver, blockRequest(BlockOp.Write, 0, bytes(1)), blockRequest(BlockOp.Flush, 0, undefined));
  driver.setWriteCache(false);
  driver.resetQueue(0);
  return { recorder, driver };
}

const WRITE_ONLY: readonly number[] = [
  Mmio.DeviceFeaturesSel,
  Mmio.DriverFeatures,
  Mmio.DriverFeaturesSel,
  Mmio.QueueSel,
  Mmio.QueueNum,
  Mmio.QueueNotify,
  Mmio.InterruptAck,
  Mmio.QueueDescLow,
  Mmio.QueueDescHigh,
  Mmio.QueueDriverLow,
  Mmio.QueueDriverHigh,
  Mmio.QueueDeviceLow,
  Mmio.QueueDeviceHigh,
];
const READ_ONLY: readonly number[] = [
  Mmio.MagicValue,
  Mmio.Version,
  Mmio.DeviceId,
  Mmio.VendorId,
  Mmio.DeviceFeatures,
  Mmio.QueueNumMax,
  Mmio.InterruptStatus,
  Mmio.ConfigGeneration,
];

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

const common = (
  bus: SimBus,
): { get: (offset: number, width: Width) => number; put: (offset: number, width: Width, value: number) => void } => {
  const base = (bus.configRead(SIM_BDF, Cfg.Bar0 + 16, 4) & ~0xf) >>> 0;
  return {
    get: (offset, width) => bus.read(width, (base + offset) as PhysAddr),
    put: (offset, width, value) => bus.write(width, (base + offset) as PhysAddr, value),
  };
};

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

it("docs/virtio_spec.md names only tests that exist, and every row names one or a reason", () => {
  const rows = readFileSync("docs/virtio_spec.md", "utf8")
    .split("\n")
    .filter((line) => /^\| [2-5]\./.test(line));
  expect(rows.length).toBeGreaterThan(100);
  const files: Readonly<Record<string, string>> = {
    spec: "test/drivers/virtio_spec.test.ts",
    ring: "test/drivers/ring.test.ts",
    blk: "test/drivers/virtio_blk.test.ts",
    hostile: "test/drivers/hostile.test.ts",
    contract: "test/contract/block_device.ts",
    driver_attacks: "harness/blk/driver_attacks.ts",
    device_attacks: "harness/blk/device_attacks.ts",
  };
  const sources = new Map(Object.entries(files).map(([name, file]) => [name, readFileSync(file, "utf8")]));
  for (const row of rows) {
    const evidence = row.split("|").at(-2)!.trim();
    if (evidence.startsWith("n/a: ")) continue;
    const named = [...evidence.matchAll(/([a-z_]+): "([^"]+)"/g)];
    expect(named.length, row).toBeGreaterThan(0);
    for (const [, file, name] of named) expect(sources.get(file!)?.includes(name!), `${file!}: ${name!}`).toBe(true);
  }
});

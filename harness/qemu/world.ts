/**
 * What a job that runs in the worker gets: the bus of one QEMU, ready for a driver. A job is a module that exports
 * `run(world, args, progress)`; it is synchronous code and can be unloaded at any blocking call by QemuGone.
 */
import type { Dma, IrqLine, MmioBus, PciHost } from "../../kernel/abi/bus.ts";
import type { PhysAddr } from "../../kernel/abi/units.ts";
import { QemuDma, QemuMmio, QemuPci, interceptedIrq, mailboxIrq } from "./bus.ts";
import { QEMU_DEVICES, RAM_BYTES } from "./machines.ts";
import type { QemuDeviceName } from "./machines.ts";
import { Qtest } from "./qtest.ts";

/** PCI memory on machine pc: above RAM, below the I/O APIC. */
const PCI_MEMORY = { next: 0xc000_0000, end: 0xfe00_0000 };
/** Data of vector i's message; unlike anything a wiped mailbox holds. */
const MSI_DATA = 0x1234_0000;
const MAILBOX_BYTES = 8;

export interface QemuWorld {
  readonly name: QemuDeviceName;
  readonly dma: Dma;
  readonly mmio: MmioBus;
  /** Machine pc only. */
  readonly pci: PciHost;
  readonly bdf: number;
  /** Addresses that BARs may take. */
  readonly pciMemory: { next: number; readonly end: number };
  readonly mmioBase: PhysAddr;
  /** The raw image behind the device. */
  readonly image: string;
  /** The device's wire, as the I/O APIC gets it. */
  wire(): IrqLine;
  /** Lines for MSI-X vectors. */
  messages(count: number): readonly IrqLine[];
  /** Commands sent to QEMU so far. */
  commandsSent(): number;
}

export type QemuJob = (world: QemuWorld, args: unknown, progress: (done: number) => void) => unknown;

/** Runs in the worker. The caller closes it. */
export function openWorld(
  name: QemuDeviceName,
  folder: string,
  image: string,
  control: Int32Array,
): QemuWorld & { close(): void } {
  const device = QEMU_DEVICES[name];
  const qtest = new Qtest(`${folder}/q`, control);
  // The first answer says that QEMU is up, and so that the RAM file is there.
  qtest.ask("readb 0x0");
  const dma = new QemuDma(qtest, `${folder}/ram`, RAM_BYTES);
  const pci = new QemuPci(qtest);
  for (const [bdf, offset, value] of device.routing) pci.configWrite(bdf, offset, 1, value);
  return {
    name,
    dma,
    mmio: new QemuMmio(qtest),
    pci,
    bdf: device.bdf,
    mmioBase: device.mmioBase as PhysAddr,
    image,
    pciMemory: { ...PCI_MEMORY },
    wire: () => interceptedIrq(qtest, device.gsi),
    messages: (count) => {
      const mailboxes = dma.alloc(count * MAILBOX_BYTES, MAILBOX_BYTES);
      return Array.from({ length: count }, (_, vector) =>
        mailboxIrq(qtest, dma, (mailboxes + vector * MAILBOX_BYTES) as PhysAddr, MSI_DATA + vector),
      );
    },
    commandsSent: () => qtest.commandsSent,
    close: () => {
      dma.close();
      qtest.close();
    },
  };
}

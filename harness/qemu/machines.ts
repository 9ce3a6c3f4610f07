/**
 * The three QEMU devices that our drivers are checked against, and the exact options that make each of them work with
 * the CPU stopped and no firmware.
 *
 * - QEMU_DEVICES    name -> machine type, device options, where the driver finds it
 * - qemuArgs(...)   the whole command line
 */
/** What is never touched takes no memory. */
export const RAM_BYTES = 512 << 20;
/** First virtio-mmio transport of machine microvm; transport i is at +512 i and on line VIRTIO_MMIO_GSI + i. */
const VIRTIO_MMIO_BASE = 0xfeb0_0000;
/** With `acpi=off,ioapic2=off`: with ACPI it is 16, and a second I/O APIC could not be intercepted. */
const VIRTIO_MMIO_GSI = 5;
/** Slot 5 of bus 0. Its INTA is PIRQA of the PIIX3, slot 1, which firmware would route: here to line 10. */
const PCI_BDF = 5 << 3;
const PIIX3_BDF = 1 << 3;
const PIRQA_ROUTE = 0x60;
const PCI_GSI = 10;

/** What each of the devices answers when it is asked who it is. */
export const QEMU_SERIAL = "orrery-qemu";

export type QemuDeviceName = "qemu-mmio" | "qemu-pci" | "qemu-nvme";

export interface QemuDeviceOptions {
  /** Entries of each virtqueue. */
  readonly queueSize: number;
  readonly queues: number;
  /** Offer the packed ring (VirtIO 1.1). */
  readonly packed: boolean;
}

interface QemuDevice {
  readonly help: string;
  readonly machine: string;
  readonly options: (options: QemuDeviceOptions) => readonly string[];
  readonly mmioBase: number;
  /** Input of the I/O APIC that the device's wire is. */
  readonly gsi: number;
  readonly bdf: number;
  /** Configuration writes that stand in for firmware: bdf, offset, byte. */
  readonly routing: readonly (readonly [bdf: number, offset: number, value: number])[];
}

const onOff = (on: boolean): string => (on ? "on" : "off");
const virtio = (o: QemuDeviceOptions): string =>
  `drive=d0,serial=${QEMU_SERIAL},queue-size=${o.queueSize},num-queues=${o.queues},packed=${onOff(o.packed)}`;

export const QEMU_DEVICES: Readonly<Record<QemuDeviceName, QemuDevice>> = {
  "qemu-mmio": {
    help: "QEMU's virtio-blk on virtio-mmio (machine microvm)",
    machine: "microvm,acpi=off,ioapic2=off,isa-serial=off",
    options: (o) =>
      [
        ["-global", "virtio-mmio.force-legacy=false"],
        ["-device", `virtio-blk-device,bus=virtio-mmio-bus.0,${virtio(o)}`],
      ].flat(),
    mmioBase: VIRTIO_MMIO_BASE,
    gsi: VIRTIO_MMIO_GSI,
    bdf: 0,
    routing: [],
  },
  "qemu-pci": {
    help: "QEMU's virtio-blk on PCI (machine pc)",
    machine: "pc",
    options: (o) => ["-device", `virtio-blk-pci-non-transitional,addr=05.0,${virtio(o)}`],
    mmioBase: 0,
    gsi: PCI_GSI,
    bdf: PCI_BDF,
    routing: [[PIIX3_BDF, PIRQA_ROUTE, PCI_GSI]],
  },
  "qemu-nvme": {
    help: "QEMU's NVMe controller (machine pc)",
    machine: "pc",
    options: () => ["-device", `nvme,drive=d0,serial=${QEMU_SERIAL},addr=05.0`],
    mmioBase: 0,
    gsi: PCI_GSI,
    bdf: PCI_BDF,
    routing: [[PIIX3_BDF, PIRQA_ROUTE, PCI_GSI]],
  },
};

/** `folder` holds the FIFOs q.in and q.out, the RAM file `ram` and the halting BIOS `halt.bin`. */
export function qemuArgs(name: QemuDeviceName, folder: string, drive: string, options: QemuDeviceOptions): string[] {
  const device = QEMU_DEVICES[name];
  return [
    ["-accel", "tcg", "-S", "-nodefaults", "-no-user-config", "-display", "none"],
    ["-machine", `${device.machine},memory-backend=ram`, "-m", `${RAM_BYTES >> 20}M`],
    ["-object", `memory-backend-file,id=ram,size=${RAM_BYTES >> 20}M,mem-path=${folder}/ram,share=on`],
    ["-bios", `${folder}/halt.bin`],
    // Without a log of none every command is echoed to standard error.
    ["-qtest-log", "none", "-qtest", `pipe:${folder}/q`],
    ["-drive", `if=none,id=d0,${drive}`],
    device.options(options),
  ].flat();
}

/** 64 KiB of `hlt`, with `cli; hlt; jmp -3` at the reset vector: the CPU is stopped, but QEMU wants a BIOS. */
export function haltBios(): Uint8Array {
  const bios = new Uint8Array(65_536).fill(0xf4);
  bios.set([0xfa, 0xf4, 0xeb, 0xfd], 0xfff0);
  return bios;
}

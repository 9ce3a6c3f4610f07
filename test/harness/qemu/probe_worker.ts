/**
 * Jobs for the tests of the QEMU bus: registers, memory, interrupts, and ways to hang. No driver is involved.
 */
import type { QemuWorld } from "../../../harness/qemu/world.ts";
import type { PhysAddr } from "../../../kernel/abi/units.ts";

const addr = (value: number): PhysAddr => value as PhysAddr;

const JOBS: Readonly<Record<string, (world: QemuWorld) => unknown>> = {
  /** The four read-only words at the start of a virtio-mmio transport (VirtIO 1.2 section 4.2.2). */
  magic: ({ mmio, mmioBase }) => [0, 4, 8, 12].map((offset) => mmio.read(4, addr(mmioBase + offset))),
  vendor: ({ pci, bdf }) => [pci.configRead(bdf, 0, 2), pci.configRead(bdf, 2, 2), pci.configRead(bdf, 0, 4)],
  memory: ({ dma, mmio }) => {
    const a = dma.alloc(4096, 4096);
    const b = dma.alloc(100, 64);
    const bytes = Uint8Array.from({ length: 4096 }, (_, i) => i * 7);
    dma.write(a, bytes);
    const back = new Uint8Array(4096);
    dma.read(a, back);
    const seenByQemu = mmio.read(4, addr(a + 4));
    mmio.write(8, b, 2 ** 52 + 5);
    const exact = mmio.read(8, b);
    const values = [0, 1, 255, 256, 511, 512, 65535, 0].map((value) => {
      dma.publish16(b, value);
      return dma.load16(b) === value && mmio.read(2, b) === value;
    });
    dma.free(a);
    const again = dma.alloc(4096, 4096);
    dma.read(again, back);
    return {
      aligned: a % 4096 === 0 && b % 64 === 0,
      seenByQemu,
      exact,
      values,
      reused: again === a,
      zeroed: back.every((byte) => byte === 0),
    };
  },
  /** Polls memory and never asks QEMU anything itself. */
  spin: ({ dma }) => {
    const word = dma.alloc(2, 2);
    while (dma.load16(word) === 0);
    return "never";
  },
  /** Asks for ever. */
  ask: ({ mmio }) => {
    for (;;) mmio.read(4, addr(0));
  },
  refused: ({ mmio }) => mmio.read(3 as 4, addr(0)),
  silentIrq: (world) => [world.wire().wait(30e6), world.messages(2)[1]!.wait(30e6)],
};

export function run(world: QemuWorld, args: unknown): unknown {
  return JOBS[args as string]!(world);
}

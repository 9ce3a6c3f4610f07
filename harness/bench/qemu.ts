/**
 * The drivers of the house on QEMU's devices: requests a second, bytes a second, latency, each beside what one thread
 * copies to and from the same memory by plain file writes and reads of the same size, interleaved in one run. That is
 * the limit of a driver that reaches QEMU's memory through a file.
 */
import { BLK_SHAPES, measureOnQemu } from "../blk/qemu_measure.ts";
import { QEMU_DEVICES } from "../qemu/machines.ts";
import type { QemuDeviceName } from "../qemu/machines.ts";
import type { Bench, BenchOptions, BenchRow, BenchTable } from "./bench.ts";
import { median } from "./median.ts";

const ROUNDS = 11;
const ROUND_MS = 150;
const ROUND_MS_QUICK = 30;

async function run({ quick, progress }: BenchOptions): Promise<BenchTable> {
  const rows: BenchRow[] = [];
  for (const device of Object.keys(QEMU_DEVICES) as QemuDeviceName[]) {
    progress(device);
    const rounds = await measureOnQemu(device, {
      rounds: quick ? 9 : ROUNDS,
      roundMs: quick ? ROUND_MS_QUICK : ROUND_MS,
    });
    for (const [at, shape] of BLK_SHAPES.entries()) {
      const of = rounds.map((round) => round[at]!);
      const middle = (pick: (one: (typeof of)[number]) => number): number => median(of.map(pick));
      rows.push({
        device,
        what: shape.name,
        iops: Math.round(middle((one) => one.iops)),
        megabytesPerSecond: middle((one) => (one.iops * shape.bytes) / 1e6),
        latencyP50Us: middle((one) => one.p50Us),
        latencyP99Us: middle((one) => one.p99Us),
        ofPlainCopy: middle((one) => one.iops / one.copiesPerSecond),
        qtestCommandsPerRequest: middle((one) => one.commandsPerRequest),
      });
    }
  }
  const notes = [
    `medians of ${quick ? 9 : ROUNDS} rounds; each round measures every row and, right after it, the plain copy`,
    "ofPlainCopy: against one pwrite or pread of the block on the same tmpfs, in the same thread",
    "figures of a machine that does other work at the time are too low: measure again on an idle one",
  ];
  return { schema: 1, name: "qemu", rows, notes };
}

export const bench: Bench = {
  name: "qemu",
  help: "our drivers on QEMU's virtio-mmio, virtio-pci and nvme: IOPS at depth 1 and full queue, 64 KiB throughput",
  run,
};

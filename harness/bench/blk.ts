/**
 * Benchmark: block devices of the house under random and sequential load, fio-like: block size, queue depth, mix; IOPS,
 * MB/s, latency percentiles. The peer in every round is the bare memory disk, in the same thread: what the drivers, rings
 * and devices cost is the ratio to it. By itself the simulated devices; --device takes QEMU's too, each in its worker.
 */
import { DEVICES } from "../blk/devices.ts";
import { LOAD_SECTORS, measureLoads } from "../blk/load.ts";
import type { LoadFigures, LoadPlan } from "../blk/load.ts";
import type { Bench, BenchOptions, BenchRow, BenchTable } from "./bench.ts";
import { median } from "./median.ts";

const percentile = (sorted: readonly number[], share: number): number =>
  Number((sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)] ?? 0).toFixed(1));

function rowOf({ device, load, iops, ofMemoryDisk, latenciesUs }: LoadFigures): BenchRow {
  return {
    device,
    blockBytes: load.blockBytes,
    depth: load.depth,
    readShare: load.readShare,
    pattern: load.random ? "random" : "sequential",
    iops: Math.round(median(iops)),
    mbPerSecond: Math.round((median(iops) * load.blockBytes) / 1e6),
    ofMemoryDisk: Number(median(ofMemoryDisk).toFixed(3)),
    p50Us: percentile(latenciesUs, 0.5),
    p99Us: percentile(latenciesUs, 0.99),
    p999Us: percentile(latenciesUs, 0.999),
  };
}

async function simulated(plan: LoadPlan, names: readonly string[], progress: (text: string) => void) {
  const opened = await Promise.all(
    DEVICES.filter(({ name, load }) => load === undefined && names.includes(name)).map(async (opener) => {
      const { device, close } = await opener.open({ sectors: LOAD_SECTORS, driver: {}, unmapped: false });
      return { name: opener.name, device, close };
    }),
  );
  const figures = opened.length === 0 ? [] : measureLoads(opened, plan, progress);
  for (const { close } of opened) close();
  return figures;
}

async function run({ quick, progress, devices }: BenchOptions): Promise<BenchTable> {
  const plan = { rounds: quick ? 3 : 9, requests: quick ? 2_000 : 20_000 };
  const chosen = devices ?? DEVICES.filter(({ load }) => load === undefined).map(({ name }) => name);
  const figures = await simulated(plan, chosen, progress);
  for (const { name, load } of DEVICES)
    if (chosen.includes(name) && load !== undefined)
      figures.push(...(await load(plan, (step) => progress(`${name}: step ${step}`))));
  return {
    schema: 1,
    name: "blk",
    rows: figures.map(rowOf),
    notes: [
      `${plan.rounds} rounds, devices in turn; medians; latencies over all rounds`,
      "driver and simulated device in one thread; a QEMU device has a memory disk of its own beside it, in its worker",
    ],
  };
}

export const bench: Bench = {
  name: "blk",
  help: "block devices under random and sequential load: IOPS, MB/s, latency percentiles",
  devices: DEVICES.map(({ name }) => name),
  run,
};

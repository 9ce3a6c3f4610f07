/**
 * Benchmark: block devices of the house under random and sequential load, fio-like: block size, queue depth, mix; IOPS,
 * MB/s, latency percentiles. Simulated devices here; a device in another program adds itself to the table of devices.
 * The peer in every round is the bare memory disk: what the drivers, rings and devices cost is the ratio to it.
 */
import { SimDisk, blockRequest } from "../../drivers/index.ts";
import { BlockOp, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockDevice, BlockRequest } from "../../kernel/abi/block.ts";
import { nextBelow, prng } from "../../kernel/lib/prng.ts";
import { DEVICES } from "../blk/devices.ts";
import type { Bench, BenchOptions, BenchRow, BenchTable } from "./bench.ts";
import { median } from "./ring.ts";

export interface Load {
  readonly blockBytes: number;
  readonly depth: number;
  readonly readShare: number;
  readonly random: boolean;
}

const LOADS: readonly Load[] = [
  { blockBytes: 4096, depth: 1, readShare: 1, random: true },
  { blockBytes: 4096, depth: 32, readShare: 1, random: true },
  { blockBytes: 4096, depth: 32, readShare: 0, random: true },
  { blockBytes: 4096, depth: 128, readShare: 0.7, random: true },
  { blockBytes: 65_536, depth: 32, readShare: 1, random: false },
  { blockBytes: 65_536, depth: 32, readShare: 0, random: false },
];

const SECTORS = 131_072;
const WAIT_NS = 10e6;
const SIMULATED = ["sim-mmio", "sim-pci", "sim-nvme"];

interface LoadResult {
  readonly seconds: number;
  readonly latenciesUs: readonly number[];
}

/** Keeps `depth` requests in flight until `requests` have ended. */
export function runLoad(device: BlockDevice, wait: () => void, load: Load, requests: number, seed: number): LoadResult {
  const random = prng(seed);
  const sectors = load.blockBytes / SECTOR_SIZE;
  const places = Math.floor(device.limits.sectors / sectors);
  const depth = Math.min(load.depth, device.limits.queueDepth);
  const buffers = Array.from({ length: depth }, (_, i) => new Uint8Array(load.blockBytes).fill(i));
  const bornMs = new Map<Uint8Array, number>();
  const latenciesUs: number[] = [];
  let sent = 0;
  let done = 0;
  let place = 0;
  const make = (data: Uint8Array): BlockRequest => {
    place = load.random ? nextBelow(random, places) : (place + 1) % places;
    sent++;
    bornMs.set(data, performance.now());
    const op = nextBelow(random, 1000) < load.readShare * 1000 ? BlockOp.Read : BlockOp.Write;
    return blockRequest(op, place * sectors, data);
  };
  const start = performance.now();
  let waiting = buffers.slice(0, Math.min(depth, requests)).map(make);
  while (done < requests) {
    if (waiting.length > 0) waiting = waiting.slice(device.submit(waiting));
    const ended = device.poll();
    if (ended.length === 0) wait();
    const nowMs = performance.now();
    for (const request of ended) {
      if (request.result !== 0) throw new Error(`a request ended with ${request.result ?? "nothing"}`);
      done++;
      latenciesUs.push((nowMs - bornMs.get(request.data!)!) * 1e3);
      if (sent < requests) waiting.push(make(request.data!));
    }
  }
  return { seconds: (performance.now() - start) / 1e3, latenciesUs };
}

const percentile = (sorted: readonly number[], share: number): number =>
  Number((sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)] ?? 0).toFixed(1));

async function run({ quick, progress }: BenchOptions): Promise<BenchTable> {
  const rounds = quick ? 3 : 9;
  const openers = DEVICES.filter((opener) => SIMULATED.includes(opener.name));
  const disk = new SimDisk({ sectors: SECTORS });
  const devices = [{ name: "memory disk", device: disk as BlockDevice, wait: (): void => {}, close: (): void => {} }];
  for (const opener of openers) {
    const opened = await opener.open({ sectors: SECTORS, driver: {}, unmapped: false });
    const wait = (): void => void opened.device.wait(WAIT_NS);
    devices.push({ name: opener.name, device: opened.device, wait, close: () => opened.close() });
  }
  const rows: BenchRow[] = [];
  for (const load of LOADS) {
    const requests = Math.floor((quick ? 2_000 : 20_000) / (load.blockBytes > 4096 ? 8 : 1));
    const rates = devices.map((): number[] => []);
    const latencies = devices.map((): number[] => []);
    for (let turn = 0; turn <= rounds; turn++) {
      progress(`${load.blockBytes} bytes, depth ${load.depth}: round ${turn} of ${rounds}`);
      for (const [index, { device, wait }] of devices.entries()) {
        const result = runLoad(device, wait, load, requests, turn);
        // The first round warms the code up and is not counted.
        if (turn === 0) continue;
        rates[index]!.push(requests / result.seconds);
        latencies[index]!.push(...result.latenciesUs);
        device.submit([blockRequest(BlockOp.Flush, 0, undefined)]);
        device.poll();
      }
    }
    for (const [index, { name }] of devices.entries()) {
      const sorted = latencies[index]!.sort((a, b) => a - b);
      const iops = median(rates[index]!);
      rows.push({
        device: name,
        blockBytes: load.blockBytes,
        depth: load.depth,
        readShare: load.readShare,
        pattern: load.random ? "random" : "sequential",
        iops: Math.round(iops),
        mbPerSecond: Math.round((iops * load.blockBytes) / 1e6),
        ofMemoryDisk: Number(median(rates[index]!.map((rate, turn) => rate / rates[0]![turn]!)).toFixed(3)),
        p50Us: percentile(sorted, 0.5),
        p99Us: percentile(sorted, 0.99),
        p999Us: percentile(sorted, 0.999),
      });
    }
  }
  for (const { close } of devices) close();
  return {
    schema: 1,
    name: "blk",
    rows,
    notes: [`${rounds} rounds, devices in turn; medians; latencies over all rounds`, "driver and device in one thread"],
  };
}

export const bench: Bench = {
  name: "blk",
  help: "block devices under random and sequential load: IOPS, MB/s, latency percentiles",
  run,
};

/**
 * Random and sequential load on block devices, fio-like: block size, depth, mix. Devices take turns in rounds, the bare
 * memory disk first, so that what drivers, rings and devices cost is a ratio within a round. Synchronous code without a
 * world: QEMU's devices are measured by it in their worker.
 *
 * - LOADS                                        what is measured
 * - measureLoads(opened, plan, progress)   a figure for each device and load
 */
import { SimDisk, blockRequest, pollUntilEnded } from "../../drivers/index.ts";
import { BlockOp, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockDevice, BlockRequest } from "../../kernel/abi/block.ts";
import { nextBelow, prng } from "../../kernel/lib/prng.ts";
import type { OpenedDevice } from "./devices.ts";

export interface Load {
  readonly blockBytes: number;
  readonly depth: number;
  readonly readShare: number;
  readonly random: boolean;
}

export const LOADS: readonly Load[] = [
  { blockBytes: 4096, depth: 1, readShare: 1, random: true },
  { blockBytes: 4096, depth: 32, readShare: 1, random: true },
  { blockBytes: 4096, depth: 32, readShare: 0, random: true },
  { blockBytes: 4096, depth: 128, readShare: 0.7, random: true },
  { blockBytes: 65_536, depth: 32, readShare: 1, random: false },
  { blockBytes: 65_536, depth: 32, readShare: 0, random: false },
];

/** Of every device: 64 MiB. */
export const LOAD_SECTORS = 131_072;
const WAIT_NS = 10e6;

interface LoadResult {
  readonly seconds: number;
  readonly latenciesUs: readonly number[];
}

/** Keeps `depth` requests in flight until `requests` have ended. */
function runLoad(device: BlockDevice, wait: () => void, load: Load, requests: number, seed: number): LoadResult {
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

export interface LoadPlan {
  readonly rounds: number;
  /** Of 4 KiB; of larger blocks an eighth. */
  readonly requests: number;
}

export interface LoadFigures {
  readonly device: string;
  readonly load: Load;
  /** By round. */
  readonly iops: readonly number[];
  readonly ofMemoryDisk: readonly number[];
  /** Over all rounds, sorted, microseconds. */
  readonly latenciesUs: readonly number[];
}

export interface NamedDevice {
  readonly name: string;
  readonly device: Pick<OpenedDevice["device"], "limits" | "submit" | "poll" | "wait">;
}

export function measureLoads(
  opened: readonly NamedDevice[],
  { rounds, requests }: LoadPlan,
  progress: (text: string) => void,
): LoadFigures[] {
  const disk = new SimDisk({ sectors: LOAD_SECTORS });
  const memory = { limits: disk.limits, submit: disk.submit.bind(disk), poll: disk.poll.bind(disk), wait: () => true };
  const devices = [{ name: "memory disk", device: memory }, ...opened];
  return LOADS.flatMap((load) => {
    const count = Math.floor(requests / (load.blockBytes > 4096 ? 8 : 1));
    const rates = devices.map((): number[] => []);
    const latencies = devices.map((): number[] => []);
    for (let turn = 0; turn <= rounds; turn++) {
      progress(`${load.blockBytes} bytes, depth ${load.depth}: round ${turn} of ${rounds}`);
      for (const [index, { device }] of devices.entries()) {
        const result = runLoad(device, () => device.wait(WAIT_NS), load, count, turn);
        // The first round warms the code up and is not counted.
        if (turn === 0) continue;
        rates[index]!.push(count / result.seconds);
        latencies[index]!.push(...result.latenciesUs);
        const flush = blockRequest(BlockOp.Flush, 0, undefined);
        pollUntilEnded(device, [flush], () => device.wait(WAIT_NS));
      }
    }
    return devices.map(({ name }, index) => ({
      device: name,
      load,
      iops: rates[index]!,
      ofMemoryDisk: rates[index]!.map((rate, turn) => rate / rates[0]![turn]!),
      latenciesUs: latencies[index]!.sort((a, b) => a - b),
    }));
  });
}

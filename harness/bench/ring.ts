/**
 * Benchmark: the split ring between two workers, 4 KiB writes into a memory disk. What each means brings (depth,
 * indirect descriptors, event index, batching, coalescing), against the plainest ring and against the limit, which is one
 * worker copying the same blocks between the same places. Everything is measured in each round, in turn; ratios are
 * medians over rounds.
 */
import { Worker } from "node:worker_threads";
import { modulePath } from "../../kernel/lib/module_path.ts";
import type { Bench, BenchOptions, BenchRow, BenchTable } from "./bench.ts";
import { BLOCK, CONTROL_WORDS, DISK_BYTES, RAM_BYTES } from "./ring_run.ts";
import type { RingConfig, RingResult, Shared } from "./ring_run.ts";
import type { RingJob } from "./ring_worker.ts";

/** A ring that kicks and interrupts for each request. */
const plain = { indirect: false, eventIdx: false, batch: 1, coalesce: 1 };

const CONFIGS: readonly RingConfig[] = [
  { ...plain, depth: 16 },
  { ...plain, depth: 16, eventIdx: true },
  { ...plain, depth: 16, indirect: true, eventIdx: true },
  { depth: 16, indirect: true, eventIdx: true, batch: 8, coalesce: 8 },
  { ...plain, depth: 128 },
  { ...plain, depth: 128, eventIdx: true },
  { ...plain, depth: 128, indirect: true, eventIdx: true },
  { ...plain, depth: 128, indirect: true, eventIdx: true, batch: 32 },
  { depth: 128, indirect: true, eventIdx: true, batch: 32, coalesce: 16 },
  { depth: 128, indirect: true, eventIdx: true, batch: 16, coalesce: 32 },
  { depth: 128, indirect: true, eventIdx: true, batch: 32, coalesce: 64 },
  { depth: 256, indirect: true, eventIdx: true, batch: 64, coalesce: 32 },
];
const COPY_BUFFERS = 128;

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

class Side {
  readonly #worker: Worker;
  #reject: (error: unknown) => void = () => {};

  constructor(shared: Shared) {
    this.#worker = new Worker(modulePath("./ring_worker.ts", import.meta.url), { workerData: shared });
    this.#worker.on("error", (error) => this.#reject(error));
  }

  async ask(job: RingJob): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      this.#worker.once("message", resolve);
      this.#worker.postMessage(job);
    });
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}

const round = (value: number, digits: number): number => Number(value.toFixed(digits));

async function measure({
  quick,
  progress,
}: BenchOptions): Promise<{ rates: number[][]; copies: number[]; results: RingResult[][]; requests: number }> {
  const rounds = quick ? 3 : 11;
  const requests = quick ? 20_000 : 60_000;
  const shared = {
    buffer: new SharedArrayBuffer(RAM_BYTES + DISK_BYTES),
    control: new Int32Array(new SharedArrayBuffer(CONTROL_WORDS * 4)),
  };
  const driver = new Side(shared);
  const device = new Side(shared);
  const rates: number[][] = CONFIGS.map(() => []);
  const results: RingResult[][] = CONFIGS.map(() => []);
  const copies: number[] = [];
  try {
    // The first round warms the code up and is not counted.
    for (let turn = 0; turn <= rounds; turn++) {
      progress(`round ${turn} of ${rounds}`);
      const copySeconds = (await device.ask({ kind: "copy", blocks: requests, buffers: COPY_BUFFERS })) as number;
      if (turn > 0) copies.push(requests / copySeconds);
      for (const [index, config] of CONFIGS.entries()) {
        shared.control.fill(0);
        const ended = device.ask({ kind: "device", config });
        const result = (await driver.ask({ kind: "driver", config, requests })) as RingResult;
        await ended;
        if (turn === 0) continue;
        rates[index]!.push(requests / result.seconds);
        results[index]!.push(result);
      }
    }
  } finally {
    await driver.close();
    await device.close();
  }
  return { rates, copies, results, requests };
}

async function run(options: BenchOptions): Promise<BenchTable> {
  const { rates, copies, results, requests } = await measure(options);
  const against = (index: number, peer: readonly number[]): number =>
    round(median(rates[index]!.map((rate, turn) => rate / peer[turn]!)), 3);
  const rows: BenchRow[] = CONFIGS.map((config, index) => {
    const latencies = results[index]!.flatMap((result) => result.latenciesUs).sort((a, b) => a - b);
    return {
      depth: config.depth,
      indirect: String(config.indirect),
      eventIdx: String(config.eventIdx),
      batch: config.batch,
      coalesce: config.coalesce,
      requestsPerSecond: Math.round(median(rates[index]!)),
      mbPerSecond: Math.round((median(rates[index]!) * BLOCK) / 1e6),
      timesPlainest: against(index, rates[0]!),
      shareOfCopy: against(index, copies),
      kicksPerRequest: round(median(results[index]!.map(({ kicks }) => kicks / requests)), 4),
      interruptsPerRequest: round(median(results[index]!.map(({ irqs }) => irqs / requests)), 4),
      p50Us: round(latencies[latencies.length >> 1] ?? 0, 1),
      p99Us: round(latencies[Math.floor(latencies.length * 0.99)] ?? 0, 1),
    };
  });
  rows.push({
    depth: null,
    indirect: null,
    eventIdx: null,
    batch: null,
    coalesce: null,
    requestsPerSecond: Math.round(median(copies)),
    mbPerSecond: Math.round((median(copies) * BLOCK) / 1e6),
    timesPlainest: round(median(copies.map((copy, turn) => copy / rates[0]![turn]!)), 3),
    shareOfCopy: 1,
    kicksPerRequest: null,
    interruptsPerRequest: null,
    p50Us: null,
    p99Us: null,
  });
  const best = rows
    .map(
      (row, index) =>
        ({ ...row, row: index }) as { depth: number; timesPlainest: number; shareOfCopy: number; row: number },
    )
    .filter(({ depth }) => depth === 128)
    .reduce((one, other) => (other.timesPlainest > one.timesPlainest ? other : one));
  const notes = [
    `${rates[0]!.length} rounds, each configuration in turn, ${requests} writes of ${BLOCK} bytes; medians`,
    "last row: one worker copying the same blocks between the same places, and nothing else",
    `queue 16 plainest to 128 best: ${best.timesPlainest} times, ${best.shareOfCopy} of the copy (row ${best.row})`,
  ];
  return { schema: 1, name: "ring", rows, notes };
}

export const bench: Bench = {
  name: "ring",
  help: "split ring between two workers: what depth, indirect, event index, batching and coalescing bring",
  run,
};

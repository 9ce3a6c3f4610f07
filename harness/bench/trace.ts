/**
 * What an event costs at emission: nothing on, hash, log, log and hash, rings; as nanoseconds an event over the same
 * loop without any call. Each variant has a worker (this same file) to itself, as a machine has one sink and the
 * compiler may see through it; the variants take turns, and the figure is the median of the rounds.
 */
import { once } from "node:events";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";
import { EventHash, EventLog, createRings, createTracer } from "../../kernel/worlds.ts";
import type { TracerParts } from "../../kernel/worlds.ts";
import { Ev } from "../../kernel/abi/events.ts";
import type { EventSink } from "../../kernel/abi/machine.ts";
import type { Bench, BenchOptions, BenchTable } from "./bench.ts";

const now = new Float64Array(1);

/** Events a call of emit(): short, so that it is compiled as a whole and not while it runs. */
const SLICE = 1000;

/** A stand-in for the event loop: the clock moves, some numbers change, one event a turn. */
function emit(sink: EventSink | undefined, events: number): number {
  let state = 1;
  for (let i = 0; i < events; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    now[0]! += (state >>> 20) + 1;
    if (sink !== undefined) sink(Ev.SchedSwitch, state & 3, state >>> 24, state >>> 16, 1, 0);
  }
  return state;
}

const VARIANTS: readonly (readonly [name: string, parts: () => Partial<TracerParts> | undefined])[] = [
  ["no call", () => undefined],
  ["off", () => ({})],
  ["hash", () => ({ hash: new EventHash() })],
  ["log", () => ({ log: new EventLog(4) })],
  ["log + hash", () => ({ log: new EventLog(4), hash: new EventHash() })],
  ["rings", () => ({ rings: createRings(4, 1 << 14) })],
];

const median = (values: number[]): number => values.sort((x, y) => x - y)[values.length >> 1]!;

/** One round of one variant, nanoseconds an event. */
function round(variant: number, events: number): number {
  const parts = VARIANTS[variant]![1]();
  const sink = parts === undefined ? undefined : createTracer({ now, ...parts });
  now[0] = 0;
  const start = process.hrtime.bigint();
  for (let done = 0; done < events; done += SLICE) emit(sink, SLICE);
  parts?.hash?.hex();
  return Number(process.hrtime.bigint() - start) / events;
}

async function run({ quick, progress }: BenchOptions): Promise<BenchTable> {
  const events = quick ? 100_000 : 1_000_000;
  const rounds = quick ? 9 : 15;
  const workers = VARIANTS.map(
    (_, variant) => new Worker(new URL(import.meta.url), { workerData: { variant, events } }),
  );
  const times = VARIANTS.map((): number[] => []);
  for (let at = -2; at < rounds; at++) {
    for (const [index, worker] of workers.entries()) {
      worker.postMessage("round");
      const [ns] = (await once(worker, "message")) as [number];
      if (at >= 0) times[index]!.push(ns);
    }
    progress(`trace: round ${Math.max(at + 1, 0)} of ${rounds}`);
  }
  await Promise.all(workers.map((worker) => worker.terminate()));
  const base = median(times[0]!);
  const rows = VARIANTS.map(([variant], index) => {
    const ns = median(times[index]!);
    return { variant, nsPerTurn: round2(ns), nsPerEvent: round2(ns - base), ratio: round2(ns / base) };
  });
  const notes = [
    `${events} events a round, median of ${rounds} interleaved rounds; nsPerEvent is over the loop without a call`,
    "a log's cost includes growing it from empty, a hash's includes the final digest",
  ];
  return { schema: 1, name: "trace", rows, notes };
}

const round2 = (value: number): number => Math.round(value * 100) / 100;

export const bench: Bench = { name: "trace", help: "cost of one event: off, hash, log, rings", run };

if (!isMainThread) {
  const { variant, events } = workerData as { variant: number; events: number };
  parentPort!.on("message", () => parentPort!.postMessage(round(variant, events)));
}

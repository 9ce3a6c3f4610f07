/**
 * ACE's workloads on our ext4 over all cores, each crashed in every way within the bounds. Results go to a file as they
 * come, a line a workload, so that a campaign that was stopped goes on where it was.
 *
 * - runAce(options)     sums, and the workloads that broke
 */
import { createHash } from "node:crypto";
import { closeSync, existsSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { Piscina } from "piscina";
import { modulePath } from "../../kernel/lib/module_path.ts";
import { nextBelow, prng } from "../../kernel/lib/prng.ts";
import type { ProgressLine } from "../cli/progress.ts";
import { UserError } from "../cli/exit.ts";
import { aceSpace } from "./ace.ts";
import type { FlaggedState } from "./explore.ts";
import type { JudgeWorkloadOptions } from "./workload_judge.ts";
import type { BaseOptions } from "./workload_run.ts";

export interface AceWork {
  readonly length: number;
  readonly alignedTruncate: boolean;
  readonly base: BaseOptions;
  readonly judge: JudgeWorkloadOptions;
}

export interface AceJob {
  readonly indexes: readonly number[];
}

export interface AceOutcome {
  readonly index: number;
  readonly text: string;
  readonly failed: readonly string[];
  readonly writes: number;
  readonly epochs: number;
  readonly wholeEpochs: number;
  readonly states: number;
  readonly distinct: number;
  readonly flagged: number;
  readonly superblockTears: number;
  readonly fastCommits: number;
  readonly byClass: Readonly<Record<string, number>>;
  readonly byPrefixes: number;
  readonly first: FlaggedState | undefined;
  readonly digest: string;
}

export interface AceOptions {
  readonly work: AceWork;
  /** Workloads drawn without repetition; undefined: all. */
  readonly sample: number | undefined;
  readonly only: number | undefined;
  readonly workers: number;
  readonly shard: readonly [part: number, parts: number];
  /** Results, a line a workload. */
  readonly path: string;
  readonly line: ProgressLine;
  readonly stop: AbortSignal;
}

export interface AceFound {
  readonly whole: boolean;
  readonly spaceCount: number;
  readonly outcomes: readonly AceOutcome[];
  readonly workers: number;
  readonly seconds: number;
  readonly digest: string;
}

/** Workloads that a worker takes at a time. */
const BATCH = 8;

/** A sample of the workloads by seed, ascending: Floyd's way, each subset as likely. */
function sampleOf(count: number, wanted: number, seed: number): number[] {
  const random = prng(seed);
  const picked = new Set<number>();
  for (let top = count - wanted; top < count; top++) {
    const draw = nextBelow(random, top + 1);
    picked.add(picked.has(draw) ? top : draw);
  }
  return [...picked].sort((a, b) => a - b);
}

/** What the file has already; its first line must be of the same work. */
function readDone(path: string, head: string): { done: AceOutcome[]; bytes: number } {
  if (!existsSync(path)) return { done: [], bytes: 0 };
  const text = readFileSync(path, "utf8");
  const whole = text.slice(0, text.lastIndexOf("\n") + 1);
  const [first, ...lines] = whole.split("\n").filter((line) => line !== "");
  if (first !== head)
    throw new UserError(`${path} belongs to another campaign: choose another --out, or the options it was begun with`);
  return { done: lines.map((line) => JSON.parse(line) as AceOutcome), bytes: Buffer.byteLength(whole) };
}

export async function runAce(options: AceOptions): Promise<AceFound> {
  const { work, line, stop, shard } = options;
  const space = aceSpace(work.length, work.alignedTruncate);
  if (options.only !== undefined && options.only >= space.count)
    throw new UserError(`there is no workload ${options.only}: they are numbered 0 to ${space.count - 1}`);
  const wanted =
    options.only !== undefined
      ? [options.only]
      : options.sample === undefined || options.sample >= space.count
        ? Array.from({ length: space.count }, (_, n) => n)
        : sampleOf(space.count, options.sample, work.judge.seed);
  const mine = wanted.filter((_, n) => n % shard[1] === shard[0] - 1);
  const head = JSON.stringify({ schema: 1, kind: "ace", work, sample: options.sample ?? null, shard });
  const { done, bytes } = readDone(options.path, head);
  const file = openSync(options.path, "a");
  if (bytes === 0) writeSync(file, `${head}\n`);
  else ftruncateSync(file, bytes);
  const before = new Set(done.map(({ index }) => index));
  const todo = mine.filter((index) => !before.has(index));
  const workers = Math.max(1, Math.min(options.workers, Math.ceil(todo.length / BATCH)));
  const outcomes = [...done];
  const startedMs = performance.now();
  const filename = modulePath("./ace_worker.ts", import.meta.url).href;
  const pool = new Piscina<AceJob, AceOutcome[]>({
    filename,
    workerData: work,
    minThreads: workers,
    maxThreads: workers,
  });
  let next = 0;
  let flagged = 0;
  const deal = async (): Promise<void> => {
    while (next < todo.length && !stop.aborted) {
      const indexes = todo.slice(next, next + BATCH);
      next += BATCH;
      for (const outcome of await pool.run({ indexes }, { signal: stop })) {
        writeSync(file, `${JSON.stringify(outcome)}\n`);
        outcomes.push(outcome);
        if (outcome.flagged > 0) flagged++;
      }
      line.count(outcomes.length, mine.length);
      if (flagged > 0) line.update(`${outcomes.length} of ${mine.length}, ${flagged} broken`);
    }
  };
  let whole = true;
  try {
    await Promise.all(Array.from({ length: workers }, deal));
  } catch (error) {
    if (!stop.aborted) throw error;
    whole = false;
  } finally {
    await pool.destroy();
    closeSync(file);
  }
  outcomes.sort((a, b) => a.index - b.index);
  const hash = createHash("sha256");
  for (const { index, digest } of outcomes) hash.update(`${index} ${digest}\n`);
  return {
    whole: whole && !stop.aborted,
    spaceCount: space.count,
    outcomes,
    workers,
    seconds: (performance.now() - startedMs) / 1000,
    digest: hash.digest("hex"),
  };
}

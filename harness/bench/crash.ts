/**
 * Crash states judged a second on one core, against the way that needs no file system of one's own: the image copied to
 * a tmpfs with the writes that survived, and `e2fsck -fy` as a process. On the recorded guest of test/fixtures.
 *
 * Each round takes a part of the states in every way, one after the other; the peer is the faster of a sparse and a
 * dense copy. Ours recover as the kernel does, check the whole structure and every promise; e2fsck recovers and checks.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdtempSync, openSync, closeSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nextBelow, prng } from "../../kernel/lib/prng.ts";
import { UserError } from "../cli/exit.ts";
import { packageRoot } from "../cli/package.ts";
import { openExplorer } from "../crash/explore.ts";
import type { Explorer } from "../crash/explore.ts";
import { loadRecorded } from "../crash/recorded.ts";
import { storeState } from "../crash/referee.ts";
import type { SegmentStates } from "../crash/enumerate.ts";
import { findTool } from "../qemu/packages.ts";
import type { Bench, BenchOptions, BenchRow, BenchTable } from "./bench.ts";
import { median } from "./median.ts";

const ROUNDS = 11;
const ROUNDS_QUICK = 2;
/** States that a round judges in our way, and by e2fsck. */
const OURS = 3_000;
const PEERS = 12;
const SHM = "/dev/shm";

interface Draw {
  readonly states: SegmentStates;
  readonly n: number;
}

/** States drawn from all alike, by epoch, as a campaign takes them. */
function draws({ segments }: Explorer, count: number, random: Int32Array): Draw[] {
  const total = segments.reduce((sum, { count: states }) => sum + states, 0);
  const picked = Array.from({ length: count }, () => nextBelow(random, total)).sort((a, b) => a - b);
  let segment = 0;
  let first = 0;
  return picked.map((at) => {
    while (at - first >= segments[segment]!.count) first += segments[segment++]!.count;
    return { states: segments[segment]!, n: at - first };
  });
}

/** Distinct contents a second. */
function judgeAll({ disk, judge }: Explorer, picked: readonly Draw[], remembers: boolean): number {
  judge.remembers = remembers;
  const startedMs = performance.now();
  const seen = new Set<number>();
  let entered: SegmentStates | undefined;
  for (const { states, n } of picked) {
    if (states !== entered) disk.enter((entered = states).segment);
    const { set } = states.at(n);
    disk.state(set);
    const key = disk.rawKey();
    if (seen.has(key)) continue;
    seen.add(key);
    judge.verdict(set.tear !== undefined, states.segment.markers[set.cut]!);
  }
  const seconds = (performance.now() - startedMs) / 1000;
  disk.undo();
  return seen.size / seconds;
}

/** States a second when each is a file and a process. */
function judgeByProcess(
  explorer: Explorer,
  picked: readonly Draw[],
  make: (image: string) => void,
  folder: string,
): number {
  const image = join(folder, "state.img");
  let ms = 0;
  for (const { states, n } of picked) {
    explorer.disk.enter(states.segment);
    explorer.disk.state(states.at(n).set);
    const startedMs = performance.now();
    make(image);
    spawnSync("e2fsck", ["-fy", image], { stdio: "ignore" });
    ms += performance.now() - startedMs;
  }
  explorer.disk.undo();
  return picked.length / (ms / 1000);
}

/** A dense copy of the image before the log, and then what differs from it. */
function denseCopy({ disk }: Explorer, base: string): (image: string) => void {
  return (path) => {
    copyFileSync(base, path);
    const { image } = disk;
    const file = openSync(path, "r+");
    for (let block = 0; block < image.count; block++)
      if (image.where[block] !== block)
        writeSync(file, image.bytes, image.at(block), image.blockSize, block * image.blockSize);
    closeSync(file);
  };
}

const recordingOf = (kind: string): string => join(packageRoot, "test/fixtures/write-logs", `m_ordered.${kind}.zst`);

function run({ quick, progress }: BenchOptions): BenchTable {
  if (!existsSync(recordingOf("base")))
    throw new UserError("bench crash needs the recorded disk of test/fixtures: run it in a checkout of the project");
  const recorded = loadRecorded(recordingOf("base"), recordingOf("log"));
  const explorer = openExplorer(recorded, {
    policy: "kernel",
    maxSubset: 16,
    random: 0,
    sector: 512,
    tears: false,
    seed: 1,
    dropSpan: 0,
  });
  const hasReferee = findTool("e2fsck") !== undefined;
  const folder = mkdtempSync(join(existsSync(SHM) ? SHM : tmpdir(), "orrery-bench-"));
  const base = join(folder, "base.img");
  writeFileSync(base, recorded.base);
  const dense = denseCopy(explorer, base);
  const random = prng(1);
  const samples: Record<string, number[]> = { campaign: [], alone: [], sparse: [], dense: [] };
  const rounds = quick ? ROUNDS_QUICK : ROUNDS;
  try {
    for (let round = 0; round < rounds; round++) {
      progress(`round ${round + 1} of ${rounds}`);
      samples["campaign"]!.push(judgeAll(explorer, draws(explorer, OURS, random), true));
      samples["alone"]!.push(judgeAll(explorer, draws(explorer, OURS / 4, random), false));
      if (!hasReferee) continue;
      const picked = draws(explorer, quick ? 2 : PEERS, random);
      const sparse = (path: string): void => storeState(explorer.disk.image, path, recorded.base.length);
      samples["sparse"]!.push(judgeByProcess(explorer, picked, sparse, folder));
      samples["dense"]!.push(judgeByProcess(explorer, picked, dense, folder));
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return table(samples, hasReferee, rounds);
}

function table(samples: Readonly<Record<string, number[]>>, hasReferee: boolean, rounds: number): BenchTable {
  const middle = (name: string): number | null => (samples[name]!.length === 0 ? null : median(samples[name]!));
  const peer = hasReferee ? Math.max(middle("sparse")!, middle("dense")!) : null;
  const row = (way: string, name: string): BenchRow => {
    const rate = middle(name);
    return {
      way,
      statesPerSecond: rate === null ? null : Number(rate.toPrecision(4)),
      ms: rate === null ? null : Number((1000 / rate).toPrecision(3)),
      overPeer: rate === null || peer === null ? null : Number((rate / peer).toPrecision(3)),
    };
  };
  return {
    schema: 1,
    name: "crash",
    rows: [
      row("ours, as a campaign: equal contents after recovery are judged once", "campaign"),
      row("ours, every state recovered, checked and asked anew", "alone"),
      row("sparse copy and e2fsck -fy", "sparse"),
      row("dense copy and e2fsck -fy", "dense"),
    ],
    notes: [
      `one core; subsets of the epochs of m_ordered, drawn at random; medians of ${rounds} interleaved rounds`,
      "overPeer: against the faster of the two copies",
      ...(hasReferee ? [] : ["e2fsck is not installed: no peer"]),
    ],
  };
}

export const bench: Bench = {
  name: "crash",
  help: "crash states judged a second, against a copy of the image and e2fsck",
  run: (options) => Promise.resolve(run(options)),
};

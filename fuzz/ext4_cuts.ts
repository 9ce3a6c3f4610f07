/**
 * Random scripts on ext4, cut off after every write of the device: each prefix is recovered as Linux and as e2fsck would,
 * is clean for the checker, and holds all that fsync and sync had promised, and nothing that nobody made.
 */
import { nextBelow, prng } from "../kernel/lib/prng.ts";
import { DATA_MODES, FEATURE_SETS, cutAll, generate } from "../harness/index.ts";
import type { CutResult, FeatureSet } from "../harness/index.ts";
import type { FuzzResult, FuzzTarget } from "./target.ts";

const OPS = 30;
const FILE_BYTES_MAX = 20_000;
const BURST_MAX = 12;
const SYNC_ONE_IN = 5;

/** Without a journal nothing is promised before e2fsck has been there; on a full disk the model needs the results. */
const SETS = (Object.keys(FEATURE_SETS) as FeatureSet[]).filter((name) => name !== "nojournal" && name !== "tiny");

function runCase(seed: number, forgetOneIn?: number): string | undefined {
  const state = prng(seed);
  const features = SETS[nextBelow(state, SETS.length)]!;
  const mode = DATA_MODES[nextBelow(state, DATA_MODES.length)]!;
  const options = { ops: OPS, fileBytesMax: FILE_BYTES_MAX, burstMax: BURST_MAX, syncOneIn: SYNC_ONE_IN };
  const ops = generate(seed, options);
  let result: CutResult;
  try {
    result = cutAll({
      features,
      mode,
      ops,
      policies: ["kernel", "e2fsck"],
      ...(forgetOneIn === undefined ? {} : { forgetOneIn }),
    });
  } catch (error) {
    return `${features}, ${mode}: it threw ${error instanceof Error ? error.message : String(error)}`;
  }
  return result.wrong === undefined ? undefined : `${features}, ${mode}: ${result.wrong}`;
}

function campaign(seed: number, runs: number, progress: (done: number) => void, forgetOneIn?: number): FuzzResult {
  for (let k = 0; k < runs; k++) {
    const message = runCase(seed + k, forgetOneIn);
    if (message !== undefined) return { runs: k + 1, failure: { seed: seed + k, message } };
    progress(k + 1);
  }
  return { runs };
}

export const target: FuzzTarget = {
  name: "ext4_cuts",
  help: "ext4 cut off after every write: recovered, clean, and all that was promised",
  run: (seed, runs, progress) => campaign(seed, runs, progress),
  /** A disk that forgets one write in eleven. */
  canary: (seed) => campaign(seed, 20, () => undefined, 11),
};

/**
 * Random scripts on a mounted ext4, with every set of features and every data mode: each call gives what the model gives,
 * the mounted tree is the model's, and after unmounting the image is clean and holds the same tree.
 */
import { nextBelow, prng } from "../kernel/lib/prng.ts";
import { DATA_MODES, FEATURE_SETS, Workload, scriptFor } from "../harness/index.ts";
import type { FeatureSet, ScriptOp } from "../harness/index.ts";
import type { FuzzResult, FuzzTarget } from "./target.ts";

const OPS = 120;
const FILE_BYTES_MAX = 120_000;

const SETS = Object.keys(FEATURE_SETS) as FeatureSet[];

type Twist = (op: ScriptOp, n: number) => ScriptOp;

/** `twist` changes what the file system is told, and not what the model is told. */
function runCase(seed: number, twist?: Twist): string | undefined {
  const state = prng(seed);
  const features = SETS[nextBelow(state, SETS.length)]!;
  const mode = DATA_MODES[nextBelow(state, DATA_MODES.length)]!;
  const burstMax = nextBelow(state, 4) === 0 ? 200 : 40;
  const ops = scriptFor(features, seed, { ops: OPS, fileBytesMax: FILE_BYTES_MAX, burstMax });
  const place = `${features}, ${mode}`;
  try {
    const workload = new Workload({ features, mode });
    for (const [n, op] of ops.entries()) {
      if (twist === undefined) {
        const message = workload.apply(op);
        if (message !== undefined) return `${place}: operation ${n}: ${message}`;
      } else {
        workload.run.apply(twist(op, n));
        workload.model.apply(op);
      }
    }
    const message = workload.compare() ?? workload.finishUp();
    return message === undefined ? undefined : `${place}: ${message}`;
  } catch (error) {
    return `${place}: it threw ${error instanceof Error ? error.message : String(error)}`;
  }
}

function campaign(seed: number, runs: number, progress: (done: number) => void, twist?: Twist): FuzzResult {
  for (let k = 0; k < runs; k++) {
    const message = runCase(seed + k, twist);
    if (message !== undefined) return { runs: k + 1, failure: { seed: seed + k, message } };
    progress(k + 1);
  }
  return { runs };
}

export const target: FuzzTarget = {
  name: "ext4_ops",
  help: "random scripts on ext4, compared with a model",
  run: (seed, runs, progress) => campaign(seed, runs, progress),
  /** A file system that truncates one byte short. */
  canary: (seed) =>
    campaign(
      seed,
      20,
      () => undefined,
      (op) => (op.name === "truncate" && op.length > 0 ? { ...op, length: op.length - 1 } : op),
    ),
};

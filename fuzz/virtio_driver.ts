/** Fuzz target: our virtio-blk driver against hostile devices. */
import { DEVICE_ATTACKS, HostileDeviceRun } from "../harness/index.ts";
import type { FuzzResult, FuzzTarget } from "./target.ts";

const PROGRESS_EVERY = 1024;
const CANARY_RUNS = 200;

function campaign(run: HostileDeviceRun, seed: number, runs: number, progress: (done: number) => void): FuzzResult {
  for (let i = 0; i < runs; i++) {
    const message = run.run(seed + i);
    if (message !== undefined) return { runs: i + 1, failure: { seed: seed + i, message } };
    if (i % PROGRESS_EVERY === 0) progress(i);
  }
  progress(runs);
  return { runs };
}

export const target: FuzzTarget = {
  name: "virtio_driver",
  help: "virtio-blk driver against hostile devices: ends every request once, correct or Broken",
  run: (seed, runs, progress) => campaign(new HostileDeviceRun(), seed, runs, progress),
  /** An attack that nobody can see from the ring, checked as if one could. */
  canary: (seed) => {
    const invisible = DEVICE_ATTACKS.find((attack) => attack.name === "ends well, never carried out")!;
    const run = new HostileDeviceRun([{ ...invisible, forges: false }]);
    return campaign(run, seed, CANARY_RUNS, () => {});
  },
};

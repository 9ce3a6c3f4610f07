/** Fuzz target: our virtio-blk device against hostile drivers. */
import { DRIVER_ATTACKS, DeviceEnd, HostileDriverRun } from "../harness/index.ts";
import type { FuzzResult, FuzzTarget } from "./target.ts";

const PROGRESS_EVERY = 1024;
const CANARY_RUNS = 200;

function campaign(run: HostileDriverRun, seed: number, runs: number, progress: (done: number) => void): FuzzResult {
  for (let i = 0; i < runs; i++) {
    const message = run.run(seed + i);
    if (message !== undefined) return { runs: i + 1, failure: { seed: seed + i, message } };
    if (i % PROGRESS_EVERY === 0) progress(i);
  }
  progress(runs);
  return { runs };
}

export const target: FuzzTarget = {
  name: "virtio_device",
  help: "virtio-blk device against hostile drivers: ends as the attack's row allows, touches nothing else",
  run: (seed, runs, progress) => campaign(new HostileDriverRun(), seed, runs, progress),
  /** Noise that is only allowed to end well: the device cannot do that. */
  canary: (seed) => {
    const noise = DRIVER_ATTACKS.find((attack) => attack.name === "descriptors are noise")!;
    return campaign(new HostileDriverRun(undefined, [{ ...noise, ends: [DeviceEnd.Ok] }]), seed, CANARY_RUNS, () => {});
  },
};

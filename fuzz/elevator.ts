/** Fuzz target: every elevator of the house against the elevator contract. */
import { ELEVATORS } from "../drivers/index.ts";
import { checkElevator } from "../harness/index.ts";
import type { Elevator } from "../kernel/abi/elevator.ts";
import type { FuzzResult, FuzzTarget } from "./target.ts";

const STEPS = 600;
const PROGRESS_EVERY = 64;
const CANARY_RUNS = 50;

/** First come, first served, but every 40th request is forgotten. */
const forgetful: Elevator = {
  name: "forgetful",
  create: (setup) => {
    const queue = ELEVATORS[0]!.create(setup);
    let inserted = 0;
    return {
      get waiting() {
        return queue.waiting;
      },
      wakeAtNs: Infinity,
      insert: (row) => {
        if (++inserted % 40 !== 0) queue.insert(row);
      },
      dispatch: (nowNs) => queue.dispatch(nowNs),
      grown: (row) => queue.grown(row),
      completed: (row, nowNs) => queue.completed(row, nowNs),
    };
  },
};

function campaign(
  elevators: readonly Elevator[],
  seed: number,
  runs: number,
  progress: (done: number) => void,
): FuzzResult {
  for (let i = 0; i < runs; i++) {
    const elevator = elevators[(seed + i) % elevators.length]!;
    const wrong = checkElevator(elevator, seed + i, STEPS);
    if (wrong !== undefined) return { runs: i + 1, failure: { seed: seed + i, message: `${elevator.name}: ${wrong}` } };
    if (i % PROGRESS_EVERY === 0) progress(i);
  }
  progress(runs);
  return { runs };
}

export const target: FuzzTarget = {
  name: "elevator",
  help: "I/O schedulers: every request dispatched exactly once, none passed over without end",
  run: (seed, runs, progress) => campaign(ELEVATORS, seed, runs, progress),
  canary: (seed) => campaign([forgetful], seed, CANARY_RUNS, () => {}),
};

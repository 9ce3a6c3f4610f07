/**
 * What a fuzz target is: a file fuzz/NAME.ts that exports `target`. The command `orrery fuzz NAME` finds it by its file
 * name, so there is no table to keep.
 *
 * - run(seed, runs, progress)  case k (0 <= k < runs) is wholly determined by the number seed + k, so that a failure at
 *                              seed s is repeated by `orrery fuzz NAME --seed s --runs 1`. Ends at the first failure
 * - canary(seed)               the same checks on something broken on purpose: must return a failure, or the target
 *                              proves nothing
 */
export interface FuzzFailure {
  /** The one seed that shows it. */
  readonly seed: number;
  /** One line: what was expected and what was seen. */
  readonly message: string;
}

export interface FuzzResult {
  /** Cases that were carried out, the failing one among them. */
  readonly runs: number;
  readonly failure?: FuzzFailure;
}

export interface FuzzTarget {
  readonly name: string;
  /** One line for the list of targets. */
  readonly help: string;
  run(seed: number, runs: number, progress: (done: number) => void): FuzzResult;
  canary(seed: number): FuzzResult;
}

/** A target whose cases start machines, which takes an await. */
export interface AsyncFuzzTarget extends Omit<FuzzTarget, "run" | "canary"> {
  run(seed: number, runs: number, progress: (done: number) => void): Promise<FuzzResult>;
  canary(seed: number): Promise<FuzzResult>;
}

export type AnyFuzzTarget = FuzzTarget | AsyncFuzzTarget;

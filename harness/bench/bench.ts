/**
 * What a benchmark is: a file harness/bench/NAME.ts that exports `bench`. The command `orrery bench NAME` finds it by
 * its file name. Figures of interest are ratios against a peer measured interleaved in the same run, medians of at
 * least nine; a row is flat so that it prints in every format, and null stands for what could not be measured.
 */
export type BenchRow = Readonly<Record<string, string | number | null>>;

export interface BenchTable {
  readonly schema: 1;
  readonly name: string;
  readonly rows: readonly BenchRow[];
  /** What a reader must know to trust the rows: what was missing, how it was measured. */
  readonly notes: readonly string[];
}

export interface BenchOptions {
  /** A few seconds, for smoke runs: the same code with fewer rounds. */
  readonly quick: boolean;
  /** One line for the reader while it runs. */
  readonly progress: (line: string) => void;
  /** Only these of the benchmark's `devices`; undefined: what it measures by itself. */
  readonly devices?: readonly string[];
}

export interface Bench {
  readonly name: string;
  /** One line for the list of benchmarks. */
  readonly help: string;
  /** Names that --device may give. */
  readonly devices?: readonly string[];
  run(options: BenchOptions): Promise<BenchTable>;
}

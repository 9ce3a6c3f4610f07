/** What a benchmark is: `orrery bench NAME` runs `bench` of harness/bench/NAME.ts and prints its table. */
export interface BenchTable {
  readonly schema: 1;
  readonly name: string;
  readonly rows: Record<string, string | number | null>[];
  readonly notes: string[];
}

export interface BenchOptions {
  readonly quick: boolean;
  readonly progress: (line: string) => void;
}

export interface Bench {
  readonly name: string;
  readonly help: string;
  run(options: BenchOptions): Promise<BenchTable>;
}

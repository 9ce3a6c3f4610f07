/** Where runs go without --out, below the present directory. Apart from run.ts: who only needs the name loads nothing. */
export const RUNS_DIR = "orrery-runs";

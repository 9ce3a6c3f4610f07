/** The scheduler's face. */
export { NICE_MAX, NICE_MIN, loadWeightOf } from "./weight.ts";
export { Op } from "./workload/program.ts";
export type { Program, TaskSpec, Workload } from "./workload/program.ts";

/** The scheduler's face: the core, its statistics, the policies that come with it, and what workloads are made of. */
export { checkSched } from "./check.ts";
export { COSTS } from "./cost.ts";
export type { Background, Costs, CostsName } from "./cost.ts";
export { NO_PARENT, Sched } from "./core.ts";
export type { SchedWorld } from "./core.ts";
export { SchedMetrics } from "./metrics.ts";
export { cfs } from "./policies/cfs.ts";
export { eevdf } from "./policies/eevdf.ts";
export { fifo } from "./policies/fifo.ts";
export { roundRobin, rr } from "./policies/rr.ts";
export { cpuAt, TaskState } from "./table.ts";
export { NICE_SPAN, Op, niceStep } from "./workload/program.ts";
export type { Program, TaskSpec, Workload } from "./workload/program.ts";
export { closedWorkload, draw, meanOf, openWorkload, periodicWorkload, secondMomentOf } from "./workload/generate.ts";
export type { ClosedOptions, Distribution, OpenOptions, PeriodicTask } from "./workload/generate.ts";
export { SPEC_US_MAX, parseSpecs, specText, specWorkload } from "./workload/spec.ts";
export type { Spec } from "./workload/spec.ts";
export { NICE_MIN, loadWeightOf } from "./weight.ts";

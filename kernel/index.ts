/** The kernel's face: what harness may name. */
export * from "./worlds.ts";
export { MACHINE_FEATURES } from "./config.ts";
export { bootMachine } from "./boot.ts";
export type { BootedMachine, MachineConfig } from "./boot.ts";
export { bootParallelMachine, MachineFailure } from "./parallel/parallel_machine.ts";
export type { DiskStore } from "./parallel/disk_worker.ts";
export type { MachineResult, ParallelMachine, ParallelMachineConfig } from "./parallel/parallel_machine.ts";
export { Kind as TaskKind } from "./process.ts";
export { callRows } from "./observe/call_times.ts";
export type { CallRow } from "./observe/call_times.ts";
export { figuresOf } from "./observe/figures.ts";
export type { Figures } from "./observe/figures.ts";
export { WAIT_NAMES } from "./wait.ts";
export * from "./fs/index.ts";

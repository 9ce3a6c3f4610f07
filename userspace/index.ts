/** The face of userspace: programs, what they are written with, and what they promise. */
export * from "./libc.ts";
export { generatorProgram, PC, program } from "./program.ts";
export type { ProgramText, Step } from "./program.ts";
export { checkFile, readPromises } from "./promise.ts";
export type { CheckOptions, Promised, Promises } from "./promise.ts";
export { mixed } from "./workload/mixed.ts";
export { WORKLOADS } from "./workload/index.ts";

/** The face of userspace: the workloads that come with orrery, and what programs of one's own are made of. */
export * as libc from "./libc.ts";
export { program } from "./program.ts";
export type { State } from "./program.ts";
export { droppedLine, fillSectors, Promises, SECTOR, syncedLine } from "./promise.ts";
export { WORKLOADS } from "./workload/index.ts";

/** The worlds' face: what who boots a machine without a file system may name, and loads no file system to do so. */
export { EventHash } from "./observe/hash.ts";
export { EventLog } from "./observe/event_log.ts";
export { attachRings, createRings, drainRing, ringCursor, ringWrite } from "./observe/ring.ts";
export type { EventRing, EventRings, RingCursor } from "./observe/ring.ts";
export { createTracer, noTrace } from "./observe/tracer.ts";
export type { TracerParts } from "./observe/tracer.ts";
export { FEATURES } from "./config.ts";
export type { Feature } from "./config.ts";
export { boot } from "./boot.ts";
export type { BootConfig, Booted } from "./boot.ts";
export { LockstepWorld } from "./world_lockstep.ts";
export { ParallelFailure, ParallelWorld } from "./world_parallel.ts";
export type { ParallelConfig, ParallelResult } from "./world_parallel.ts";

/** The kernel's face: what harness may name. */
export { EventHash } from "./observe/hash.ts";
export { EventLog } from "./observe/event_log.ts";
export { attachRings, createRings, drainRing, ringCursor, ringWrite } from "./observe/ring.ts";
export type { EventRing, EventRings, RingCursor } from "./observe/ring.ts";
export { createTracer, noTrace } from "./observe/tracer.ts";
export type { TracerParts } from "./observe/tracer.ts";

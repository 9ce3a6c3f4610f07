/** The face of the memory wing: what kernel, harness and fuzzers may name. */
export { PageAlloc, OWNER_BOOT, type PageAllocBuffers, type PageAllocConfig } from "./page_alloc.ts";
export { GFP, mobilityOf } from "./gfp.ts";
export { checkPageAlloc } from "./check.ts";
export { ZONE, type ZoneSpec } from "./zone.ts";

/** The face of the memory wing. */
export * from "./evict/index.ts";

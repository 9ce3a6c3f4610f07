/** The kernel's face: what harness may name. */
export * from "./worlds.ts";
export * from "./fs/index.ts";

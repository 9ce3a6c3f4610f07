/** The face of the memory wing. */
export * from "./evict/index.ts";
export { fileRead, fileSync, fileTruncate, fileWrite, type PlainFile, type SizedStore } from "./file_rw.ts";
export { adopt, pageCache, pageCacheOf } from "./filemap.ts";
export { Filemap, type FilemapOptions, PG, STAT } from "./filemap_state.ts";
export { MemoryStore, STEADY, type StoreMoods } from "./memory_store.ts";
export { PageFrames } from "./page_frames.ts";
export { RA, RA_PAGES_DEFAULT, raInit } from "./readahead.ts";

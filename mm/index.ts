/** The face of the memory wing: what kernel, harness and fuzzers may name. */
export { type PageAllocConfig, OWNER_BOOT, PageAlloc } from "./page_alloc.ts";
export { GFP, mobilityOf } from "./gfp.ts";
export { checkPageAlloc } from "./check.ts";
export { ZONE, type ZoneSpec, hugePageMinFreeKbytes, lowmemReserve, minFreeKbytes, watermarks } from "./zone.ts";
export { Kind, ORDER_MAX, PAGEBLOCK_ORDER } from "./memmap.ts";
export { MIGRATE_NAMES, Migrate } from "./migratetype.ts";
export { PCP, batchSize, highSize } from "./pcp.ts";
export { type SlowHooks, noHooks } from "./page_alloc_slow.ts";
export {
  type ZoneBlocks,
  buddyinfo,
  pagetypeinfo,
  parseBuddyinfo,
  parsePagetypeinfo,
  readVmEvents,
  vmstat,
  zoneinfo,
  zonesOf,
} from "./proc.ts";
export { fragmentationIndex, fragmentationText, unusableIndex, unusableShare, unusableText } from "./frag_index.ts";
export { Psi, PsiResource, PsiTask } from "./psi.ts";
export { SlabFlag, Slub, type SlubBuffers } from "./slub.ts";
export { KMALLOC_BYTES_MAX, KMALLOC_SIZES, Kmalloc } from "./kmalloc.ts";
export { type SlabRow, slabRows, slabinfo } from "./slabinfo.ts";
export { Compaction, Order as CompactOrder } from "./compaction.ts";
export { type ReclaimParts, attachReclaim } from "./reclaim.ts";
export { Vmscan } from "./vmscan.ts";
export { badness, oomScore, selectVictim } from "./oom_kill.ts";
export * from "./evict/index.ts";
export { fileRead, fileSync, fileTruncate, fileWrite, type PlainFile, type SizedStore } from "./file_rw.ts";
export { adopt, pageCache, pageCacheOf } from "./filemap.ts";
export { Filemap, type FilemapOptions, PG, STAT } from "./filemap_state.ts";
export { MemoryStore, STEADY, type StoreMoods } from "./memory_store.ts";
export { PageFrames } from "./page_frames.ts";
export { RA, RA_PAGES_DEFAULT, raInit } from "./readahead.ts";

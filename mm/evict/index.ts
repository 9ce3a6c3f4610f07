/** The eviction policies by name, in the order in which tables show them, the bound, and the replayer. */
import type { EvictPolicyType } from "../../kernel/abi/evict.ts";
import { arc } from "./arc.ts";
import { clock } from "./clock.ts";
import { fifo } from "./fifo.ts";
import { lfu } from "./lfu.ts";
import { lru } from "./lru.ts";
import { mglru } from "./mglru.ts";
import { random } from "./random.ts";
import { s3Fifo } from "./s3_fifo.ts";
import { sieve } from "./sieve.ts";
import { twoList } from "./two_list.ts";

export const EVICT_POLICIES: readonly EvictPolicyType[] = [
  fifo,
  random,
  lru,
  lfu,
  twoList,
  clock,
  arc,
  s3Fifo,
  sieve,
  mglru,
];

export { minMisses } from "./min.ts";
export { replay } from "./replay.ts";
export type { ReplayResult, Trace } from "./replay.ts";
export { syntheticTrace, TRACE_SHAPES } from "./traces.ts";
export type { TraceShape } from "./traces.ts";

/**
 * What a disk may hold after the power went: from a recorded log, the disk's content before it, and a cut.
 *
 * - honest    durable is what a flush or FUA made durable before the cut; of the rest each write is there or not
 * - lying     flushes and FUA did nothing: of the last `cacheWrites` writes before the cut each is there or not, whatever
 *             was promised about them
 *
 * Chance decides, by the caller's state of kernel/lib/prng.ts. Writes that are there are applied in their order.
 */
import { nextBelow } from "../../kernel/lib/prng.ts";
import { SparseDisk } from "../disk/sparse.ts";
import { LogType } from "./log.ts";
import type { LogEntry } from "./log.ts";

export type Honesty = { readonly kind: "honest" } | { readonly kind: "lying"; readonly cacheWrites: number };

export interface CrashImage {
  readonly disk: SparseDisk;
  /** Writes that were lost, and how many of them a flush or FUA had promised. */
  readonly lost: number;
  readonly promisedLost: number;
}

const changes = (entry: LogEntry): boolean => entry.type !== LogType.Flush && entry.type !== LogType.Marker;

export function crashImage(
  before: SparseDisk,
  log: readonly LogEntry[],
  cut: number,
  honesty: Honesty,
  random: Int32Array,
): CrashImage {
  const disk = before.snapshot();
  const lastFlush = log.findLastIndex((entry, at) => at < cut && entry.type === LogType.Flush);
  const cached = volatileFrom(log, cut, honesty, lastFlush);
  let lost = 0;
  let promisedLost = 0;
  for (const [at, entry] of log.slice(0, cut).entries()) {
    if (!changes(entry)) continue;
    const promised = at < lastFlush || entry.fua;
    const isVolatile = honesty.kind === "honest" ? !promised : at >= cached;
    if (isVolatile && nextBelow(random, 2) === 0) {
      lost++;
      if (promised) promisedLost++;
    } else if (entry.type === LogType.Write) disk.writeAt(entry.offset, entry.data!);
    else disk.zeroAt(entry.offset, entry.length);
  }
  return { disk, lost, promisedLost };
}

/** First position whose write may be in the cache. */
function volatileFrom(log: readonly LogEntry[], cut: number, honesty: Honesty, lastFlush: number): number {
  if (honesty.kind === "honest") return lastFlush + 1;
  let at = cut;
  for (let writes = 0; at > 0 && writes < honesty.cacheWrites; at--) if (changes(log[at - 1]!)) writes++;
  return at;
}

/**
 * A sequence of errors in one word, so that each of many listeners learns once of an error that came since it last
 * asked (Linux: lib/errseq.c). What fsync returns is this: every open file hears of a failed write-back, once.
 *
 *   31 ............ 13 | 12   | 11 ..... 0
 *   counter            | seen | errno, positive; 0: never an error
 *
 * The counter moves only when the last value was seen: errors nobody asked about need no telling apart.
 *
 * - errseqSet(words, at, error)          a write-back failed with `error`
 * - errseqSample(words, at)              where a listener starts; 0 while an error was not told to anyone yet
 * - errseqReport(words, at, since)       the error since then, or 0; marks it seen. Sample anew afterwards
 */
import type { Errno } from "../abi/units.ts";
import { assert } from "./assert.ts";

const ERRNO_MASK = 0xfff;
const SEEN = 0x1000;
const COUNT = 0x2000;

export function errseqSet(words: Int32Array, at: number, error: Errno): void {
  const errno = Math.abs(error);
  assert(error < 0 && errno <= ERRNO_MASK, "errseqSet: no errno");
  const old = words[at]!;
  const value = (old & ~(ERRNO_MASK | SEEN)) | errno;
  words[at] = (old & SEEN) === 0 ? value : (value + COUNT) | 0;
}

export function errseqSample(words: Int32Array, at: number): number {
  const value = words[at]!;
  return (value & SEEN) === 0 ? 0 : value;
}

export function errseqReport(words: Int32Array, at: number, since: number): Errno | 0 {
  const value = words[at]!;
  if (value === since) return 0;
  words[at] = value | SEEN;
  return value === 0 ? 0 : (-(value & ERRNO_MASK) as Errno);
}

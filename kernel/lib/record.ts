/**
 * A record on disk as byte offsets: field name -> width in bytes, in the order in which they lie on the disk. The result
 * maps each name to its offset, and `bytes` is the size of the whole, checked when the module loads: a wrong width, a
 * missing or a doubled field moves it.
 *
 * - record(16, { magic: 4, count: 2, flags: 2, next: 8 })   ->  { magic: 0, count: 4, flags: 6, next: 8, bytes: 16 }
 */
import { assert } from "./assert.ts";

export function record<const Widths extends Readonly<Record<string, number>>>(
  bytes: number,
  widths: Widths,
): { readonly [Name in keyof Widths | "bytes"]: number } {
  const offsets: Record<string, number> = {};
  let at = 0;
  for (const [name, width] of Object.entries(widths)) {
    offsets[name] = at;
    at += width;
  }
  assert(at === bytes, "record: its fields do not add up to its size");
  offsets["bytes"] = bytes;
  return Object.freeze(offsets) as { readonly [Name in keyof Widths | "bytes"]: number };
}

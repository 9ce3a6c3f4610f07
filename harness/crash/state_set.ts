/**
 * Which writes of a segment survived: a crash state. Written as text, so that a state can be named, kept and rebuilt
 * anywhere; the free writes of the segment are counted from 0.
 *
 *   p12        the first 12, and no other (what in-order replay sees)
 *   p12x5      the first 12 without number 5: one write lost; p12x5.7 without 5 and 7
 *   o5         number 5 alone
 *   s1f03      those whose bits are set, bit 0 the first: hexadecimal
 *   p12e       the same as p12, and the crash came at the end of the epoch: what was promised by then must hold
 *   ...t5+512  and of number 5, which is among them, only the first 512 bytes: torn
 *   ...t5-512  and of number 5 all but the first 512 bytes
 *
 * A state's name is LOG-eEPOCH[fFUAS]-SET: LOG is the start of the SHA-256 of image and log.
 *
 * - StateSet                    kept: a byte a free write; the tear
 * - setText(set), parseSet(text, free)
 * - stateId(hash, segment, text), parseStateId(id)
 */
import { UserError } from "../cli/exit.ts";

export interface Tear {
  /** Place among the free writes. */
  readonly write: number;
  readonly bytes: number;
  /** Whether the first `bytes` are there, or all but them. */
  readonly head: boolean;
}

export interface StateSet {
  readonly text: string;
  readonly kept: Uint8Array;
  readonly tear: Tear | undefined;
  /** When the crash came: after so many free writes. */
  readonly cut: number;
}

const HASH_SHOWN = 12;
const SET = /^(?:p(\d+)(?:x(\d+(?:\.\d+)*))?(e)?|o(\d+)|s([0-9a-f]+))(?:t(\d+)([+-])(\d+))?$/;
const ID = /^([0-9a-f]{12})-e(\d+)(?:f(\d+))?-([a-z0-9.+-]+)$/;

export function parseSet(text: string, free: number): StateSet {
  const match = SET.exec(text);
  const bad = (why: string): UserError => new UserError(`${text} is no crash state of this log: ${why}`);
  if (match === null) throw bad("a set reads p12, p12x5, o5 or s1f03, a tear t5+512 or t5-512 behind it");
  const [, prefix, lost, late, only, mask, torn, side, bytes] = match;
  const kept = new Uint8Array(free);
  const place = (digits: string): number => {
    if (Number(digits) >= free) throw bad(`the epoch has ${free} writes that may be lost`);
    return Number(digits);
  };
  if (prefix !== undefined) {
    if (Number(prefix) > free) throw bad(`the epoch has ${free} writes that may be lost`);
    kept.fill(1, 0, Number(prefix));
    for (const digits of lost?.split(".") ?? []) kept[place(digits)] = 0;
  } else if (only !== undefined) kept[place(only)] = 1;
  else {
    const digits = mask!;
    for (let n = 0; n < digits.length; n++) {
      const four = Number.parseInt(digits[digits.length - 1 - n]!, 16);
      for (let bit = 0; bit < 4; bit++) if (((four >> bit) & 1) !== 0) kept[place(String(n * 4 + bit))] = 1;
    }
  }
  const tear = torn === undefined ? undefined : { write: place(torn), bytes: Number(bytes), head: side === "+" };
  if (tear !== undefined && kept[tear.write] === 0) throw bad("the torn write is not among those that survived");
  return { text, kept, tear, cut: mask !== undefined || late !== undefined ? free : cutOf(kept, prefix) };
}

/** A mask is asked for all that was promised in its epoch; other sets are crashes right after their last write. */
const cutOf = (kept: Uint8Array, prefix: string | undefined): number =>
  prefix === undefined ? kept.lastIndexOf(1) + 1 : Number(prefix);

/** The text of a set by what is lost of its first `end` writes. */
export function lossText(end: number, lost: readonly number[], tear: Tear | undefined): string {
  const without = lost.length === 0 ? "" : `x${lost.join(".")}`;
  const torn = tear === undefined ? "" : `t${tear.write}${tear.head ? "+" : "-"}${tear.bytes}`;
  return `p${end}${without}${torn}`;
}

/** The mask's text for a subset given as bytes. */
export function maskText(kept: Uint8Array): string {
  let digits = "";
  for (let n = 0; n * 4 < kept.length; n++) {
    let four = 0;
    for (let bit = 0; bit < 4; bit++) if (kept[n * 4 + bit] === 1) four |= 1 << bit;
    digits = four.toString(16) + digits;
  }
  return `s${digits.replace(/^0+(?=.)/, "") || "0"}`;
}

export const stateId = (hash: string, epoch: number, fuas: number, set: string): string =>
  `${hash.slice(0, HASH_SHOWN)}-e${epoch}${fuas === 0 ? "" : `f${fuas}`}-${set}`;

export interface ParsedId {
  readonly hash: string;
  readonly epoch: number;
  readonly fuas: number;
  readonly set: string;
}

export function parseStateId(id: string): ParsedId {
  const match = ID.exec(id);
  if (match === null)
    throw new UserError(
      `${id} is no name of a crash state; one reads 3f1c0a9b2e4d-e4-p12x5 (log, epoch, what survived)`,
    );
  return { hash: match[1]!, epoch: Number(match[2]), fuas: Number(match[3] ?? 0), set: match[4]! };
}

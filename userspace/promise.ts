/**
 * What programs were told is durable, in a form that can be checked with no other knowledge.
 *
 * A file is records of 512 bytes, each of which says whose it is; eight make a unit of 4 KiB. As text, so that a student
 * can look at it:
 *
 *   0   8 hex digits   crc32c of the path under which it was written
 *   9   8 hex digits   number of the record in the file
 *   18  8 hex digits   generation: a file's writes are counted from 1
 *   27  8 hex digits   all three, mixed
 *   36  472 bytes      letters, mixed from what is counted from there on
 *   508 three spaces and a newline;      a space after each number
 *
 * So a record is right when it is, byte for byte, the one that its own head names.
 *
 * Lines on /dev/kmsg; numbers are decimal:
 *
 *   synced PATH GENERATION BYTES [OFFSET]   after fsync or fdatasync answered 0: of the bytes from OFFSET (0), each record
 *                                           is of this generation or a later one, whatever happens
 *   dropped PATH                            before the file is unlinked, renamed or cut: nothing is expected of it any more
 *   wrong PATH OFFSET                       what was read there was not what the program had written
 */
import type { UserTask } from "../kernel/abi/program.ts";
import { PATH_MAX } from "../kernel/abi/stat.ts";
import { crc32c } from "../kernel/lib/crc32c.ts";
import { putText, say } from "./libc.ts";

export const RECORD_BYTES = 512;
export const UNIT_BYTES = 4096;
const RECORDS_PER_UNIT = UNIT_BYTES / RECORD_BYTES;
const NUMBER_AT = 9;
const GENERATION_AT = 18;
const MIXED_AT = 27;
const FILL_AT = 36;
const FILL_END = 508;
const SPACE = 0x20;
const ENDING = 0x0a20_2020;
const COUNT_STEP = 0x9e37_79b1;

/** Of the path whose hash is taken; nothing in it outlives a call. */
const letters = new Uint8Array(PATH_MAX);

export function pathHash(path: string): number {
  return ~crc32c(~0, letters, 0, putText(letters, 0, PATH_MAX, path)) >>> 0;
}

function putHex(view: DataView, at: number, value: number): void {
  for (let digit = 0; digit < 8; digit++) {
    const four = (value >>> (28 - 4 * digit)) & 15;
    view.setUint8(at + digit, four + (four < 10 ? 0x30 : 0x57));
  }
  view.setUint8(at + 8, SPACE);
}

/** NaN when it is none. */
function hexAt(view: DataView, at: number): number {
  let value = 0;
  for (let digit = 0; digit < 8; digit++) {
    const letter = view.getUint8(at + digit);
    const four = letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : letter - 0x30;
    if (four < 0 || four > 15 || (letter > 0x39 && letter < 0x61)) return NaN;
    value = value * 16 + four;
  }
  return value;
}

function mixed(hash: number, number: number, generation: number): number {
  return Math.imul(hash ^ Math.imul(number, 0x9e37_79b1) ^ Math.imul(generation, 0x85eb_ca77), 0x2c1b_3c6d) | 1;
}

function putHead(view: DataView, at: number, hash: number, number: number, generation: number, mix: number): void {
  putHex(view, at, hash);
  putHex(view, at + NUMBER_AT, number);
  putHex(view, at + GENERATION_AT, generation);
  putHex(view, at + MIXED_AT, mix);
}

/** Four letters: each is mixed from a count of its own, so that a processor makes several at a time. */
function lettersOf(count: number): number {
  const x = Math.imul(count ^ (count >>> 16), 0x85eb_ca6b);
  return ((x ^ (x >>> 13)) & 0x3f3f_3f3f) + 0x2020_2020;
}

function fillRecord(view: DataView, at: number, hash: number, number: number, generation: number): void {
  const mix = mixed(hash, number, generation);
  putHead(view, at, hash, number, generation, mix);
  for (let n = FILL_AT, count = mix; n < FILL_END; n += 4) {
    count = (count + COUNT_STEP) | 0;
    view.setInt32(at + n, lettersOf(count), true);
  }
  view.setInt32(at + FILL_END, ENDING, true);
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** `bytes` of the file `path` from `offset` on, both multiples of RECORD_BYTES, at `at` of some memory. */
export function fillUnits(
  memory: Uint8Array,
  at: number,
  path: string,
  offset: number,
  bytes: number,
  generation: number,
): void {
  const view = viewOf(memory);
  const hash = pathHash(path);
  for (let n = 0; n < bytes; n += RECORD_BYTES) fillRecord(view, at + n, hash, (offset + n) / RECORD_BYTES, generation);
}

/** The head that a record should have; nothing in it outlives a call. */
const expected = new DataView(new ArrayBuffer(FILL_AT));

/** Generation of the record at `at`; -1 when it is not the record `number` of the file. */
function generationAt(view: DataView, at: number, hash: number, number: number): number {
  const generation = hexAt(view, at + GENERATION_AT);
  if (Number.isNaN(generation)) return -1;
  const mix = mixed(hash, number, generation);
  putHead(expected, 0, hash, number, generation, mix);
  for (let n = 0; n < FILL_AT; n += 4) if (view.getInt32(at + n) !== expected.getInt32(n)) return -1;
  for (let n = FILL_AT, count = mix; n < FILL_END; n += 4) {
    count = (count + COUNT_STEP) | 0;
    if (view.getInt32(at + n, true) !== lettersOf(count)) return -1;
  }
  return view.getInt32(at + FILL_END, true) === ENDING ? generation : -1;
}

/** Offset in the file of the first of `bytes` bytes read from `offset` that no program wrote there; -1: all are right. */
export function firstWrong(memory: Uint8Array, at: number, path: string, offset: number, bytes: number): number {
  const view = viewOf(memory);
  const hash = pathHash(path);
  for (let n = 0; n + RECORD_BYTES <= bytes; n += RECORD_BYTES)
    if (generationAt(view, at + n, hash, (offset + n) / RECORD_BYTES) < 0) return offset + n;
  return -1;
}

export interface Promised {
  /** Size that the file has at least. */
  bytes: number;
  /** By number of record: its generation at least; a record that is missing was not promised. */
  readonly generations: number[];
}

export interface Promises {
  readonly files: ReadonlyMap<string, Promised>;
  /** Lines of programs that read what they had not written. */
  readonly wrong: readonly string[];
}

const LINE = /^(?:\[[^\]]*\] )?(?:synced (\S+) (\d+) (\d+)(?: (\d+))?|dropped (\S+)|(wrong \S+ \d+))$/;

/** Of the text of /dev/kmsg. Other lines are nobody's promise; the last counts when its newline is there. */
export function readPromises(text: string): Promises {
  const files = new Map<string, Promised>();
  const wrong: string[] = [];
  for (const line of text.split("\n").slice(0, -1)) {
    const [, synced, generation, bytes, offset, dropped, mistake] = LINE.exec(line) ?? [];
    if (mistake !== undefined) wrong.push(mistake);
    if (dropped !== undefined) files.delete(dropped);
    if (synced === undefined) continue;
    const promised = files.get(synced) ?? { bytes: 0, generations: [] };
    files.set(synced, promised);
    const first = Number(offset ?? 0);
    const end = first + Number(bytes);
    promised.bytes = Math.max(promised.bytes, end);
    for (let n = first / RECORD_BYTES; n * RECORD_BYTES < end; n++)
      promised.generations[n] = Math.max(promised.generations[n] ?? 0, Number(generation));
  }
  return { files, wrong };
}

export interface CheckOptions {
  /** The disk may tear a unit that is overwritten in place at its sectors: some of its records old, some new. */
  readonly mayTearUnits?: boolean;
}

/**
 * Does a file hold what was promised about it? undefined: it does; otherwise what is wrong, for people.
 * @param bytes all of the file; undefined: it is not there
 *
 * What was overwritten after the promise may be of the promised generation or of any later one, unit by unit: the eight
 * records of a unit are of one write, unless what is promised about them itself is of two.
 */
export function checkFile(
  path: string,
  bytes: Uint8Array | undefined,
  promised: Promised,
  options: CheckOptions = {},
): string | undefined {
  if (bytes === undefined) return `${path}: is missing; ${promised.bytes} bytes were promised`;
  if (bytes.length < promised.bytes) return `${path}: has ${bytes.length} bytes; ${promised.bytes} were promised`;
  const view = viewOf(bytes);
  const hash = pathHash(path);
  let unitGeneration = -1;
  let unitPromised = -1;
  for (let n = 0; n * RECORD_BYTES < promised.bytes; n++) {
    if (n % RECORDS_PER_UNIT === 0) unitGeneration = -1;
    const least = promised.generations[n];
    if (least === undefined) continue;
    const offset = n * RECORD_BYTES;
    const generation = generationAt(view, offset, hash, n);
    if (generation < 0) return `${path}: offset ${offset} holds nothing that was written there`;
    if (generation < least) return `${path}: offset ${offset} is of generation ${generation}; ${least} was promised`;
    const isMixed = unitGeneration >= 0 && generation !== unitGeneration && least === unitPromised;
    if (isMixed && options.mayTearUnits !== true)
      return `${path}: offset ${offset} is of generation ${generation}, the rest of its unit of ${unitGeneration}`;
    unitGeneration = generation;
    unitPromised = least;
  }
  return undefined;
}

// What programs say.

/** Says that bytes of a file are durable, once tell() is called: after the fsync answered 0. */
export const saySynced = (t: UserTask, path: string, generation: number, bytes: number, offset = 0): void =>
  say(t, `synced ${path} ${generation} ${bytes}${offset === 0 ? "" : ` ${offset}`}\n`);
export const sayDropped = (t: UserTask, path: string): void => say(t, `dropped ${path}\n`);
export const sayWrong = (t: UserTask, path: string, offset: number): void => say(t, `wrong ${path} ${offset}\n`);

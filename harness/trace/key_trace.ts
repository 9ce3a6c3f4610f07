/**
 * Reads a request trace of a cache from a text file, gzip or plain, and numbers its keys densely.
 *
 *   key                                              one a line
 *   key size                                         size in bytes, checked and not used: every key is one page
 *   start count ignored number                       blocks, as the traces published with ARC: one request a block
 *   head line with a column key, obj_id, ...         CSV; that column
 *   key,size     time,key,size                       CSV without a head line
 *   time,key,keysize,valuesize,client,op,ttl         CSV, as Twitter's cache traces
 *   time,host,disk,Read|Write,offset,size,response   CSV, as Microsoft Research Cambridge's: one request a 4 KiB page
 *
 * Blank lines and lines that begin with # are skipped. The first line that is left decides the format; a line that is
 * not of it is a UserError that says its number.
 */
import { createReadStream, openSync, readSync, closeSync } from "node:fs";
import { createGunzip } from "node:zlib";
import { PAGE_SIZE } from "../../kernel/abi/units.ts";
import type { Trace } from "../../mm/index.ts";
import { UserError } from "../cli/exit.ts";

const LINE_MAX = 1 << 16;
/** Entries that a Map can hold. */
const KEYS_MAX = 2 ** 24 - 1;
/** Pages of one request: 4 GiB. */
const SPAN_MAX = 2 ** 20;
const REQUESTS_FIRST = 1 << 16;
const KEY_COLUMNS = /^(key|id|obj_?id|object(_?id)?|block|lbn|lba|page|address|addr)$/i;
const WHOLE = /^\d{1,15}$/;

/** One line to requests: `emit(key)` for each; returns what is wrong with the line, if anything. */
type LineReader = (line: string, emit: (key: string) => void) => string | undefined;

interface Format {
  readonly name: string;
  readonly hasHead: boolean;
  readonly read: LineReader;
}

export interface KeyTrace extends Trace {
  readonly format: string;
}

/** `first .. first + count` pages of the thing called `prefix`. */
function emitSpan(prefix: string, first: number, count: number, emit: (key: string) => void): string | undefined {
  if (count > SPAN_MAX) return `a request of ${count} pages`;
  for (let page = 0; page < count; page++) emit(`${prefix}${first + page}`);
  return undefined;
}

/** A reader of lines with `columns` fields, of which those in `whole` are numbers. */
function fields(
  separator: string | RegExp,
  columns: number,
  whole: readonly number[],
  read: (parts: readonly string[], emit: (key: string) => void) => string | undefined,
): LineReader {
  return (line, emit) => {
    const parts = line.split(separator);
    if (parts.length !== columns) return `${parts.length} columns, not ${columns}`;
    for (const at of whole) if (!WHOLE.test(parts[at]!.trim())) return `column ${at + 1} is no whole number`;
    return read(parts, emit);
  };
}

const keyAt =
  (at: number) =>
  (parts: readonly string[], emit: (key: string) => void): string | undefined => {
    const key = parts[at]!.trim();
    if (key === "") return "the key is empty";
    emit(key);
    return undefined;
  };

const spanOfPages = (parts: readonly string[], emit: (key: string) => void): string | undefined => {
  const type = parts[3]!.trim().toLowerCase();
  if (type !== "read" && type !== "write") return `the type is ${type}, not Read or Write`;
  const first = Math.floor(Number(parts[4]) / PAGE_SIZE);
  const end = Math.ceil((Number(parts[4]) + Number(parts[5])) / PAGE_SIZE);
  return emitSpan(`${parts[1]!.trim()}.${parts[2]!.trim()}:`, first, Math.max(1, end - first), emit);
};

function csvFormat(line: string): Format | undefined {
  const parts = line.split(",").map((part) => part.trim());
  const named = parts.findIndex((part) => KEY_COLUMNS.test(part));
  if (named >= 0)
    return { name: `csv, column ${parts[named]}`, hasHead: true, read: fields(",", parts.length, [], keyAt(named)) };
  if (parts.length === 2) return { name: "key,size", hasHead: false, read: fields(",", 2, [1], keyAt(0)) };
  if (parts.length === 3) return { name: "time,key,size", hasHead: false, read: fields(",", 3, [2], keyAt(1)) };
  if (parts.length !== 7) return undefined;
  if (/^(read|write)$/i.test(parts[3]!))
    return { name: "msr-cambridge", hasHead: false, read: fields(",", 7, [0, 4, 5], spanOfPages) };
  return /^[a-z]+$/i.test(parts[5]!)
    ? { name: "twitter", hasHead: false, read: fields(",", 7, [0, 2, 3, 6], keyAt(1)) }
    : undefined;
}

function formatOf(line: string): Format | undefined {
  if (line.includes(",")) return csvFormat(line);
  const columns = line.split(/\s+/).length;
  if (columns === 1)
    return KEY_COLUMNS.test(line)
      ? { name: "csv, column key", hasHead: true, read: fields(/\s+/, 1, [], keyAt(0)) }
      : { name: "key", hasHead: false, read: fields(/\s+/, 1, [], keyAt(0)) };
  if (columns === 2) return { name: "key size", hasHead: false, read: fields(/\s+/, 2, [1], keyAt(0)) };
  if (columns !== 4) return undefined;
  const blocks = fields(/\s+/, 4, [0, 1, 2, 3], (parts, emit) =>
    emitSpan("", Number(parts[0]), Number(parts[1]), emit),
  );
  return { name: "start count ignored number", hasHead: false, read: blocks };
}

function isGzip(path: string): boolean {
  const file = openSync(path, "r");
  const magic = new Uint8Array(2);
  const got = readSync(file, magic, 0, 2, 0);
  closeSync(file);
  return got === 2 && magic[0] === 0x1f && magic[1] === 0x8b;
}

async function* linesOf(path: string): AsyncGenerator<string> {
  const packed = isGzip(path);
  const raw = createReadStream(path, { highWaterMark: 1 << 20 });
  const bytes = packed ? raw.pipe(createGunzip()) : raw;
  raw.on("error", (error) => bytes.destroy(error));
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of bytes as AsyncIterable<Uint8Array>) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop()!;
    yield* lines;
    if (rest.length > LINE_MAX) yield rest;
  }
  if (rest !== "") yield rest;
}

/** Reads at most `requestsMax` requests. */
export async function readKeyTrace(path: string, requestsMax: number): Promise<KeyTrace> {
  const numbers = new Map<string, number>();
  let requests = new Int32Array(Math.min(REQUESTS_FIRST, requestsMax));
  let count = 0;
  const emit = (key: string): void => {
    if (count === requestsMax) return;
    if (count === requests.length) {
      const larger = new Int32Array(Math.min(requestsMax, count * 2));
      larger.set(requests);
      requests = larger;
    }
    let number = numbers.get(key);
    if (number === undefined) {
      if (numbers.size === KEYS_MAX)
        throw new UserError(`${path}: more than ${KEYS_MAX} different keys; read less of it with --requests`);
      number = numbers.size;
      numbers.set(key, number);
    }
    requests[count++] = number;
  };
  let format: Format | undefined;
  let lineNumber = 0;
  const wrong = (line: string, why: string): UserError =>
    new UserError(`${path}: line ${lineNumber}: ${why}: ${JSON.stringify(line.slice(0, 60))}`);
  try {
    for await (const raw of linesOf(path)) {
      lineNumber++;
      const line = raw.trim();
      if (line.length > LINE_MAX || line.includes("\0")) throw wrong(line, "this is no text trace");
      if (line === "" || line.startsWith("#")) continue;
      if (format === undefined) {
        format = formatOf(line);
        if (format === undefined)
          throw wrong(line, `cannot tell which column is the key; put a head line with a column named "key" above`);
        if (format.hasHead) continue;
      }
      const why = format.read(line, emit);
      if (why !== undefined) throw wrong(line, `not of the form "${format.name}" of the first line, ${why}`);
      if (count === requestsMax) break;
    }
  } catch (error) {
    if (error instanceof UserError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT")
      throw new UserError(`there is no trace file ${path}; the built-in traces: zipf, scan, loop, shift`);
    if (code === "EISDIR") throw new UserError(`${path} is a directory, not a trace file`);
    throw new UserError(`cannot read ${path}: ${message}`);
  }
  if (count === 0 || format === undefined) throw new UserError(`${path} holds no requests`);
  return { name: path, requests: requests.subarray(0, count), keys: numbers.size, format: format.name };
}

/**
 * One operation of a script (docs/cli.md, `orrery ext4 run`): plain data, for the parser, the random generator, the model
 * and the runner alike. Fields that an operation does not have are empty.
 *
 * - SYNTAX           operation -> its arguments, in order
 * - scriptLine(op)   the operation as a line that parses to the same
 * - dataBytes(data)  the bytes that a piece of data stands for
 */
import { FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE } from "../../../kernel/index.ts";
import { next32, prng } from "../../../kernel/lib/prng.ts";

/** What an argument is; those with "?" may be left out. */
type Argument =
  | "file"
  | "path"
  | "to"
  | "handle"
  | "target"
  | "offset"
  | "length"
  | "size"
  | "data"
  | "data?"
  | "mode?"
  | "attribute"
  | "open?"
  | "fallocate?"
  | "rename?";

export const SYNTAX = {
  creat: ["path", "mode?"],
  open: ["handle", "path", "open?", "mode?"],
  close: ["handle"],
  write: ["file", "data"],
  pwrite: ["file", "offset", "data"],
  append: ["file", "data"],
  dwrite: ["file", "offset", "data"],
  mmapwrite: ["file", "offset", "data"],
  read: ["file", "offset", "length", "data?"],
  truncate: ["file", "size"],
  fallocate: ["file", "offset", "length", "fallocate?"],
  rename: ["path", "to", "rename?"],
  link: ["path", "to"],
  symlink: ["target", "path"],
  unlink: ["path"],
  mkdir: ["path", "mode?"],
  rmdir: ["path"],
  setxattr: ["file", "attribute", "data"],
  removexattr: ["file", "attribute"],
  fsync: ["file"],
  fdatasync: ["file"],
  sync: [],
} as const satisfies Readonly<Record<string, readonly Argument[]>>;
export type OpName = keyof typeof SYNTAX;

/** Words of flags, joined by commas in a script. */
export const OPEN_WORDS = ["r", "w", "rw", "creat", "excl", "trunc", "append", "direct", "sync", "dsync"] as const;
export const FALLOCATE_WORDS = { keep: FALLOC_KEEP_SIZE, punch: FALLOC_PUNCH_HOLE, zero: FALLOC_ZERO_RANGE } as const;
export const RENAME_WORDS = { noreplace: 1, exchange: 2 } as const;

/** Bytes as they stand, or a pattern of a seed and a length. */
export type Data = { readonly bytes: Uint8Array } | { readonly seed: number; readonly length: number };

export interface Op {
  readonly name: OpName;
  /** In the script, from 1; 0 for one that was made. */
  readonly line: number;
  readonly mayFail: boolean;
  /** "/a/b", or a handle with its "@". */
  readonly path: string;
  /** The second path; the target of a symbolic link. */
  readonly to: string;
  readonly offset: number;
  /** Also of a truncation. */
  readonly length: number;
  readonly data: Data | undefined;
  readonly attribute: string;
  readonly mode: number;
  /** Of open: its words. */
  readonly open: readonly string[];
  /** Of fallocate and rename. */
  readonly flags: number;
}

const EMPTY: Omit<Op, "name"> = {
  line: 0,
  mayFail: false,
  path: "",
  to: "",
  offset: 0,
  length: 0,
  data: undefined,
  attribute: "",
  mode: -1,
  open: [],
  flags: 0,
};
export const FILE_MODE = 0o644;
export const DIRECTORY_MODE = 0o755;

export const makeOp = (name: OpName, fields: Partial<Omit<Op, "name">> = {}): Op => ({ ...EMPTY, name, ...fields });

export const dataLength = (data: Data): number => ("bytes" in data ? data.bytes.length : data.length);

/** Of a pattern: words of xoshiro from its seed, little-endian. */
export function dataBytes(data: Data): Uint8Array {
  if ("bytes" in data) return data.bytes;
  const state = prng(data.seed);
  const words = new Uint32Array(Math.ceil(data.length / 4));
  for (let n = 0; n < words.length; n++) words[n] = next32(state);
  return new Uint8Array(words.buffer, 0, data.length);
}

const PLAIN = /^[\w./@+=%,~^-]+$/;
const PATTERN = /^\d+:\d+$/;

/** Text is a word as it stands, or quoted. */
export function quoted(text: string): string {
  if (PLAIN.test(text) && !/^0x|^-/.test(text) && !PATTERN.test(text)) return text;
  return `"${text.replace(/[\\"]/g, "\\$&").replaceAll("\n", "\\n").replaceAll("\t", "\\t")}"`;
}

function dataWord(data: Data): string {
  if (!("bytes" in data)) return `${data.seed}:${data.length}`;
  const text = Buffer.from(data.bytes).toString("latin1");
  return /^[ -~\n\t]*$/.test(text) ? quoted(text) : `0x${Buffer.from(data.bytes).toString("hex")}`;
}

const flagWords = (words: Readonly<Record<string, number>>, flags: number): string =>
  Object.keys(words)
    .filter((word) => (flags & words[word]!) !== 0)
    .join(",");

export function scriptLine(op: Op): string {
  const words = SYNTAX[op.name].map((argument: Argument): string => {
    switch (argument) {
      case "to":
      case "target":
        return quoted(op.to);
      case "handle":
        return op.name === "open" ? op.to : op.path.slice(1);
      case "offset":
        return String(op.offset);
      case "length":
      case "size":
        return String(op.length);
      case "data":
      case "data?":
        return op.data === undefined ? "" : dataWord(op.data);
      case "mode?":
        return op.mode < 0 ? "" : `0${op.mode.toString(8)}`;
      case "attribute":
        return quoted(op.attribute);
      case "open?":
        return op.open.join(",");
      case "fallocate?":
        return flagWords(FALLOCATE_WORDS, op.flags);
      case "rename?":
        return flagWords(RENAME_WORDS, op.flags);
      default:
        return quoted(op.path);
    }
  });
  return [`${op.mayFail ? "-" : ""}${op.name}`, ...words].filter((word) => word !== "").join(" ");
}

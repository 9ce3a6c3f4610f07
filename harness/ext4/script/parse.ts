/**
 * Scripts of file operations: one a line, words separated by blanks, what follows a # that begins a word is a comment.
 *
 *   mkdir /a                        # a "-" before the operation: it may fail
 *   -unlink /a/none
 *   open h /a/f rw,creat            # @h is the open file from here on
 *   pwrite @h 4096 7:10000          # 10,000 bytes of the pattern of seed 7
 *   append /a/f "text\n"            # quoted text knows \n \t \\ \" and \xHH
 *   setxattr /a/f user.x 0x00ff
 *   fsync /a/f
 *
 * - parseScript(text, name)    Op[]; a mistake is a UserError of one line: name:line, what is wrong, the usage
 */
import { UserError } from "../../cli/exit.ts";
import { nearest } from "../../cli/nearest.ts";
import { FALLOCATE_WORDS, OPEN_WORDS, RENAME_WORDS, SYNTAX, dataLength, makeOp } from "./op.ts";
import type { Data, Op, OpName } from "./op.ts";

/** Of a script, of a piece of data, and where it may lie: what a file system in memory can be asked for. */
export const OPS_MAX = 1_000_000;
const DATA_BYTES_MAX = 2 ** 28;
const OFFSET_MAX = 2 ** 44;
const MODE_MAX = 0o7777;
const PATH_BYTES_MAX = 4095;
const UNITS: Readonly<Record<string, number>> = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

interface Word {
  readonly text: string;
  readonly quoted: boolean;
}

class Mistake extends Error {}

export const usageOf = (name: OpName): string =>
  [name, ...SYNTAX[name].map((each) => (each.endsWith("?") ? `[${each.slice(0, -1)}]` : each).toUpperCase())].join(" ");

/** One line as words; a comment is none. */
function wordsOf(line: string): Word[] {
  const words: Word[] = [];
  for (let at = 0; at < line.length;) {
    if (/\s/.test(line[at]!)) at++;
    else if (line[at] === "#") break;
    else if (line[at] === '"') {
      const end = endOfQuote(line, at + 1);
      words.push({ text: unescaped(line.slice(at + 1, end)), quoted: true });
      at = end + 1;
      if (at < line.length && !/\s/.test(line[at]!)) throw new Mistake("a blank has to follow a quoted word");
    } else {
      let end = at;
      while (end < line.length && !/\s/.test(line[end]!)) end++;
      words.push({ text: line.slice(at, end), quoted: false });
      at = end;
    }
  }
  return words;
}

function endOfQuote(line: string, from: number): number {
  for (let at = from; at < line.length; at++) {
    if (line[at] === "\\") at++;
    else if (line[at] === '"') return at;
  }
  throw new Mistake("a quoted word has no end");
}

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", t: "\t", "\\": "\\", '"': '"' };

function unescaped(text: string): string {
  return text.replace(/\\(x[0-9a-fA-F]{2}|.|$)/g, (whole, code: string) => {
    if (code.length === 3) return String.fromCharCode(Number.parseInt(code.slice(1), 16));
    const plain = ESCAPES[code];
    if (plain === undefined) throw new Mistake(`"${whole}" is no escape: \\n \\t \\\\ \\" \\xHH are`);
    return plain;
  });
}

function count(text: string, what: string, max: number): number {
  const match = /^(\d{1,15})([KMG]?)$/.exec(text);
  const value = match === null ? Number.NaN : Number(match[1]) * UNITS[match[2]!]!;
  if (value <= max) return value;
  throw new Mistake(`${what} "${text}" is no whole number up to ${max}, with K, M or G if need be`);
}

function dataOf({ text, quoted }: Word): Data {
  const pattern = /^(\d{1,15}):(\d{1,15}[KMG]?)$/.exec(text);
  if (!quoted && pattern !== null)
    return { seed: Number(pattern[1]), length: count(pattern[2]!, "the length", DATA_BYTES_MAX) };
  if (!quoted && text.startsWith("0x")) {
    if (!/^0x([0-9a-fA-F]{2})*$/.test(text))
      throw new Mistake(`"${text}" is no hexadecimal data: pairs of digits after 0x`);
    return { bytes: Buffer.from(text.slice(2), "hex") };
  }
  // Quoted bytes above 0x7f come from \xHH; those of the script's own text are UTF-8.
  return { bytes: quoted && /^[\0-\xff]*$/.test(text) ? Buffer.from(text, "latin1") : Buffer.from(text) };
}

function pathOf(text: string, what: string): string {
  if (text === "") throw new Mistake(`${what} is empty`);
  if (Buffer.byteLength(text) > PATH_BYTES_MAX) throw new Mistake(`${what} is longer than ${PATH_BYTES_MAX} bytes`);
  if (text.includes("\0")) throw new Mistake(`${what} holds a NUL`);
  return text;
}

function handleOf(text: string): string {
  if (/^[A-Za-z_]\w*$/.test(text)) return text;
  throw new Mistake(`"${text}" is no name of a handle: a letter, then letters and digits`);
}

function flagsOf(text: string, known: readonly string[]): string[] {
  const words = text.split(",");
  for (const word of words)
    if (!known.includes(word)) throw new Mistake(`"${word}" is unknown: ${known.join(", ")} are known`);
  return words;
}

const bitsOf = (text: string, words: Readonly<Record<string, number>>): number =>
  flagsOf(text, Object.keys(words)).reduce((flags, word) => flags | words[word]!, 0);

type Fields = { -readonly [Field in keyof Op]?: Op[Field] };

function take(fields: Fields, argument: string, word: Word): void {
  const { text } = word;
  switch (argument) {
    case "file":
      fields.path = text.startsWith("@") && !word.quoted ? `@${handleOf(text.slice(1))}` : pathOf(text, "the file");
      return;
    case "path":
      fields.path = pathOf(text, "the path");
      return;
    case "to":
    case "target":
      fields.to = pathOf(text, argument === "to" ? "the new path" : "the target");
      return;
    case "handle":
      fields.to = handleOf(text.startsWith("@") ? text.slice(1) : text);
      return;
    case "offset":
      fields.offset = count(text, "the offset", OFFSET_MAX);
      return;
    case "length":
    case "size":
      fields.length = count(text, `the ${argument}`, OFFSET_MAX);
      return;
    case "data":
      fields.data = dataOf(word);
      return;
    case "mode":
      if (!/^[0-7]{1,5}$/.test(text) || Number.parseInt(text, 8) > MODE_MAX)
        throw new Mistake(`the mode "${text}" is no octal number up to 7777`);
      fields.mode = Number.parseInt(text, 8);
      return;
    case "attribute":
      if (!text.includes(".")) throw new Mistake(`the attribute "${text}" has no prefix, as in user.name`);
      fields.attribute = text;
      return;
    case "open":
      fields.open = flagsOf(text, OPEN_WORDS);
      return;
    case "fallocate":
      fields.flags = bitsOf(text, FALLOCATE_WORDS);
      return;
    default:
      fields.flags = bitsOf(text, RENAME_WORDS);
  }
}

const isOpName = (text: string): text is OpName => Object.hasOwn(SYNTAX, text);

function parseLine(words: readonly Word[], line: number): Op {
  const first = words[0]!.text;
  const mayFail = first.startsWith("-");
  const name = mayFail ? first.slice(1) : first;
  if (!isOpName(name)) {
    const near = nearest(name, Object.keys(SYNTAX));
    throw new Mistake(`"${name}" is no operation${near === undefined ? "" : `; did you mean ${near}?`}`);
  }
  const known: readonly string[] = SYNTAX[name];
  const usage = `usage: ${usageOf(name)}`;
  if (words.length - 1 > known.length)
    throw new Mistake(`${name} has a word too many: "${words[known.length + 1]!.text}"; ${usage}`);
  const fields: Fields = { line, mayFail };
  for (const [n, argument] of known.entries()) {
    const word = words[n + 1];
    const optional = argument.endsWith("?");
    if (word === undefined) {
      if (optional) break;
      throw new Mistake(`${name} has no ${argument}; ${usage}`);
    }
    take(fields, optional ? argument.slice(0, -1) : argument, word);
  }
  if (name === "close") [fields.path, fields.to] = [`@${fields.to}`, ""];
  const op = makeOp(name, fields);
  if (op.data !== undefined && dataLength(op.data) > DATA_BYTES_MAX)
    throw new Mistake(`${name}: more than ${DATA_BYTES_MAX} bytes of data`);
  return op;
}

export function parseScript(text: string, name: string): Op[] {
  const ops: Op[] = [];
  for (const [n, line] of text.split("\n").entries()) {
    try {
      const words = wordsOf(line.endsWith("\r") ? line.slice(0, -1) : line);
      if (words.length === 0) continue;
      if (ops.length === OPS_MAX) throw new Mistake(`more than ${OPS_MAX} operations`);
      ops.push(parseLine(words, n + 1));
    } catch (error) {
      if (error instanceof Mistake) throw new UserError(`${name}:${n + 1}: ${error.message}`);
      throw error;
    }
  }
  return ops;
}

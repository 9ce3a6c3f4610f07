/**
 * The tree of a mounted file system as a shell in a guest tells it, and the same read back.
 *
 * - LIST             the command: a line for each name, a line of dashes, a line for each file's content
 * - listingOf(text)  path -> type, size, content; what could not be read is said apart
 *
 * Names with a line break in them cannot be told apart: the workloads make none.
 */
import { MOUNTED } from "./guest_workload.ts";

export interface ListedEntry {
  readonly path: string;
  /** st_mode. */
  readonly mode: number;
  /** Of this tree: another mount may count anew. Names with one inode are links to one file. */
  readonly inode: number;
  /** Of a file; 0 of everything else. */
  readonly size: number;
  /** MD5 of a file's content, a link's target, empty otherwise. */
  readonly content: string;
}

export type Listing = ReadonlyMap<string, ListedEntry>;

export const LISTING_RULE = "----";
const TREE = "find . -exec stat -c '%f|%i|%s|%N' {} + 2>&1";
const CONTENTS = "find . -type f -exec md5sum {} + 2>&1";
export const LIST = `cd ${MOUNTED} && { ${TREE}; echo ${LISTING_RULE}; ${CONTENTS}; cd /; }`;

const NAME_LINE = /^([0-9a-f]+)\|(\d+)\|(\d+)\|(?:'(.*)' -> '(.*)'|(.*))$/;
const CONTENT_LINE = /^([0-9a-f]{32}) {2}(.*)$/;
const TYPE_MASK = 0o170000;
const REGULAR = 0o100000;
export const isFile = (mode: number): boolean => (mode & TYPE_MASK) === REGULAR;

export function listingOf(text: string): { readonly tree: Listing; readonly unread: readonly string[] } {
  const lines = text.split("\n").filter((line) => line !== "");
  const rule = lines.indexOf(LISTING_RULE);
  const unread: string[] = [];
  const contents = new Map<string, string>();
  for (const line of lines.slice(rule + 1)) {
    const match = CONTENT_LINE.exec(line);
    if (match === null) unread.push(line);
    else contents.set(match[2]!, match[1]!);
  }
  const tree = new Map<string, ListedEntry>();
  for (const line of lines.slice(0, Math.max(0, rule))) {
    const match = NAME_LINE.exec(line);
    if (match === null) {
      unread.push(line);
      continue;
    }
    const mode = Number.parseInt(match[1]!, 16);
    const name = match[4] ?? match[6]!;
    const path = name.replace(/^\.\//, "");
    const content = isFile(mode) ? (contents.get(name) ?? "unread") : (match[5] ?? "");
    tree.set(path, { path, mode, inode: Number(match[2]), size: isFile(mode) ? Number(match[3]) : 0, content });
  }
  return { tree, unread };
}

export const sameEntry = (one: ListedEntry | undefined, other: ListedEntry | undefined): boolean =>
  one !== undefined &&
  other !== undefined &&
  one.mode === other.mode &&
  one.size === other.size &&
  one.content === other.content;

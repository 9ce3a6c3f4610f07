/**
 * What an fsync or fdatasync commits beside its own file: rows that Linux, our ext4 and the oracle are asked alike.
 * Each begins with BEFORE; the witness is a name that only a commit of the running transaction makes durable.
 */
import type { AceCall } from "../../../harness/crash/ace.ts";

export interface FsyncRow {
  readonly calls: readonly AceCall[];
  /** Path that was not there before. */
  readonly witness: string;
  /** Whether it is durable at the end, with data=ordered and data=writeback. With data=journal it is. */
  readonly commits: boolean;
  /** Whether the oracle asks for it, in every mode. */
  readonly owed: boolean;
}

const call = (op: AceCall["op"], path: string, more: Partial<AceCall> = {}): AceCall => ({
  op,
  path,
  setup: false,
  ...more,
});
export const mkdir = (path: string): AceCall => call("mkdir", path);
export const fsync = (path: string): AceCall => call("fsync", path);
export const hold = (path: string): AceCall => call("hold", path);
const fdatasync = (path: string): AceCall => call("fdatasync", path);
const creat = (path: string): AceCall => call("creat", path);
const unlink = (path: string): AceCall => call("unlink", path);
const link = (path: string, to: string): AceCall => call("link", path, { to });
const rename = (path: string, to: string): AceCall => call("rename", path, { to });
const truncate = (path: string, length: number): AceCall => call("truncate", path, { length });
const write = (path: string, offset: number, length: number): AceCall => call("write", path, { offset, length });
const falloc = (path: string, length: number): AceCall => call("falloc", path, { mode: 0, offset: 0, length });

const SIZE = 16_000;
export const BEFORE: readonly AceCall[] = [
  mkdir("A"),
  mkdir("D"),
  creat("A/foo"),
  link("A/foo", "bar"),
  creat("other"),
  write("other", 0, SIZE),
  call("sync", ""),
];

const row = (commits: boolean, owed: boolean, witness: string, ...calls: readonly AceCall[]): FsyncRow => ({
  calls,
  witness,
  commits,
  owed,
});
const W = mkdir("W");

export const FSYNC_ROWS: readonly FsyncRow[] = [
  // The file was not changed: nothing is committed, not even the path that it has now.
  row(false, false, "B", rename("A", "B"), fsync("bar")),
  row(false, false, "B", rename("A", "B"), fsync("B/foo")),
  row(false, false, "W", W, fsync("other")),
  row(false, false, "W", creat("n"), fsync("n"), W, fdatasync("n")),
  // Whatever is no plain file.
  row(true, true, "W", W, fsync("D")),
  row(true, true, "W", W, fdatasync("D")),
  row(true, true, "W", creat("A/n"), fsync("A"), W, fsync("A")),
  // Its own names: fsync only.
  row(true, true, "W", W, link("bar", "l"), fsync("bar")),
  row(true, true, "l", link("bar", "l"), fsync("A/foo")),
  row(false, false, "W", W, link("bar", "l"), fdatasync("bar")),
  row(true, true, "W", W, unlink("bar"), fsync("A/foo")),
  row(true, true, "W", W, rename("other", "o2"), fsync("o2")),
  row(false, false, "W", W, rename("other", "o2"), fdatasync("o2")),
  row(true, true, "n", creat("n"), fdatasync("n")),
  row(true, true, "W", W, creat("n"), fdatasync("n")),
  // Its times: Linux commits when its clock has moved, and the oracle does not rely on it.
  row(true, false, "W", W, write("other", 0, 4_096), fsync("other")),
  row(false, false, "W", W, write("other", 0, 4_096), fdatasync("other")),
  row(true, false, "W", W, truncate("other", SIZE), fsync("other")),
  row(false, false, "W", W, truncate("other", SIZE), fdatasync("other")),
  // Its size and blocks.
  row(true, true, "W", W, write("other", SIZE, 5), fsync("other")),
  row(true, true, "W", W, write("other", SIZE, 5), fdatasync("other")),
  row(true, true, "W", W, write("other", SIZE, 9_000), fdatasync("other")),
  row(true, true, "W", W, truncate("other", 5_000), fdatasync("other")),
  row(true, true, "W", W, falloc("other", 40_000), fdatasync("other")),
  row(true, false, "W", W, falloc("other", 4_000), fdatasync("other")),
];

export const nameOf = ({ calls }: FsyncRow): string =>
  calls
    .map(({ op, path, to, length }) => [op, path, to, length].filter((word) => word !== undefined).join(" "))
    .join("; ");

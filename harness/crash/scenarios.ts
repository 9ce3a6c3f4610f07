/**
 * The classic ways to lose data, as workloads for `orrery crash run`, and what ACE never reaches: small journals that
 * wrap, full disks, names by the hundred, blocks that change their use, and time passing.
 *
 * - SCENARIOS     name -> what it is about, its disk, and its calls
 */
import type { AceCall } from "./ace.ts";
import type { SlowSpot } from "./late_disk.ts";
import type { BaseOptions } from "./workload_run.ts";

export interface Scenario {
  readonly name: string;
  readonly help: string;
  readonly base: BaseOptions;
  readonly calls: readonly AceCall[];
  /** Of a disk that ends its requests late. */
  readonly slowSpot?: SlowSpot;
  /** The crash comes while the journal of the first crash is being replayed. */
  readonly duringRecovery?: boolean;
  /** Calls may fail: the disk is full. */
  readonly mayFail?: boolean;
}

const KIB = 1024;
const MIB = KIB * KIB;
/** The smallest journal there is: 1,024 blocks. */
const SMALL: BaseOptions = { sizeBytes: 4 * MIB, blockSize: KIB, journalBytes: MIB };
const PLAIN: BaseOptions = { sizeBytes: 16 * MIB, blockSize: 4 * KIB, journalBytes: 4 * MIB };

const call = (op: AceCall["op"], path: string, more: Partial<AceCall> = {}): AceCall => ({
  op,
  path,
  setup: false,
  ...more,
});
const creat = (path: string): AceCall => call("creat", path);
const mkdir = (path: string): AceCall => call("mkdir", path);
const write = (path: string, offset: number, length: number): AceCall => call("write", path, { offset, length });
const fsync = (path: string): AceCall => call("fsync", path);
const unlink = (path: string): AceCall => call("unlink", path);
const rename = (path: string, to: string): AceCall => call("rename", path, { to });
const truncate = (path: string, length: number): AceCall => call("truncate", path, { length });
const sync = call("sync", "/");
const idle = call("idle", "/");
const times = (count: number, make: (n: number) => readonly AceCall[]): AceCall[] =>
  Array.from({ length: count }, (_, n) => make(n)).flat();

export const SCENARIOS: readonly Scenario[] = [
  {
    name: "block-allocation",
    help: "files grow, shrink and are given back until the disk is full",
    base: { ...SMALL, sizeBytes: 3 * MIB },
    mayFail: true,
    calls: [
      ...times(6, (n) => [creat(`f${n}`), write(`f${n}`, 0, 90_000 + 30_000 * n), fsync(`f${n}`)]),
      unlink("f1"),
      unlink("f3"),
      sync,
      creat("g"),
      ...times(10, (n) => [write("g", n * 60_000, 60_000), ...(n % 3 === 0 ? [fsync("g")] : [])]),
      truncate("g", 10_000),
      creat("h"),
      write("h", 0, 150_000),
      fsync("h"),
    ],
  },
  {
    name: "journal-commit",
    help: "many small transactions, each cut in the midst",
    base: SMALL,
    calls: [
      mkdir("d"),
      ...times(70, (n) => [
        creat(`d/f${n}`),
        write(`d/f${n}`, 0, 700),
        fsync(`d/f${n}`),
        ...(n % 9 === 8 ? [unlink(`d/f${n - 4}`)] : []),
      ]),
      idle,
      ...times(6, (n) => [rename(`d/f${n * 9}`, `d/r${n}`), fsync("d")]),
    ],
  },
  {
    name: "journal-wrap",
    help: "so many transactions that the log comes round to its own beginning",
    base: SMALL,
    calls: [
      ...times(142, (n) => [creat(`w${n}`), fsync(`w${n}`), ...(n % 45 === 44 ? [idle] : [])]),
      ...times(8, (n) => [unlink(`w${n * 7}`), fsync("/")]),
    ],
  },
  {
    name: "journal-full",
    help: "data go through the log faster than home: each transaction waits for the tail to move out of its way",
    base: { sizeBytes: 8 * MIB, blockSize: KIB, journalBytes: MIB, buffers: 2048 },
    // Where the first file's data begin: what is committed first is at home last.
    slowSpot: { from: 1618 * KIB, to: 1622 * KIB },
    calls: [creat("f"), write("f", 0, 700 * KIB), fsync("f"), write("f", 700 * KIB, 400 * KIB), fsync("f")],
  },
  {
    name: "concurrent-writers",
    help: "writes to several files between each other's syncs",
    base: PLAIN,
    calls: [
      ...times(3, (n) => [creat(`w${n}`)]),
      sync,
      ...times(6, (n) => [
        write("w0", n * 5_000, 5_000),
        write("w1", (n % 2) * 8_192, 8_192),
        fsync(`w${n % 3}`),
        write("w2", n * 9_000, 3_000),
      ]),
      idle,
    ],
  },
  {
    name: "rename-replace",
    help: "a new content is written beside the old one, synced, and renamed over it",
    base: PLAIN,
    calls: [
      creat("data"),
      write("data", 0, 9_000),
      sync,
      ...times(5, (n) => [
        creat("data.new"),
        write("data.new", 0, 6_000 + n * 3_000),
        fsync("data.new"),
        rename("data.new", "data"),
        ...(n % 2 === 1 ? [fsync("data")] : []),
      ]),
      idle,
    ],
  },
  {
    name: "unlink-open",
    help: "open files are unlinked and cut off: orphans, on the list and given back",
    base: PLAIN,
    calls: [
      ...times(4, (n) => [creat(`o${n}`), write(`o${n}`, 0, 40_000)]),
      sync,
      call("hold", "o0"),
      unlink("o0"),
      fsync("o1"),
      truncate("o1", 5_000),
      call("hold", "o2"),
      unlink("o2"),
      write("o3", 40_000, 20_000),
      fsync("o3"),
      unlink("o1"),
      idle,
    ],
  },
  {
    name: "directory-growth",
    help: "a directory becomes a hash tree, its leaves split, names go and come again",
    base: SMALL,
    calls: [
      mkdir("d"),
      ...times(60, (n) => [creat(`d/a-rather-long-name-of-a-file-${n}`)]),
      fsync("d"),
      ...times(60, (n) => [creat(`d/another-long-name-of-a-file-${n}`), ...(n % 20 === 19 ? [fsync("d")] : [])]),
      ...times(30, (n) => [unlink(`d/a-rather-long-name-of-a-file-${n * 2}`)]),
      fsync("d"),
      idle,
    ],
  },
  {
    name: "block-reuse",
    help: "blocks of a directory become data: what the log still has of them must not come back",
    base: SMALL,
    calls: [
      mkdir("A"),
      creat("A/f"),
      sync,
      unlink("A/f"),
      sync,
      call("rmdir", "A"),
      sync,
      creat("foo"),
      write("foo", 0, 60_000),
      fsync("foo"),
      idle,
      creat("bar"),
      write("bar", 0, 3_000),
      fsync("bar"),
    ],
  },
  {
    name: "journal-lookalike",
    help: "file data that begin as the journal's own blocks do",
    base: PLAIN,
    calls: [
      creat("m"),
      call("write", "m", { offset: 0, length: 16_384, magic: true }),
      fsync("m"),
      creat("n"),
      fsync("n"),
    ],
  },
  {
    name: "going-home",
    help: "commits, and time for what was committed to go home, again and again",
    base: SMALL,
    calls: times(3, (n) => [
      creat(`f${n}`),
      write(`f${n}`, 0, 2_000),
      fsync(`f${n}`),
      idle,
      ...(n > 0 ? [unlink(`f${n - 1}`), sync] : []),
    ]),
  },
  {
    name: "recovery",
    help: "the power goes again while the journal is being replayed",
    base: PLAIN,
    duringRecovery: true,
    calls: [
      mkdir("A"),
      ...times(5, (n) => [creat(`A/f${n}`), write(`A/f${n}`, 0, 5_000), fsync(`A/f${n}`)]),
      call("hold", "A/f1"),
      unlink("A/f1"),
      rename("A/f2", "A/f0"),
      fsync("A"),
    ],
  },
];

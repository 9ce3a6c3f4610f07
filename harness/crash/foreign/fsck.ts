/**
 * The file systems' own checkers, as processes on an image file, read-only; and which of their words are damage.
 *
 * - foreignOf(fs)                 which checker looks when, and what the file system promises
 * - needCheckers(foreign)         one clear line when one is not installed
 * - askChecker(check, path)       what it found, line by line
 * - sortWords(lines, expected, owed)  damage, and kinds of damage that are no bug; `owed`: files that must be whole
 *
 * | file system | before Linux mounts it | after Linux mounted, read and unmounted it | sync has the disk flush | fsync of a file promises |
 * |---|---|---|---|---|
 * | xfs         | -                      | xfs_repair -n                              | yes | content and name |
 * | btrfs       | btrfs check            | btrfs check                                | yes | content and name |
 * | vfat        | fsck.fat -n            | -                                          | no  | no name: the directory's blocks are not in it |
 * | exfat       | fsck.exfat -n          | -                                          | yes | content and name: it writes all of the disk's buffers |
 *
 * xfs_repair looks at no log that must be replayed, so only Linux's mount can come before it. Linux repairs nothing of
 * vfat and exfat, so that nothing is learnt by a second look. Linux 6.1's vfat writes everything at a sync and has no flush
 * sent to the disk: a recording of syncs alone has none.
 */
import { spawn } from "node:child_process";
import { assert } from "../../../kernel/lib/assert.ts";
import type { ForeignName, GuestFs } from "../guest_fs.ts";
import { needTool } from "../../qemu/packages.ts";
import type { Promising } from "./promises.ts";
import { EXFAT_WORDS, FAT_WORDS } from "./without_journal.ts";
import type { Expected } from "./without_journal.ts";

export interface Checker {
  readonly program: string;
  readonly args: readonly string[];
  /** Lines that say nothing of damage. */
  readonly headings: RegExp;
  /** Of a file system without a journal. */
  readonly expected: Expected;
}

export interface ForeignFs extends Promising {
  readonly before: Checker | undefined;
  readonly after: Checker | undefined;
  readonly journal: boolean;
  /** A torn superblock, in the kernel's words: Linux refuses it as it does ext4's. */
  readonly tornSuper: RegExp | undefined;
}

const BTRFS_CHECK: Checker = {
  program: "btrfs",
  args: ["check", "--readonly"],
  headings: /^\[\d\/\d\]|^(?:Opening|Checking) filesystem|^UUID:|^found |^total |^file data|^referenced|bytes: \d+$/,
  expected: [],
};

const FOREIGN: Readonly<Record<ForeignName, ForeignFs>> = {
  xfs: {
    before: undefined,
    after: {
      program: "xfs_repair",
      args: ["-n"],
      headings: /^Phase \d|^- |^No modify flag set|^Maximum metadata LSN/,
      expected: [],
    },
    fsyncPromises: true,
    syncFlushes: true,
    journal: true,
    tornSuper: undefined,
  },
  btrfs: {
    before: BTRFS_CHECK,
    after: BTRFS_CHECK,
    fsyncPromises: true,
    syncFlushes: true,
    journal: true,
    tornSuper: /superblock checksum mismatch/,
  },
  vfat: {
    before: {
      program: "fsck.fat",
      args: ["-n"],
      headings:
        /^fsck\.fat |^Using first FAT|^(?:Auto-|Automatically|Truncating|Creating|Not )|^This is mostly harmless|^Leaving filesystem|^image: \d+ files/,
      expected: FAT_WORDS,
    },
    after: undefined,
    fsyncPromises: false,
    syncFlushes: false,
    journal: false,
    tornSuper: undefined,
  },
  exfat: {
    before: {
      program: "fsck.exfat",
      args: ["-n"],
      headings: /^exfatprogs version|^image: (?:clean|corrupted)|files corrupted \d+, files fixed/,
      expected: EXFAT_WORDS,
    },
    after: undefined,
    fsyncPromises: true,
    syncFlushes: true,
    journal: false,
    tornSuper: undefined,
  },
};

export function foreignOf({ name }: GuestFs): ForeignFs {
  assert(name !== "ext4", "foreignOf: ext4 has a judge of our own");
  return FOREIGN[name];
}

const WHY = "have the file system's own checker judge crash states";
/** A checker that is killed by the state is damage, too. */
const DIED = 255;

export const needCheckers = ({ before, after }: ForeignFs): void => {
  for (const check of [before, after]) if (check !== undefined) needTool(check.program, WHY);
};

export interface Finding {
  readonly line: string;
  /** Files that it is about, where the checker says so. */
  readonly files: readonly string[];
}

/** Nothing when it calls the image clean. */
export async function askChecker({ program, args, headings }: Checker, path: string): Promise<Finding[]> {
  const { code, text } = await run(needTool(program, WHY), [...args, path]);
  if (code === 0) return [];
  const lines = text
    .split("\n")
    .map((line) => line.replaceAll(path, "image").trimEnd())
    .filter((line) => line !== "" && !headings.test(line.trim()));
  if (code === DIED) lines.push(`${program} died`);
  const found = withFiles(lines);
  return found.length > 0 ? found : [{ line: `${program} ended with ${code}`, files: [] }];
}

const FILE_LINE = /^\/(.*?)(?: {2}and)?$/;
const FILE_INSIDE = /^ERROR: \/(.*?): /;

/** fsck.fat names files on lines of their own; what it says of them is indented. */
export function withFiles(lines: readonly string[]): Finding[] {
  const found: Finding[] = [];
  let files: string[] = [];
  let said = false;
  for (const line of lines) {
    const file = FILE_LINE.exec(line)?.[1];
    if (file !== undefined) {
      files = said ? [file] : [...files, file];
      said = false;
      continue;
    }
    said = true;
    const inside = FILE_INSIDE.exec(line)?.[1];
    const about = line.startsWith("  ") ? files : [];
    found.push({ line: line.trim(), files: inside === undefined ? about : [inside] });
  }
  return found;
}

export interface Sorted {
  readonly damage: readonly string[];
  readonly expected: readonly string[];
}

export function sortWords(findings: readonly Finding[], expected: Expected, owed: ReadonlySet<string>): Sorted {
  const damage: string[] = [];
  const kinds = new Set<string>();
  for (const { line, files } of findings) {
    const kind = expected.find(([, words]) => words.test(line))?.[0];
    const whole = files.find((file) => owed.has(file.toLowerCase()));
    if (kind !== undefined && whole === undefined) kinds.add(kind);
    else damage.push(whole === undefined ? line : `${whole}, which was synced: ${line}`);
  }
  return { damage, expected: [...kinds] };
}

function run(tool: string, args: readonly string[]): Promise<{ readonly code: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(tool, args, { stdio: ["ignore", "pipe", "pipe"] });
    const parts: Buffer[] = [];
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (part: Buffer) => parts.push(part));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code: code ?? DIED, text: Buffer.concat(parts).toString("latin1") }));
  });
}

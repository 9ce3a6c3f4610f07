/**
 * Mount options of ext4, by Linux's names (Documentation/admin-guide/ext4.rst), as far as they mean something here.
 *
 * - mountOptions("data=writeback,nodelalloc")     over the defaults; a string says what is wrong with it
 */

export type DataMode = "ordered" | "journal" | "writeback";
export type OnError = "continue" | "remount-ro" | "panic";

export interface MountOptions {
  readonly readOnly: boolean;
  readonly data: DataMode;
  /** Blocks are chosen when data are written back, not when they are written. Off for journalled data. */
  readonly delalloc: boolean;
  /** Flushes of the device's cache. Without them only a device without a volatile cache keeps what it promised. */
  readonly barrier: boolean;
  /** The journal's commit block does not wait for the blocks before it. */
  readonly asyncCommit: boolean;
  /** With the feature fast_commit, which Linux takes for the option: an fsync may be a fast commit. docs/caveats/ext4.md */
  readonly fastCommit: boolean;
  /** When reading moves atime. */
  readonly atime: "relative" | "strict" | "no";
  /** Most seconds from a change to its commit. */
  readonly commitSec: number;
  /** Undefined: what the superblock says. */
  readonly errors: OnError | undefined;
}

export const MOUNT_DEFAULTS: MountOptions = {
  readOnly: false,
  data: "ordered",
  delalloc: true,
  barrier: true,
  asyncCommit: false,
  fastCommit: false,
  atime: "relative",
  commitSec: 5,
  errors: undefined,
};

/** Linux: JBD2_MAX_COMMIT_INTERVAL is not there; a day is more than anybody means. */
const COMMIT_SEC_MAX = 86_400;

type Writable = { -readonly [Name in keyof MountOptions]: MountOptions[Name] };

const WORDS: Readonly<Record<string, (options: Writable) => void>> = {
  ro: (o) => (o.readOnly = true),
  rw: (o) => (o.readOnly = false),
  delalloc: (o) => (o.delalloc = true),
  nodelalloc: (o) => (o.delalloc = false),
  barrier: (o) => (o.barrier = true),
  nobarrier: (o) => (o.barrier = false),
  "barrier=1": (o) => (o.barrier = true),
  "barrier=0": (o) => (o.barrier = false),
  journal_async_commit: (o) => (o.asyncCommit = true),
  fast_commit: (o) => (o.fastCommit = true),
  nofast_commit: (o) => (o.fastCommit = false),
  relatime: (o) => (o.atime = "relative"),
  strictatime: (o) => (o.atime = "strict"),
  noatime: (o) => (o.atime = "no"),
  "data=ordered": (o) => (o.data = "ordered"),
  "data=journal": (o) => (o.data = "journal"),
  "data=writeback": (o) => (o.data = "writeback"),
  "errors=continue": (o) => (o.errors = "continue"),
  "errors=remount-ro": (o) => (o.errors = "remount-ro"),
  "errors=panic": (o) => (o.errors = "panic"),
  defaults: () => {},
};

export function mountOptions(text: string): MountOptions | string {
  const options: Writable = { ...MOUNT_DEFAULTS };
  for (const word of text.split(",").filter((one) => one !== "")) {
    const commit = /^commit=(\d{1,9})$/.exec(word);
    const set = Object.hasOwn(WORDS, word) ? WORDS[word] : undefined;
    if (set !== undefined) set(options);
    else if (commit === null || Number(commit[1]) > COMMIT_SEC_MAX)
      return `mount option "${word}" is not known; known are ${Object.keys(WORDS).join(", ")}, commit=SECONDS`;
    // 0 means the default, as in Linux.
    else options.commitSec = Number(commit[1]) === 0 ? MOUNT_DEFAULTS.commitSec : Number(commit[1]);
  }
  return optionsFault(options) ?? options;
}

/** What Linux refuses; undefined: nothing. */
export function optionsFault(options: MountOptions): string | undefined {
  if (options.asyncCommit && options.data === "ordered")
    return "journal_async_commit cannot be had with data=ordered: the commit block would not wait for the data";
  return undefined;
}

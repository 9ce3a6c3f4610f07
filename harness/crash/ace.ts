/**
 * The bounded workloads of ACE (Mohan et al., OSDI 2018): one, two or three operations out of fourteen over the files
 * foo, bar, A/foo, A/bar and the directories A and B, and after each a persistence point: fsync of a file that was used,
 * of its sibling or of its parent, or sync, or, but for the last one, none. What an operation needs to be possible (a
 * parent, a file with data) is put before it.
 *
 *   seq-1   328 workloads, 310 of them different       seq-2   241,720
 *   with block-aligned truncate: 336 and 254,032
 *
 * fdatasync is an operation with a persistence point of its own, and mmapwrite ends with msync: nothing follows them, and
 * the choices of a point that is left out give the same workload again. Both counts are those of the published tool.
 *
 * - aceSpace(length, alignedTruncate)    `count`, and at(n): the n-th workload, in a fixed order
 */
export const ACE_OPS = [
  "creat",
  "mkdir",
  "falloc",
  "write",
  "dwrite",
  "mmapwrite",
  "link",
  "unlink",
  "remove",
  "rename",
  "fsetxattr",
  "removexattr",
  "truncate",
  "fdatasync",
] as const;
export type AceOpName = (typeof ACE_OPS)[number];

/**
 * One call of a workload. `setup`: it only makes another one possible. Two are not ACE's: `idle` lets a minute pass, so
 * that whatever is due by time happens; `hold` opens a file and keeps it open to the end.
 */
export interface AceCall {
  readonly op: AceOpName | "fsync" | "sync" | "rmdir" | "idle" | "hold";
  readonly path: string;
  /** Of link and rename. */
  readonly to?: string;
  readonly offset?: number;
  readonly length?: number;
  /** fallocate(2)'s, of falloc. */
  readonly mode?: number;
  /** Each block of the data begins as a block of the journal does. */
  readonly magic?: boolean;
  readonly setup: boolean;
}

export interface AceWorkload {
  readonly index: number;
  /** "rename A B, fsync A; truncate foo 2500, sync" */
  readonly text: string;
  readonly calls: readonly AceCall[];
}

export interface AceSpace {
  readonly count: number;
  at(index: number): AceWorkload;
}

const ROOT = "/";
const FIRST_FILES = ["foo", "A/foo"] as const;
const SECOND_FILES = ["bar", "A/bar"] as const;
const FILES: readonly string[] = [...FIRST_FILES, ...SECOND_FILES];
const SIBLINGS: Readonly<Record<string, string>> = {
  foo: "bar",
  bar: "foo",
  "A/foo": "A/bar",
  "A/bar": "A/foo",
  A: "B",
  B: "A",
};
const parentOf = (path: string): string =>
  path.includes("/") && path !== ROOT ? path.slice(0, path.lastIndexOf("/")) : ROOT;

const APPEND_BYTES = 32_768;
const OVERLAP_BYTES = 5_000;
/** What an extending overwrite has before the file's end. */
const OVERLAP_BEFORE_END = 2_000;
const DIRECT_BYTES = 8_192;
const TRUNCATE_UNALIGNED = 2_500;
const KEEP_SIZE = 1;
const PUNCH_HOLE = 2;
const ZERO_RANGE = 16;
const FALLOC_MODES = [ZERO_RANGE, ZERO_RANGE | KEEP_SIZE, PUNCH_HOLE | KEEP_SIZE, KEEP_SIZE, 0];

/** Where a write or an allocation lies. */
type Range = "append" | "overlap_unaligned_start" | "overlap_extend" | "overlap_start";
const RANGES: readonly Range[] = ["append", "overlap_unaligned_start", "overlap_extend"];
const ALIGNED_RANGES: readonly Range[] = ["append", "overlap_start"];

/** An operation with its parameters, before anything is known of the files it meets. */
interface Choice {
  readonly op: AceOpName;
  readonly paths: readonly string[];
  readonly range?: Range;
  readonly mode?: number;
  readonly size?: number;
}

function choicesOf(op: AceOpName, alignedTruncate: boolean): Choice[] {
  const each = (paths: readonly string[]): Choice[] => paths.map((path) => ({ op, paths: [path] }));
  const ranged = (ranges: readonly Range[]): Choice[] =>
    FIRST_FILES.flatMap((path) => ranges.map((range) => ({ op, paths: [path], range })));
  const pairs = (from: readonly string[], to: readonly string[]): Choice[] =>
    from.flatMap((one) => to.filter((other) => other !== one).map((other) => ({ op, paths: [one, other] })));
  switch (op) {
    case "mkdir":
      return each(["A"]);
    case "falloc":
      return FIRST_FILES.flatMap((path) =>
        FALLOC_MODES.flatMap((mode) => RANGES.map((range) => ({ op, paths: [path], mode, range }))),
      );
    case "write":
      return ranged(RANGES);
    case "dwrite":
    case "mmapwrite":
      return ranged(ALIGNED_RANGES);
    case "link":
      return pairs(FILES, SECOND_FILES);
    case "rename":
      return [...pairs(FILES, SECOND_FILES), ...pairs(["A", "B"], ["B"])];
    case "unlink":
    case "remove":
      return each(FILES);
    case "truncate":
      return FIRST_FILES.flatMap((path) =>
        (alignedTruncate ? [0, TRUNCATE_UNALIGNED] : [TRUNCATE_UNALIGNED]).map((size) => ({ op, paths: [path], size })),
      );
    default:
      return each(FIRST_FILES);
  }
}

/** A persistence point: a path to fsync, or one of these. */
const SYNC = "sync";
const NONE = "none";

/** What may be persisted: the files used, their siblings and parents. */
function pointsOf(choices: readonly Choice[]): string[] {
  const related = new Set<string>();
  for (const path of choices.flatMap(({ paths }) => paths)) {
    related.add(path);
    related.add(SIBLINGS[path]!);
    related.add(parentOf(path));
  }
  return [...related, SYNC];
}

export function aceSpace(length: number, alignedTruncate = false): AceSpace {
  const choices = ACE_OPS.flatMap((op) => choicesOf(op, alignedTruncate));
  /** Workloads before each combination of choices; combinations count in base choices.length, the first digit slowest. */
  const combinations = choices.length ** length;
  const before = new Float64Array(combinations + 1);
  const combination = (n: number): Choice[] => {
    const picked: Choice[] = [];
    for (let left = n, k = 0; k < length; k++, left = Math.floor(left / choices.length))
      picked.unshift(choices[left % choices.length]!);
    return picked;
  };
  for (let n = 0; n < combinations; n++) {
    const points = pointsOf(combination(n)).length;
    before[n + 1] = before[n]! + points * (points + 1) ** (length - 1);
  }
  return {
    count: before[combinations]!,
    at(index) {
      let low = 0;
      let high = combinations - 1;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (before[middle]! <= index) low = middle;
        else high = middle - 1;
      }
      const picked = combination(low);
      return workload(index, picked, syncsOf(picked, index - before[low]!));
    },
  };
}

/** The n-th choice of a persistence point after each operation. */
function syncsOf(picked: readonly Choice[], n: number): string[] {
  const points = pointsOf(picked);
  const last = points[n % points.length]!;
  const syncs = [last];
  let left = Math.floor(n / points.length);
  for (let k = 1; k < picked.length; k++) {
    const withNone = [...points, NONE];
    syncs.unshift(withNone[left % withNone.length]!);
    left = Math.floor(left / withNone.length);
  }
  return syncs;
}

/** The files as a workload has left them, so that each next call is possible. */
class Builder {
  readonly calls: AceCall[] = [];
  /** Two names of one file have one record. */
  readonly #files = new Map<string, { size: number }>();
  readonly #dirs = new Set([ROOT]);
  readonly #xattrs = new Set<string>();

  #add(call: Omit<AceCall, "setup">, setup: boolean): void {
    this.calls.push({ ...call, setup });
  }

  #needParent(path: string): void {
    const parent = parentOf(path);
    if (!this.#dirs.has(parent)) this.#makeDir(parent);
  }

  #makeDir(path: string): void {
    this.#add({ op: "mkdir", path }, true);
    this.#dirs.add(path);
  }

  /** A path that must be there: a directory, or a file that is made empty. */
  need(path: string): void {
    if (this.#files.has(path) || this.#dirs.has(path)) return;
    if (path in SIBLINGS && !FILES.includes(path)) return this.#makeDir(path);
    this.#needParent(path);
    this.#add({ op: "creat", path }, true);
    this.#files.set(path, { size: 0 });
  }

  /** A file with data. */
  #needData(path: string): void {
    this.need(path);
    if (this.#sizeOf(path) === 0) this.#write("write", path, "append", true);
  }

  #drop(path: string): void {
    this.#add({ op: "unlink", path }, true);
    this.#forget(path);
  }

  #forget(path: string): void {
    this.#files.delete(path);
    this.#xattrs.delete(path);
  }

  #dropDir(path: string): void {
    for (const file of this.#files.keys()) if (parentOf(file) === path) this.#drop(file);
    this.#add({ op: "rmdir", path }, true);
    this.#dirs.delete(path);
  }

  #sizeOf(path: string): number {
    return this.#files.get(path)!.size;
  }

  #grow(path: string, end: number): void {
    const file = this.#files.get(path)!;
    file.size = Math.max(file.size, end);
  }

  #rangeOf(path: string, range: Range): { offset: number; length: number } {
    const size = this.#sizeOf(path);
    if (range === "append") return { offset: size, length: APPEND_BYTES };
    if (range === "overlap_start") return { offset: 0, length: DIRECT_BYTES };
    if (range === "overlap_unaligned_start") return { offset: 0, length: OVERLAP_BYTES };
    return { offset: Math.max(0, size - OVERLAP_BEFORE_END), length: OVERLAP_BYTES };
  }

  #write(op: "write" | "dwrite" | "mmapwrite", path: string, range: Range, setup: boolean): void {
    const { offset, length } = this.#rangeOf(path, range);
    this.#add({ op, path, offset, length }, setup);
    this.#grow(path, offset + length);
  }

  core({ op, paths, range, mode, size }: Choice): void {
    const path = paths[0]!;
    const to = paths[1];
    if (to !== undefined) return this.#moved(op as "link" | "rename", path, to);
    switch (op) {
      case "creat":
        this.#needParent(path);
        if (this.#files.has(path)) this.#drop(path);
        this.#add({ op, path }, false);
        this.#files.set(path, { size: 0 });
        return;
      case "mkdir":
        if (this.#dirs.has(path)) this.#dropDir(path);
        this.#add({ op, path }, false);
        this.#dirs.add(path);
        return;
      case "falloc": {
        this.#needData(path);
        const where = this.#rangeOf(path, range!);
        this.#add({ op, path, mode: mode!, ...where }, false);
        if ((mode! & KEEP_SIZE) === 0) this.#grow(path, where.offset + where.length);
        return;
      }
      case "write":
      case "dwrite":
      case "mmapwrite":
        if (range === "append") this.need(path);
        else this.#needData(path);
        return this.#write(op, path, range!, false);
      case "truncate":
        this.#needData(path);
        this.#add({ op, path, length: size! }, false);
        this.#files.get(path)!.size = size!;
        return;
      case "unlink":
      case "remove":
        this.need(path);
        this.#add({ op, path }, false);
        return this.#forget(path);
      case "fsetxattr":
        this.need(path);
        this.#xattrs.add(path);
        return this.#add({ op, path }, false);
      case "removexattr":
        this.need(path);
        if (!this.#xattrs.has(path)) this.#add({ op: "fsetxattr", path }, true);
        this.#xattrs.delete(path);
        return this.#add({ op, path }, false);
      default:
        this.need(path);
        return this.#add({ op, path }, false);
    }
  }

  #moved(op: "link" | "rename", from: string, to: string): void {
    this.need(from);
    this.#needParent(to);
    if (op === "link") {
      if (this.#files.has(to)) this.#drop(to);
      this.#add({ op, path: from, to }, false);
      this.#files.set(to, this.#files.get(from)!);
      return;
    }
    if (this.#dirs.has(from)) {
      // A directory may only replace an empty one.
      for (const file of this.#files.keys()) if (parentOf(file) === to) this.#drop(file);
      this.#add({ op, path: from, to }, false);
      this.#dirs.delete(from);
      this.#dirs.add(to);
      for (const file of this.#files.keys())
        if (parentOf(file) === from) this.#renamed(file, to + file.slice(from.length));
      return;
    }
    this.#add({ op, path: from, to }, false);
    this.#renamed(from, to);
  }

  #renamed(from: string, to: string): void {
    const file = this.#files.get(from)!;
    // rename(2) leaves two names of one file as they are.
    if (this.#files.get(to) === file) return;
    const hadXattr = this.#xattrs.has(from);
    this.#forget(from);
    this.#files.set(to, file);
    if (hadXattr) this.#xattrs.add(to);
  }

  point(sync: string): void {
    if (sync === NONE) return;
    if (sync === SYNC) return this.#add({ op: "sync", path: ROOT }, false);
    this.need(sync);
    this.#add({ op: "fsync", path: sync }, false);
  }
}

function workload(index: number, picked: readonly Choice[], syncs: readonly string[]): AceWorkload {
  const builder = new Builder();
  const words: string[] = [];
  for (const [k, choice] of picked.entries()) {
    builder.core(choice);
    const persists = choice.op !== "fdatasync" && choice.op !== "mmapwrite";
    if (persists) builder.point(syncs[k]!);
    const point = !persists || syncs[k] === NONE ? "" : syncs[k] === SYNC ? ", sync" : `, fsync ${syncs[k]}`;
    words.push(`${choiceText(choice)}${point}`);
  }
  return { index, text: words.join("; "), calls: builder.calls };
}

const choiceText = ({ op, paths, range, mode, size }: Choice): string =>
  [op, ...paths, mode === undefined ? "" : `mode ${mode}`, range ?? "", size === undefined ? "" : String(size)]
    .filter((word) => word !== "")
    .join(" ");

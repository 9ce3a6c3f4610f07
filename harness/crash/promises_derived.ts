/**
 * Promises read from a recording whose workload is not known: markers named sync* and fsync* say that such a call had
 * returned, and the tree at each marker, read from the writes before it in their order, says of what.
 *
 * | marker | promised from then on, while the trees of this marker and the next agree on it |
 * |---|---|
 * | sync*      | every path of the tree, with type, mode, size, content or target |
 * | fsyncNAME  | the files whose name ends with NAME (fsync6: f6, not f16), and what was promised before |
 * | any other  | what was promised before |
 *
 * What changed between two markers may be there in the old way, the new one, or one in between: no word on it. Paths that
 * were changed and changed back within one interval cannot be told, and are expected unchanged.
 */
import type { Blocks, Policy } from "../../kernel/index.ts";
import {
  ext4Inode,
  ext4Layout,
  inodeAt,
  isRefusal,
  readFile,
  readLink,
  readSuper,
  recover,
  resolve,
} from "../../kernel/index.ts";
import type { BlockImage, Super } from "../../kernel/index.ts";
import { isErr } from "../../kernel/abi/errno.ts";
import { crc32c } from "../../kernel/lib/crc32c.ts";
import { errnoText, walkTree } from "../ext4/tree.ts";
import type { CrashDisk } from "./crash_disk.ts";
import { RECOVERY_SEC } from "./judge_ext4.ts";
import type { Recorded } from "./recorded.ts";
import type { Promises, Verdict } from "./verdict.ts";

const { S_IFLNK, S_IFREG } = ext4Layout;
const READ_BYTES = 1 << 20;
/** Longest file that is compared as a whole. */
const COMPARED_BYTES_MAX = 2 ** 31;
/** Footprints of states that kept their promises, for each interval. */
const FOOTPRINTS_MAX = 16;

interface Entry {
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly mode: number;
  readonly size: number;
  /** Of the content or the target. */
  readonly crc: number;
}

type Tree = ReadonlyMap<string, Entry>;

/** Remembers which blocks were looked at. */
class Watched implements Blocks {
  readonly seen = new Set<number>();
  readonly #image: BlockImage;

  constructor(image: BlockImage) {
    this.#image = image;
  }

  get bytes(): Uint8Array {
    return this.#image.bytes;
  }

  get view(): DataView {
    return this.#image.view;
  }

  get blockSize(): number {
    return this.#image.blockSize;
  }

  get count(): number {
    return this.#image.count;
  }

  at(block: number): number {
    this.seen.add(block);
    return this.#image.at(block);
  }
}

function describe(blocks: Blocks, sb: Super, path: string, bytes: Uint8Array, at: number): Entry | string {
  const { view } = blocks;
  const mode = ext4Inode.inodeMode(view, at);
  const type = ext4Inode.inodeType(view, at);
  const size = type === S_IFREG ? ext4Inode.inodeSizeBytes(sb, view, at) : 0;
  let crc = 0;
  if (type === S_IFLNK) {
    const target = readLink(blocks, sb, at);
    if (!(target instanceof Uint8Array)) return `its target cannot be read: ${errnoText(target)}`;
    crc = crc32c(0xffffffff, target, 0, target.length);
  } else if (type === S_IFREG && size > COMPARED_BYTES_MAX) return `it claims ${size} bytes`;
  else if (type === S_IFREG) {
    const buffer = new Uint8Array(Math.min(size, READ_BYTES));
    crc = 0xffffffff;
    for (let done = 0; done < size;) {
      const got = readFile(blocks, sb, at, done, buffer.subarray(0, Math.min(buffer.length, size - done)));
      if (isErr(got)) return `it cannot be read: ${errnoText(got)}`;
      crc = crc32c(crc, buffer, 0, got);
      done += got;
    }
  }
  return { path, bytes, mode, size, crc };
}

/** Of an image that was just recovered. */
function treeOf(image: BlockImage, sb: Super): Tree {
  const tree = new Map<string, Entry>();
  walkTree(image, sb, ({ path, at }) => {
    const entry = describe(image, sb, path, Buffer.from(path, "latin1"), at);
    if (typeof entry !== "string") tree.set(path, entry);
  });
  return tree;
}

const same = (one: Entry | undefined, other: Entry | undefined): boolean =>
  one !== undefined &&
  other !== undefined &&
  one.mode === other.mode &&
  one.size === other.size &&
  one.crc === other.crc;

/** `fsync6` speaks of f6 and 6, not of f16. */
function speaksOf(marker: string, path: string): boolean {
  const name = marker.slice("fsync".length).trim();
  const file = path.slice(path.lastIndexOf("/") + 1);
  if (name === "" || !file.endsWith(name)) return false;
  const before = file[file.length - name.length - 1];
  return before === undefined || !(/\d/.test(name[0]!) && /\d/.test(before));
}

const isSync = (marker: string): boolean => marker.startsWith("sync");
const isFsync = (marker: string): boolean => marker.startsWith("fsync");

/** Which blocks had which slots when all promises were found kept. */
interface Footprint {
  readonly blocks: Int32Array;
  readonly slots: Int32Array;
}

export class DerivedPromises implements Promises {
  /** By number of markers that were passed: what is expected. */
  readonly #expected: (readonly Entry[])[] = [[]];
  readonly #kept = new Map<number, Footprint[]>();
  #generation = -1;

  /** Reads the trees: `disk` must be a fresh one, and is at the end of the log afterwards. */
  constructor(disk: CrashDisk, recorded: Recorded, policy: Policy) {
    const trees = [...recorded.markers.map(({ writes }) => writes), recorded.writes.length].map((writes) =>
      treeAfter(disk, writes, policy),
    );
    let promised: Tree = new Map();
    for (const [at, { text }] of recorded.markers.entries()) {
      const tree = trees[at]!;
      const kept = new Map([...promised].filter(([path, entry]) => same(entry, tree.get(path))));
      if (isSync(text)) for (const [path, entry] of tree) kept.set(path, entry);
      else if (isFsync(text)) for (const [path, entry] of tree) if (speaksOf(text, path)) kept.set(path, entry);
      promised = kept;
      this.#expected.push([...kept.values()].filter((entry) => same(entry, trees[at + 1]!.get(entry.path))));
    }
  }

  /** How many paths are promised after so many markers. */
  count(markers: number): number {
    return this.#expected[markers]!.length;
  }

  broken(disk: CrashDisk, sb: Super, markers: number): Verdict | undefined {
    const { image } = disk;
    const expected = this.#expected[markers]!;
    if (expected.length === 0) return undefined;
    if (this.#generation !== disk.generation) this.#kept.clear();
    this.#generation = disk.generation;
    let footprints = this.#kept.get(markers);
    if (footprints === undefined) this.#kept.set(markers, (footprints = []));
    if (footprints.some((footprint) => fits(image, footprint))) return undefined;
    const watched = new Watched(image);
    for (const entry of expected) {
      const verdict = brokenEntry(watched, sb, entry);
      if (verdict !== undefined) return verdict;
    }
    const blocks = Int32Array.from(watched.seen);
    // A copy belongs to this state alone: its number says nothing of the next one's content.
    if (blocks.every((block) => disk.isStable(block)) && footprints.length < FOOTPRINTS_MAX)
      footprints.push({ blocks, slots: blocks.map((block) => image.where[block]!) });
    return undefined;
  }
}

function fits(image: BlockImage, { blocks, slots }: Footprint): boolean {
  const { where } = image;
  for (let n = 0; n < blocks.length; n++) if (where[blocks[n]!] !== slots[n]) return false;
  return true;
}

function brokenEntry(blocks: Blocks, sb: Super, entry: Entry): Verdict | undefined {
  const ino = resolve(blocks, sb, entry.bytes, false);
  if (isErr(ino)) return { class: "lost", why: `${entry.path}: ${errnoText(ino)}` };
  const found = describe(blocks, sb, entry.path, entry.bytes, inodeAt(blocks, sb, ino));
  if (typeof found === "string") return { class: "content", why: `${entry.path}: ${found}` };
  if (same(found, entry)) return undefined;
  if (found.mode !== entry.mode)
    return { class: "content", why: `${entry.path} has mode ${found.mode.toString(8)}, not ${entry.mode.toString(8)}` };
  if (found.size !== entry.size)
    return { class: "content", why: `${entry.path} has ${found.size} bytes, not ${entry.size}` };
  return { class: "content", why: `${entry.path} has another content` };
}

function treeAfter(disk: CrashDisk, writes: number, policy: Policy): Tree {
  disk.advance(writes);
  const { image } = disk;
  const read = (): Super | undefined => {
    const sb = readSuper(image.view, superAt(image), image.count * image.blockSize);
    return isRefusal(sb) ? undefined : sb;
  };
  try {
    const sb = read();
    if (sb === undefined || isRefusal(recover(image, sb, { policy, now: RECOVERY_SEC }))) return new Map();
    const after = read();
    return after === undefined ? new Map() : treeOf(image, after);
  } finally {
    disk.undo();
  }
}

/** Address of the primary superblock. */
export function superAt(image: BlockImage): number {
  const block = Math.floor(1024 / image.blockSize);
  return image.at(block) + 1024 - block * image.blockSize;
}

/**
 * A script on a new ext4: made by our mkfs with one of several sets of features, mounted bare on a disk in memory, the
 * VFS above it, and the model beside it.
 *
 * - FEATURE_SETS, DATA_MODES        what is tried
 * - scriptFor(features, seed, ...)  a random script that suits it
 * - emptyImage(features)            the bytes after mkfs, a copy
 * - new Workload(options)           mounted; apply(op) on both, undefined or what differs; finishUp() unmounts, compares
 */
import { ENOSPC, EOPNOTSUPP } from "../../../kernel/abi/errno.ts";
import { assert } from "../../../kernel/lib/assert.ts";
import type { Errno, Nanos } from "../../../kernel/abi/units.ts";
import {
  BlockImage,
  Checker,
  DEFAULT_FEATURES,
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  Vfs,
  bareFs,
  ext4Layout,
  imageBuffer,
  imageOf,
  isRefusal,
  makeExt4,
  mountOptions,
  readSuper,
} from "../../../kernel/index.ts";
import type { BareFs, MakeOptions, Super } from "../../../kernel/index.ts";
import { growingArena } from "../../../kernel/lib/growing_arena.ts";
import { FlatDisk } from "../../disk/flat.ts";
import { manifest } from "../tree.ts";
import { generate } from "./generate.ts";
import type { GenerateOptions } from "./generate.ts";
import { ModelTree } from "./model.ts";
import { dataBytes, dataLength, scriptLine } from "./op.ts";
import type { Op } from "./op.ts";
import { ScriptRun } from "./run.ts";
import { vfsTree } from "./vfs_tree.ts";

const { COMPAT, INCOMPAT, RO_COMPAT } = ext4Layout;
const KIB = 1024;
const MIB = KIB * KIB;

type Word = keyof typeof COMPAT | keyof typeof INCOMPAT | keyof typeof RO_COMPAT;

/** The default features with some more, and without some. */
function features(more: readonly Word[], without: readonly Word[]): NonNullable<MakeOptions["features"]> {
  let { compat, incompat, roCompat } = DEFAULT_FEATURES;
  const bits = (table: Readonly<Record<string, number>>, words: readonly Word[]): number =>
    words.reduce((all, word) => all | (table[word] ?? 0), 0);
  compat = (compat & ~bits(COMPAT, without)) | bits(COMPAT, more);
  incompat = (incompat & ~bits(INCOMPAT, without)) | bits(INCOMPAT, more);
  roCompat = (roCompat & ~bits(RO_COMPAT, without)) | bits(RO_COMPAT, more);
  return { compat, incompat, roCompat };
}

const SMALL = { sizeBytes: 24 * MIB, blockSize: KIB, inodes: 4096, journalBytes: 2 * MIB };

export const FEATURE_SETS = {
  plain: SMALL,
  block2k: { ...SMALL, blockSize: 2 * KIB, journalBytes: 4 * MIB },
  block4k: { ...SMALL, sizeBytes: 32 * MIB, blockSize: 4 * KIB, journalBytes: 4 * MIB },
  nocsum: { ...SMALL, features: features([], ["metadata_csum"]) },
  crc16: { ...SMALL, features: features(["uninit_bg"], ["metadata_csum", "64bit"]), blocksPerGroup: 2048 },
  indirect: { ...SMALL, features: features([], ["extent", "64bit"]) },
  inline: { ...SMALL, features: features(["inline_data"], []) },
  bigalloc: { ...SMALL, features: features(["bigalloc"], []), clusterSize: 4 * KIB },
  orphan_file: { ...SMALL, features: features(["orphan_file"], []) },
  metabg: { ...SMALL, features: features(["meta_bg"], ["resize_inode"]), blocksPerGroup: 2048 },
  small_inode: { ...SMALL, inodeSize: 128 },
  nojournal: { sizeBytes: SMALL.sizeBytes, blockSize: KIB, inodes: 4096, features: features([], ["has_journal"]) },
  /** Half of it is the journal: scripts fill it up. */
  tiny: { ...SMALL, sizeBytes: 2 * MIB + 512 * KIB, inodes: 160, journalBytes: MIB },
  nodirindex: { ...SMALL, features: features([], ["dir_index"]) },
} as const satisfies Readonly<Record<string, Omit<MakeOptions, "uuid" | "hashSeed" | "now">>>;
export type FeatureSet = keyof typeof FEATURE_SETS;

export const DATA_MODES = ["data=ordered", "data=journal", "data=writeback", "data=ordered,nodelalloc"] as const;
export type DataMode = (typeof DATA_MODES)[number];

const TINY_FILE_BYTES_MAX = 3 * MIB;

/** A random script that suits the file system: on a tiny one files that fill it, and no fallocate, which may end half done. */
export function scriptFor(name: FeatureSet, seed: number, options: Partial<GenerateOptions>): Op[] {
  if (name !== "tiny") return generate(seed, options);
  return generate(seed, { ...options, fileBytesMax: TINY_FILE_BYTES_MAX }).filter((op) => op.name !== "fallocate");
}

/** 2026-05-28: before the clock of whoever judges, or e2fsck finds times of the future. */
const NOW_SEC = 1_780_000_000;
const UUID = Uint8Array.from({ length: 16 }, (_, n) => 16 * n + n + 1);
const images = new Map<FeatureSet, Uint8Array>();

export function emptyImage(name: FeatureSet): Uint8Array {
  let bytes = images.get(name);
  if (bytes === undefined) {
    const made = makeExt4({ ...FEATURE_SETS[name], uuid: UUID, hashSeed: UUID, now: NOW_SEC });
    if (isRefusal(made)) throw new Error(`mkfs refused ${name}: ${made.reason}`);
    const image = imageOf(made);
    bytes = image.bytes.slice(0, image.count * image.blockSize);
    images.set(name, bytes);
  }
  return bytes.slice();
}

export interface WorkloadOptions {
  readonly features: FeatureSet;
  readonly mode: DataMode;
  /** Keep a log of what is written. */
  readonly log?: boolean;
}

/** Clock of a file system: a second an operation, so that times differ and commits become due. */
const STEP_NS = 1_000_000_000;

export class Workload {
  readonly disk: FlatDisk;
  readonly vfs: Vfs;
  readonly task: number;
  readonly model = new ModelTree();
  readonly run: ScriptRun;
  readonly #bare: BareFs;
  readonly #features: FeatureSet;
  #nowNs = 0;

  constructor({ features: name, mode, log = false }: WorkloadOptions) {
    this.#features = name;
    this.disk = new FlatDisk(emptyImage(name));
    // Before the mount: it writes, too.
    if (log) this.disk.log = [];
    const mount = mountOptions(name === "nojournal" && mode !== "data=ordered" ? "" : mode);
    assert(typeof mount !== "string", "Workload: unknown mount options");
    const now = (): Nanos => this.#nowNs as Nanos;
    const bare = bareFs({ device: this.disk, mount, now, bootSec: NOW_SEC });
    assert(!isRefusal(bare), "Workload: the file system cannot be mounted");
    this.#bare = bare;
    this.vfs = new Vfs({ memory: growingArena(), now, bootSec: NOW_SEC });
    this.vfs.reset();
    this.vfs.mountRoot(this.vfs.attachFs(bare.fs));
    this.task = this.vfs.newTask({ uid: 0, gid: 0 });
    this.vfs.umask(this.task, 0);
    this.run = new ScriptRun(this.vfs, this.task);
  }

  /** One operation on both; what differs, or undefined. */
  apply(op: Op): string | undefined {
    this.#nowNs += STEP_NS;
    const found = this.run.apply(op);
    const expected = this.modelResult(this.model, op, found);
    if (found !== expected) return `${scriptLine(op)}: ${found}, the model says ${expected}`;
    if (op.name === "read" && found > 0 && Buffer.compare(this.run.read, this.model.bytesOf(op)) !== 0)
      return `${scriptLine(op)}: other bytes than the model's`;
    return undefined;
  }

  /** What a model of this file system gives; `found` is what the real one gave. */
  modelResult(model: ModelTree, op: Op, found?: number): number {
    if (this.#features === "tiny" && found !== undefined) {
      // A full disk: the call did nothing, or a write ended early.
      if (found === ENOSPC) return ENOSPC;
      if (op.data !== undefined && op.name !== "setxattr" && found > 0 && found < dataLength(op.data))
        return model.apply({ ...op, data: { bytes: dataBytes(op.data).subarray(0, found) } });
    }
    // As in Linux: a block map has no unwritten blocks, so that only holes can be made in it.
    const needsExtents = op.name === "fallocate" && (op.flags & FALLOC_PUNCH_HOLE) === 0;
    if (this.#features !== "indirect" || !needsExtents) return model.apply(op);
    const refused = model.apply({ ...op, flags: FALLOC_KEEP_SIZE });
    return refused === 0 ? EOPNOTSUPP : refused;
  }

  /** The tree as the mounted file system tells it, compared with the model's. */
  compare(): string | undefined {
    const tree = vfsTree(this.vfs, this.task, LOST_AND_FOUND);
    return (
      firstDifference("the mounted tree", tree.lines, this.model.lines()) ??
      firstDifference("the attributes", tree.attributes, this.model.attributeLines())
    );
  }

  unmount(): 0 | Errno {
    return this.#bare.unmount();
  }

  /** Unmounts, checks the image, and compares what is in it; what is wrong, or undefined. */
  finishUp(): string | undefined {
    const ended = this.unmount();
    if (ended !== 0) return `unmount: ${ended}`;
    return judgeBytes(this.disk.bytes, this.model.lines());
  }
}

/** Made by mkfs; no script speaks of it. */
const LOST_AND_FOUND: ReadonlySet<string> = new Set(["/lost+found"]);

const checker = new Checker();

export function opened(bytes: Uint8Array): { readonly image: BlockImage; readonly sb: Super } {
  const buffer = imageBuffer(bytes.length);
  buffer.set(bytes);
  const sb = readSuper(new DataView(buffer.buffer), ext4Layout.SUPER_OFFSET, bytes.length);
  assert(!isRefusal(sb), "opened: the superblock was refused");
  return { image: new BlockImage(buffer, sb.blockSize, sb.blocksCount), sb };
}

export const linesIn = (image: BlockImage, sb: Super): string[] =>
  manifest(image, sb).filter((line) => !line.endsWith(" lost+found"));

/** A clean image with this tree; what is wrong with it, or undefined. */
export function judgeBytes(bytes: Uint8Array, lines: readonly string[]): string | undefined {
  const { image, sb } = opened(bytes);
  const { clean, damage } = checker.run(image, sb);
  if (!clean)
    return `the checker: ${damage
      .slice(0, 3)
      .map(({ text }) => text)
      .join("; ")}`;
  return firstDifference("the image", linesIn(image, sb), lines);
}

export function firstDifference(
  what: string,
  found: readonly string[],
  expected: readonly string[],
): string | undefined {
  for (let n = 0; n < Math.max(found.length, expected.length); n++)
    if (found[n] !== expected[n])
      return `${what} has "${(found[n] ?? "nothing").slice(0, 200)}", the model "${(expected[n] ?? "nothing").slice(0, 200)}"`;
  return undefined;
}

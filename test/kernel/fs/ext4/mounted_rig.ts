/**
 * A mounted ext4 on a simulated disk, and the obvious model of what is in it: files by name, each an array of bytes.
 *
 * - mounted(options)       a new file system of that kind, mounted; `slow`: a disk that answers late and out of order
 * - judge(disk)            what Checker finds on the disk, and e2fsck when it is asked for; empty when it is clean
 * - FileModel              does operations on both, and compares
 */
import { expect } from "vitest";
import { type BareFs, bareFs } from "../../../../kernel/fs/bare_fs.ts";
import { BlockImage, imageBuffer } from "../../../../kernel/fs/block_image.ts";
import { Checker } from "../../../../kernel/fs/ext4/check.ts";
import { GroupEdit } from "../../../../kernel/fs/ext4/group_edit.ts";
import type { MakeOptions } from "../../../../kernel/fs/ext4/mkfs_plan.ts";
import { mountOptions } from "../../../../kernel/fs/ext4/mount_options.ts";
import { isRefusal, readSuper } from "../../../../kernel/fs/ext4/super.ts";
import { CALL_WORDS, type Stat } from "../../../../kernel/fs/vfs/file_system.ts";
import { nanos } from "../../../../kernel/abi/units.ts";
import { nextBelow, prng } from "../../../../kernel/lib/prng.ts";
import { FaultPlan, type FaultRule, SATA_SSD, SimDisk } from "../../../../drivers/index.ts";
import { fsck, made, MIB, TEST_NOW } from "./image_tools.ts";

export interface MountedOptions extends Omit<Partial<MakeOptions>, "uuid" | "hashSeed" | "now"> {
  readonly mount?: string;
  /** A virtual clock, and a disk that takes its time by a model of an SSD. */
  readonly slow?: boolean;
  readonly image?: Uint8Array;
  /** Most sectors of one request: data of neighbouring pages then end apart. */
  readonly sectorsMax?: number;
  /** Free blocks are full of JUNK: what nobody wrote. */
  readonly junk?: boolean;
  readonly faults?: readonly FaultRule[];
  readonly pages?: number;
  readonly buffers?: number;
  readonly inodes?: number;
}

export interface MountedRig {
  readonly bare: BareFs;
  readonly disk: SimDisk;
  readonly clock: { now: number };
}

export const JUNK = 0xff;
/** A slow disk ends its requests in no order: some take as long as a hundred others. */
const LATE: readonly FaultRule[] = [
  { kind: "latency", oneIn: 3, addNs: 400_000 },
  { kind: "latency", oneIn: 8, addNs: 5_000_000 },
];

const images = new Map<string, Uint8Array>();

/** Bytes of an empty file system: made once for each kind. */
export function emptyImage(options: MountedOptions): Uint8Array {
  const {
    mount: _m,
    slow: _s,
    image: _i,
    junk,
    faults: _f,
    sectorsMax: _x,
    pages: _p,
    buffers: _b,
    inodes: _n,
    ...make
  } = options;
  const wanted = { sizeBytes: 8 * MIB, blockSize: 1024, ...make };
  const key = JSON.stringify([wanted, junk]);
  let image = images.get(key);
  if (image === undefined) {
    const { image: blocks, sb } = made(wanted);
    const groups = new GroupEdit(blocks, sb);
    const end = junk === true ? blocks.count : 0;
    for (let block = 0; block < end; block++)
      if (groups.isClusterFree(block)) blocks.bytes.fill(JUNK, block * sb.blockSize, (block + 1) * sb.blockSize);
    image = blocks.bytes.slice(0, blocks.count * blocks.blockSize);
    images.set(key, image);
  }
  return image.slice();
}

export function mounted(options: MountedOptions = {}): MountedRig {
  const image = options.image ?? emptyImage(options);
  const clock = { now: 0 };
  const slow = options.slow === true;
  const disk = new SimDisk({
    sectors: image.length / 512,
    image,
    atomicBytes: 512,
    ...(options.sectorsMax === undefined ? {} : { sectorsMax: options.sectorsMax }),
    now: () => nanos(clock.now),
    ...(slow ? { service: SATA_SSD } : {}),
    ...(options.faults === undefined && !slow ? {} : { faults: new FaultPlan(options.faults ?? LATE, 1) }),
  });
  const mount = mountOptions(options.mount ?? "");
  if (typeof mount === "string") throw new Error(mount);
  const { pages, buffers, inodes } = options;
  const bare = bareFs({
    device: disk,
    mount,
    now: () => nanos(clock.now),
    bootSec: TEST_NOW,
    idle() {
      clock.now = Math.max(clock.now + 1, Math.min(disk.nextAtNs, clock.now + 1e9));
    },
    ...(pages === undefined ? {} : { pages }),
    ...(buffers === undefined ? {} : { buffers }),
    ...(inodes === undefined ? {} : { inodes }),
  });
  if (isRefusal(bare)) throw new Error(bare.reason);
  return { bare, disk, clock };
}

export function damageOf(bytes: Uint8Array, withFsck = false): string[] {
  const buffer = imageBuffer(bytes.length);
  buffer.set(bytes);
  const sb = readSuper(new DataView(buffer.buffer), 1024, bytes.length);
  if (isRefusal(sb)) return [sb.reason];
  const image = new BlockImage(buffer, sb.blockSize, sb.blocksCount);
  const found = new Checker().run(image, sb).damage.map(({ text }) => text);
  return found.length === 0 && withFsck ? [fsck(image)].filter((text) => text !== "") : found;
}

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
export const statOf = (bare: BareFs, ino: number): Stat => {
  const stat = {} as Stat;
  expect(bare.run(() => bare.fs.getattr(ino, stat))).toBe(0);
  return stat;
};

/** All of a file, as a reader sees it. */
export function contentOf(
  { fs, run }: { fs: BareFs["fs"]; run: BareFs["run"] },
  ino: number,
  size: number,
): Uint8Array {
  const into = new Uint8Array(size);
  for (let at = 0; at < size;) {
    const got = run(() => fs.read(ino, at, into.subarray(at), 0));
    if (got <= 0) throw new Error(`read of inode ${ino} at ${at} of ${size}: ${got}`);
    at += got;
  }
  return into;
}

/** Bytes that tell where they were written, and by which write. */
export function pattern(seed: number, length: number): Uint8Array {
  const state = prng(seed);
  return Uint8Array.from({ length }, () => 1 + nextBelow(state, 255));
}

export const call = (): Float64Array => new Float64Array(CALL_WORDS);

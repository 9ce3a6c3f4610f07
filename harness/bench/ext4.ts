/**
 * ext4 on a disk in memory, against what does the same without it, interleaved in one run:
 *
 * - fill            a tree of 10,000 small files in 100 directories, mkfs and unmounting in it; mke2fs -d on the same tree
 * - write, read     256 MiB in pieces of 1 MiB, written and synced, read back; a loop that copies it in 4 KiB blocks
 * - recover         a log of 64 MiB as full as it comes, in process; e2fsck's replay of the same image
 * - fsync           files made, each followed by its fsync; the same files without
 * - mount           a file system of 8 MiB, mounted and unmounted; a copy of its image
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { O_CREAT, O_RDONLY, O_RDWR } from "../../kernel/abi/fcntl.ts";
import { isErr } from "../../kernel/abi/errno.ts";
import type { Nanos } from "../../kernel/abi/units.ts";
import {
  BlockImage,
  Vfs,
  bareFs,
  ext4Layout,
  finish,
  imageBuffer,
  imageOf,
  isRefusal,
  makeExt4,
  mountOptions,
  readSuper,
  recover,
} from "../../kernel/index.ts";
import type { BareFs, MakeOptions } from "../../kernel/index.ts";
import { assert } from "../../kernel/lib/assert.ts";
import { growingArena } from "../../kernel/lib/growing_arena.ts";
import { FlatDisk } from "../disk/flat.ts";
import { findTool } from "../qemu/packages.ts";
import type { Bench, BenchOptions, BenchRow, BenchTable } from "./bench.ts";
import { median } from "./median.ts";

const MIB = 2 ** 20;
const BLOCK_BYTES = 4096;
const PIECE_BYTES = MIB;
const NOW_SEC = 1_780_000_000;
const SHM = "/dev/shm";
const DIRECTORIES = 100;
const ROUNDS = 9;
const ROUNDS_QUICK = 2;

/** How much of each; the quick run takes a part. */
interface Scale {
  readonly filesEach: number;
  readonly streamBytes: number;
  readonly journalBytes: number;
  readonly synced: number;
  readonly mounts: number;
}
const FULL: Scale = { filesEach: 100, streamBytes: 256 * MIB, journalBytes: 64 * MIB, synced: 1000, mounts: 50 };
const QUICK: Scale = { filesEach: 10, streamBytes: 16 * MIB, journalBytes: 16 * MIB, synced: 100, mounts: 5 };

const now = (): Nanos => 0 as Nanos;
const ID = new Uint8Array(16).fill(7);

/** Bytes of a new file system. */
function made(options: Omit<MakeOptions, "uuid" | "hashSeed" | "now">): Uint8Array {
  const result = makeExt4({ ...options, uuid: ID, hashSeed: ID, now: NOW_SEC });
  assert(!isRefusal(result), "bench ext4: mkfs refused");
  const image = imageOf(result);
  return image.bytes.subarray(0, image.count * image.blockSize);
}

interface Mounted {
  readonly bare: BareFs;
  readonly vfs: Vfs;
  readonly task: number;
  readonly disk: FlatDisk;
}

function mounted(bytes: Uint8Array, mount = ""): Mounted {
  const options = mountOptions(mount);
  assert(typeof options !== "string", "bench ext4: unknown mount options");
  const disk = new FlatDisk(bytes);
  const bare = bareFs({ device: disk, mount: options, now, bootSec: NOW_SEC });
  assert(!isRefusal(bare), "bench ext4: cannot mount");
  const vfs = new Vfs({ memory: growingArena(), now, bootSec: NOW_SEC });
  vfs.reset();
  vfs.mountRoot(vfs.attachFs(bare.fs));
  return { bare, vfs, task: vfs.newTask({ uid: 0, gid: 0 }), disk };
}

function must(vfs: Vfs, call: () => number): number {
  const result = finish(vfs, call);
  assert(!isErr(result), "bench ext4: a call failed");
  return result;
}

function writeAll({ vfs, task }: Mounted, fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += must(vfs, () => vfs.write(task, fd, bytes.subarray(done)));
}

function newFile(on: Mounted, path: string, content: Uint8Array, sync: boolean): void {
  const { vfs, task } = on;
  const fd = must(vfs, () => vfs.open(task, path, O_CREAT | O_RDWR, 0o644));
  writeAll(on, fd, content);
  if (sync) must(vfs, () => vfs.fsync(task, fd));
  must(vfs, () => vfs.close(task, fd));
}

/** Milliseconds. */
function timed(act: () => void): number {
  const start = performance.now();
  act();
  return performance.now() - start;
}

/** 100 bytes to 4 KiB, by the file's number. */
const contentOf = (n: number): Uint8Array => new Uint8Array(100 + ((n * 37) % 3996)).fill(n % 251);

function fill({ filesEach }: Scale): number {
  return timed(() => {
    const on = mounted(made({ sizeBytes: 128 * MIB, blockSize: BLOCK_BYTES }));
    for (let dir = 0; dir < DIRECTORIES; dir++) {
      must(on.vfs, () => on.vfs.mkdir(on.task, `/d${dir}`, 0o755));
      for (let n = 0; n < filesEach; n++) newFile(on, `/d${dir}/f${n}`, contentOf(dir * filesEach + n), false);
    }
    assert(on.bare.unmount() === 0, "bench ext4: unmount");
  });
}

function hostTree(folder: string, { filesEach }: Scale): string {
  const root = join(folder, "tree");
  for (let dir = 0; dir < DIRECTORIES; dir++) {
    mkdirSync(join(root, `d${dir}`), { recursive: true });
    for (let n = 0; n < filesEach; n++) writeFileSync(join(root, `d${dir}`, `f${n}`), contentOf(dir * filesEach + n));
  }
  return root;
}

function fillByMke2fs(folder: string, root: string): number {
  const image = join(folder, "made");
  rmSync(image, { force: true });
  writeFileSync(image, "");
  truncateSync(image, 128 * MIB);
  return timed(() => {
    const words = ["-q", "-F", "-t", "ext4", "-b", String(BLOCK_BYTES), "-d", root, image];
    assert(spawnSync(findTool("mke2fs")!, words, { stdio: "ignore" }).status === 0, "bench ext4: mke2fs failed");
  });
}

interface Stream {
  readonly writeMs: number;
  readonly readMs: number;
}

function stream(empty: Uint8Array, piece: Uint8Array, { streamBytes }: Scale): Stream {
  const on = mounted(empty.slice());
  const { vfs, task } = on;
  const fd = must(vfs, () => vfs.open(task, "/stream", O_CREAT | O_RDWR, 0o644));
  const writeMs = timed(() => {
    for (let at = 0; at < streamBytes; at += piece.length) writeAll(on, fd, piece);
    must(vfs, () => vfs.fsync(task, fd));
  });
  must(vfs, () => vfs.close(task, fd));
  const again = must(vfs, () => vfs.open(task, "/stream", O_RDONLY));
  const into = new Uint8Array(piece.length);
  const readMs = timed(() => {
    for (let at = 0; at < streamBytes;) {
      const from = at % into.length;
      at += must(vfs, () => vfs.pread(task, again, into.subarray(from), at));
    }
  });
  assert(Buffer.compare(into, piece) === 0, "bench ext4: other bytes were read");
  return { writeMs, readMs };
}

/** Each block from the caller's buffer into the disk's array, or back. */
function copied(disk: Uint8Array, piece: Uint8Array, { streamBytes }: Scale): Stream {
  const each = (copy: (at: number, from: number) => void): number =>
    timed(() => {
      for (let at = 0; at < streamBytes; at += BLOCK_BYTES) copy(at, at % piece.length);
    });
  const into = new Uint8Array(piece.length);
  return {
    writeMs: each((at, from) => disk.set(piece.subarray(from, from + BLOCK_BYTES), at)),
    readMs: each((at, from) => into.set(disk.subarray(at, at + BLOCK_BYTES), from)),
  };
}

/** The image whose recovery brings the most blocks home, of a file system that journals its data and is never unmounted. */
function fullLog({ journalBytes }: Scale): { readonly bytes: Uint8Array; readonly blocks: number } {
  const on = mounted(made({ sizeBytes: 4 * journalBytes, blockSize: BLOCK_BYTES, journalBytes }), "data=journal");
  const { vfs, task, disk } = on;
  const piece = new Uint8Array(PIECE_BYTES).fill(0x5a);
  let best = { bytes: disk.bytes.slice(), blocks: 0 };
  const pieces = (2 * journalBytes) / PIECE_BYTES;
  for (let n = 0; n < pieces; n++) {
    newFile(on, `/f${n}`, piece, true);
    if (n > 4) must(vfs, () => vfs.unlink(task, `/f${n - 4}`));
    if (n % 2 === 1 || n < pieces / 4) continue;
    const blocks = recoverHere(disk.bytes.slice()).blocks;
    if (blocks > best.blocks) best = { bytes: disk.bytes.slice(), blocks };
  }
  return best;
}

function recoverHere(bytes: Uint8Array): { readonly ms: number; readonly blocks: number } {
  const buffer = imageBuffer(bytes.length);
  buffer.set(bytes);
  let blocks = 0;
  const ms = timed(() => {
    const sb = readSuper(new DataView(buffer.buffer), ext4Layout.SUPER_OFFSET, bytes.length);
    assert(!isRefusal(sb), "bench ext4: no superblock");
    const image = new BlockImage(buffer, sb.blockSize, sb.blocksCount);
    const done = recover(image, sb, { policy: "kernel", now: NOW_SEC });
    assert(!isRefusal(done), "bench ext4: recovery was refused");
    blocks = (done.replay?.replayed ?? 0) + (done.replay?.revokeHits ?? 0);
    image.settle();
  });
  return { ms, blocks };
}

function recoverByE2fsck(folder: string, bytes: Uint8Array): number {
  const image = join(folder, "log");
  writeFileSync(image, bytes);
  return timed(() => {
    spawnSync(findTool("e2fsck")!, ["-y", "-E", "journal_only", image], { stdio: "ignore" });
  });
}

function syncs(empty: Uint8Array, { synced }: Scale, sync: boolean): number {
  const on = mounted(empty.slice());
  const content = new Uint8Array(0);
  return timed(() => {
    for (let n = 0; n < synced; n++) newFile(on, `/f${n}`, content, sync);
  });
}

function mounts(empty: Uint8Array, count: number): number {
  const copy = empty.slice();
  return timed(() => {
    for (let n = 0; n < count; n++) {
      const bare = bareFs({ device: new FlatDisk(copy), now, bootSec: NOW_SEC });
      assert(!isRefusal(bare) && bare.unmount() === 0, "bench ext4: mount");
    }
  });
}

function copies(empty: Uint8Array, count: number): number {
  const to = new Uint8Array(empty.length);
  return timed(() => {
    for (let n = 0; n < count; n++) to.set(empty);
  });
}

const three = (value: number): number => Number(value.toPrecision(3));

/** `figures` a millisecond, ours and the peer's; the ratio is of times, round by round: below 1 we are faster. */
function row(what: string, unit: string, amount: number, ours: readonly number[], peer: readonly number[]): BenchRow {
  const perSecond = (sample: readonly number[]): number | null =>
    sample.length === 0 ? null : three((amount * 1000) / median(sample));
  const ratio = peer.length === 0 ? null : three(median(ours.map((ms, n) => ms / peer[n]!)));
  return { what, timeOverPeer: ratio, unit, ours: perSecond(ours), peer: perSecond(peer), oursMs: three(median(ours)) };
}

function measure(folder: string, { quick, progress }: BenchOptions): BenchTable {
  const scale = quick ? QUICK : FULL;
  const rounds = quick ? ROUNDS_QUICK : ROUNDS;
  const hasTools = findTool("mke2fs") !== undefined && findTool("e2fsck") !== undefined;
  const piece = new Uint8Array(PIECE_BYTES).map((_, n) => (n * 31) >>> 3);
  const large = made({ sizeBytes: scale.streamBytes + 64 * MIB, blockSize: BLOCK_BYTES });
  const small = made({ sizeBytes: 8 * MIB, blockSize: 1024 });
  const middle = made({ sizeBytes: 64 * MIB, blockSize: BLOCK_BYTES });
  const target = new Uint8Array(scale.streamBytes);
  const root = hasTools ? hostTree(folder, scale) : "";
  progress("ext4: filling a journal");
  const log = fullLog(scale);
  const t = {
    fill: [[], []],
    write: [[], []],
    read: [[], []],
    recover: [[], []],
    fsync: [[], []],
    mount: [[], []],
  } satisfies Readonly<Record<string, [number[], number[]]>> as Readonly<
    Record<"fill" | "write" | "read" | "recover" | "fsync" | "mount", [number[], number[]]>
  >;
  for (let round = 0; round < rounds; round++) {
    progress(`ext4: round ${round + 1} of ${rounds}`);
    t.fill[0].push(fill(scale));
    if (hasTools) t.fill[1].push(fillByMke2fs(folder, root));
    const [mine, plain] = [stream(large, piece, scale), copied(target, piece, scale)];
    t.write[0].push(mine.writeMs);
    t.write[1].push(plain.writeMs);
    t.read[0].push(mine.readMs);
    t.read[1].push(plain.readMs);
    t.recover[0].push(recoverHere(log.bytes).ms);
    if (hasTools) t.recover[1].push(recoverByE2fsck(folder, log.bytes));
    t.fsync[0].push(syncs(middle, scale, true));
    t.fsync[1].push(syncs(middle, scale, false));
    t.mount[0].push(mounts(small, scale.mounts));
    t.mount[1].push(copies(small, scale.mounts));
  }
  const files = DIRECTORIES * scale.filesEach;
  const streamMib = scale.streamBytes / MIB;
  const rows = [
    row(`fill: ${files} files, peer mke2fs -d`, "files/s", files, ...t.fill),
    row("write and fsync, peer a copy by blocks", "MiB/s", streamMib, ...t.write),
    row("read back, peer a copy by blocks", "MiB/s", streamMib, ...t.read),
    row("recover, peer e2fsck -E journal_only", "blocks/s", log.blocks, ...t.recover),
    row("create and fsync each, peer without fsync", "files/s", scale.synced, ...t.fsync),
    row("mount and unmount 8 MiB, peer a copy of it", "1/s", scale.mounts, ...t.mount),
  ];
  const notes = [
    `medians of ${rounds} interleaved rounds; timeOverPeer is the median of ratios of time, round by round: below 1 is faster than the peer`,
    `the log of ${scale.journalBytes / MIB} MiB had ${log.blocks} blocks of ${BLOCK_BYTES} bytes to bring home; e2fsck's time has its start as a process in it`,
    "the peer of write and read is one copy of the same bytes in one thread; ours are two, with checksums and allocation",
    ...(hasTools ? [] : ["e2fsprogs is missing: no peer for fill and recover"]),
  ];
  return { schema: 1, name: "ext4", rows, notes };
}

function run(options: BenchOptions): Promise<BenchTable> {
  const folder = mkdtempSync(join(existsSync(SHM) ? SHM : tmpdir(), "orrery-bench-ext4-"));
  try {
    return Promise.resolve(measure(folder, options));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export const bench: Bench = {
  name: "ext4",
  help: "ext4 on a disk in memory: filling, streaming, recovery, fsync, mounting; against mke2fs, e2fsck and copies",
  run,
};

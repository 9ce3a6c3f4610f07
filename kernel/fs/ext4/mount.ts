/**
 * Mounting: from a device to a file system that runs, by way of recovery when it was not unmounted; and back.
 *
 *   read the superblock -> refuse, or go read-only, or
 *   needs_recovery, orphans: the whole image is read and recovered (recover.ts); changed blocks, flush, superblocks, flush
 *   the journal is found and opened, free space counted
 *   the superblock says that it is mounted, before anything is in the log
 *
 * - mountExt4(parts)                 Mounted, or Refusal: an errno and one line of text
 * - unmountExt4(fs, device, idle)    0; EIOCBQUEUED: step() and ask again; EIO when the journal was aborted
 *
 * Both poll the device for the few blocks that no journal protects; `idle` lets the world go on meanwhile (virtual time).
 */
import type { BlockDevice } from "../../abi/block.ts";
import { BlockOp, SECTOR_SIZE } from "../../abi/block.ts";
import { EFSBADCRC, EINVAL, EIO, EIOCBQUEUED, EOPNOTSUPP } from "../../abi/errno.ts";
import type { EvictMemory } from "../../abi/evict.ts";
import type { Machine } from "../../abi/machine.ts";
import { NO_MEMORY, type ObjectCache } from "../../abi/object_cache.ts";
import type { PageCache } from "../../abi/page_cache.ts";
import { WAIT_JOURNAL } from "../../abi/page_cache.ts";
import type { Errno } from "../../abi/units.ts";
import { NS_PER_SEC, PAGE_SIZE } from "../../abi/units.ts";
import { le16, le32 } from "../../lib/bytes.ts";
import { blockRequest, pollUntilEnded, readDirect, writeDirect } from "../../../drivers/index.ts";
import { BlockImage, imageBuffer } from "../block_image.ts";
import { deviceFits, IoKind } from "../block_io.ts";
import { CallEnd } from "../blocks.ts";
import type { Blocks } from "../blocks.ts";
import { openJbd2 } from "../jbd2/jbd2.ts";
import type { Jbd2 } from "../jbd2/jbd2.ts";
import { superChecksum } from "./csum.ts";
import { DataOwner } from "./data_io.ts";
import { onError, putErrors } from "./errors.ts";
import { EXTRA_CREDITS } from "./file_work.ts";
import { settleWork, syncAll } from "./fsync.ts";
import { COMPAT, INCOMPAT, RO_COMPAT, SB, SUPER_OFFSET } from "./layout.ts";
import { MOUNT_DEFAULTS, optionsFault } from "./mount_options.ts";
import type { MountOptions } from "./mount_options.ts";
import { FS, Mounted } from "./mounted.ts";
import { UNMAP_CREDITS_MIN } from "./map_edit.ts";
import { renameCredits } from "./namei.ts";
import { PolledBlocks } from "./polled_blocks.ts";
import { journalMap, recover } from "./recover.ts";
import { Space } from "./space.ts";
import { isRefusal, readSuper } from "./super.ts";
import type { Refusal, Super } from "./super.ts";
import { putMounted, putUnmounted, writeSuper } from "./super_state.ts";
import { noteWait } from "./waits.ts";
import { orderedData } from "./writeback.ts";

export interface MountParts {
  readonly device: BlockDevice;
  readonly cache: PageCache;
  readonly machine: Machine;
  readonly memory: EvictMemory;
  readonly options?: MountOptions;
  /** Seconds since 1970 at the machine's boot. */
  readonly bootSec?: number;
  readonly privileged?: boolean;
  /** Called while a poll brings nothing. */
  readonly idle?: () => void;
  /** Blocks in the buffer cache, inodes in memory, pages of the page cache. */
  readonly buffers: number;
  readonly inodes: number;
  readonly pages: number;
  /** Memory of an inode; missing: none. */
  readonly inodeObjects?: ObjectCache;
}

const NOTHING = (): void => {};
/** Blocks that a mount looks at beside the descriptors: mostly the journal's map, as extents and as a block map. */
const LOOKED_AT_EXTENTS = 128;
const LOOKED_AT_INDIRECT = 1_100;

const refuse = (errno: Errno, reason: string): Refusal => ({ errno, reason });

function readSuperblock(device: BlockDevice, idle: () => void): Super | Refusal {
  const head = new Uint8Array(Math.max(2 * SUPER_OFFSET, device.limits.logicalBlockSize));
  if (device.limits.sectors * SECTOR_SIZE < head.length) return refuse(EINVAL, "the device is too small for an ext4");
  if (readDirect(device, 0, head, idle) !== head.length) return refuse(EIO, "the superblock cannot be read");
  const sb = readSuper(new DataView(head.buffer), SUPER_OFFSET, device.limits.sectors * SECTOR_SIZE);
  if (isRefusal(sb)) return sb;
  if (
    sb.metadataCsum &&
    superChecksum(head, SUPER_OFFSET) !== le32(new DataView(head.buffer), SUPER_OFFSET + SB.s_checksum)
  )
    return refuse(EFSBADCRC, "the checksum of the superblock is wrong");
  return sb;
}

/** Why it cannot be mounted as the options say; undefined: it can. */
function unfit(sb: Super, device: BlockDevice, options: MountOptions): Refusal | undefined {
  if (sb.blockSize > PAGE_SIZE)
    return refuse(EINVAL, `its blocks of ${sb.blockSize} bytes are larger than a page of ${PAGE_SIZE}`);
  if (deviceFits(device.limits, sb.blockSize) !== 0)
    return refuse(EINVAL, `its blocks of ${sb.blockSize} bytes cannot be addressed on this device`);
  const fault = optionsFault(options);
  if (fault !== undefined) return refuse(EINVAL, fault);
  if (options.data === "journal" && sb.journalIno === 0)
    return refuse(EINVAL, "data=journal needs a journal, and there is none");
  if ((sb.incompat & INCOMPAT.mmp) !== 0 && !options.readOnly)
    return refuse(EOPNOTSUPP, "multi-mount protection (mmp) is not kept up: mount it ro, or take the feature away");
  return undefined;
}

function needsRecovery(device: BlockDevice, sb: Super, idle: () => void): boolean {
  if ((sb.incompat & INCOMPAT.needs_recovery) !== 0 || (sb.roCompat & RO_COMPAT.orphan_present) !== 0) return true;
  const blocks = new PolledBlocks(device, sb.blockSize, sb.blocksCount, 1, idle);
  return le32(blocks.view, blocks.at(sb.superBlock) + sb.superOffset + SB.s_last_orphan) !== 0;
}

function flush(device: BlockDevice, idle: () => void): boolean {
  if (!device.limits.writeCache) return true;
  const request = blockRequest(BlockOp.Flush, 0, undefined, { sectors: 0 });
  return pollUntilEnded(device, [request], idle) === 0 && request.result === 0;
}

/** Writes blocks of an image that lie side by side at once. */
function writeBlocks(device: BlockDevice, image: BlockImage, blocks: readonly number[], idle: () => void): boolean {
  const { blockSize } = image;
  for (let n = 0; n < blocks.length;) {
    let run = 1;
    while (blocks[n + run] === blocks[n]! + run) run++;
    const at = blocks[n]! * blockSize;
    const part = image.bytes.subarray(at, at + run * blockSize);
    if (writeDirect(device, at, part, 0, idle) !== part.length) return false;
    n += run;
  }
  return true;
}

/** Recovers the device. The superblock may be another one then. */
function recoverDevice(
  device: BlockDevice,
  sb: Super,
  barrier: boolean,
  now: number,
  idle: () => void,
): Super | Refusal {
  const bytes = imageBuffer(sb.blocksCount * sb.blockSize);
  const whole = bytes.subarray(0, sb.blocksCount * sb.blockSize);
  if (readDirect(device, 0, whole, idle) !== whole.length) return refuse(EIO, "the device cannot be read");
  const image = new BlockImage(bytes, sb.blockSize, sb.blocksCount);
  const done = recover(image, sb, { policy: "kernel", now });
  if (isRefusal(done)) return done;
  const map = sb.journalIno === 0 ? undefined : journalMap(image, done.sb);
  // The blocks that say that the log is done with come last.
  const last = [sb.superBlock, ...(map instanceof Int32Array ? [map[0]!] : [])];
  const changed = image.settle();
  const write = (blocks: readonly number[]): boolean =>
    writeBlocks(device, image, blocks, idle) && (!barrier || flush(device, idle));
  const isWritten =
    write(changed.filter((block) => !last.includes(block))) && write(changed.filter((block) => last.includes(block)));
  if (!isWritten) return refuse(EIO, "what was recovered cannot be written");
  return readSuper(image.view, sb.superBlock * sb.blockSize + sb.superOffset, sb.blocksCount * sb.blockSize);
}

function openJournalOf(parts: MountParts, blocks: Blocks, sb: Super, options: MountOptions): Jbd2 | Refusal {
  const { device, memory, machine } = parts;
  const perPage = PAGE_SIZE / sb.blockSize;
  const common = {
    device,
    memory,
    blockSize: sb.blockSize,
    count: sb.blocksCount,
    slots: parts.buffers,
    // A request of the page cache may be as many device requests as it has blocks.
    ioRows: 256 * perPage + 64,
    barrier: options.barrier && device.limits.writeCache,
    intervalNs: options.commitSec * NS_PER_SEC,
    now: machine.now,
    epochSec: parts.bootSec ?? 0,
    trace: machine.trace,
  };
  if (sb.journalIno === 0) return openJbd2(common);
  const map = journalMap(blocks, sb);
  if (!(map instanceof Int32Array)) return map;
  const at = blocks.at(map[0]!);
  const superblock = blocks.bytes.slice(at, at + sb.blockSize);
  const features = {
    csum: sb.metadataCsum ? 3 : options.asyncCommit ? 1 : 0,
    wide: sb.has64bit,
    asyncCommit: options.asyncCommit,
    ...(canFastCommit(sb, options) ? { fastCommit: true } : {}),
  } as const;
  return openJbd2({ ...common, log: { superblock, map }, features });
}

/** Where replay would not get it right, or what a fast commit rests on may not be durable, commits are full ones. */
const canFastCommit = (sb: Super, { fastCommit, data, asyncCommit }: MountOptions): boolean =>
  fastCommit && (sb.compat & COMPAT.fast_commit) !== 0 && data !== "journal" && !asyncCommit && sb.clusterBits === 0;

export function mountExt4(parts: MountParts): Mounted | Refusal {
  try {
    return mountUnchecked(parts);
  } catch (end) {
    if (end instanceof CallEnd) return refuse(end.errno, "blocks that the mount needs cannot be read, or are too many");
    throw end;
  }
}

function mountUnchecked(parts: MountParts): Mounted | Refusal {
  const { device, memory, machine, idle = NOTHING, bootSec = 0 } = parts;
  const asked = parts.options ?? MOUNT_DEFAULTS;
  const first = readSuperblock(device, idle);
  if (isRefusal(first)) return first;
  const fault = unfit(first, device, asked);
  if (fault !== undefined) return fault;
  const now = bootSec + Math.floor(machine.now() / NS_PER_SEC);
  const recovered = needsRecovery(device, first, idle) ? recoverDevice(device, first, asked.barrier, now, idle) : first;
  if (isRefusal(recovered)) return recovered;
  const sb = recovered;
  const readOnly = asked.readOnly || sb.readOnlyFor.length > 0;
  const options = { ...asked, readOnly };

  const blocks = new PolledBlocks(
    device,
    sb.blockSize,
    sb.blocksCount,
    (sb.hasExtents ? LOOKED_AT_EXTENTS : LOOKED_AT_INDIRECT) + sb.descBlocks,
    idle,
  );
  const journal = openJournalOf(parts, blocks, sb, options);
  if (isRefusal(journal)) return journal;
  journal.reset();
  const least = Math.max(renameCredits(sb), UNMAP_CREDITS_MIN + EXTRA_CREDITS);
  if (journal.creditsMax < least)
    return refuse(
      EINVAL,
      `a call may change ${least} blocks: the journal, or ${parts.buffers} buffers, take too few at once`,
    );
  const space = new Space(blocks, sb, { journal: sb.journalIno !== 0 }, memory);
  const superAt = blocks.at(sb.superBlock);
  const fs = new Mounted({
    sb,
    journal,
    space,
    cache: parts.cache,
    machine,
    bootSec,
    options,
    onError: onError(options, le16(blocks.view, superAt + sb.superOffset + SB.s_errors)),
    privileged: parts.privileged ?? true,
    memory,
    fastCommit: canFastCommit(sb, options),
    inodes: parts.inodes,
    pages: parts.pages,
    inodeObjects: parts.inodeObjects ?? NO_MEMORY,
  });
  fs.words[FS.State] = le16(blocks.view, superAt + sb.superOffset + SB.s_state);
  fs.words[FS.ReadOnly] = readOnly ? 1 : 0;
  fs.io.own(IoKind.Data, new DataOwner(fs));
  journal.owner = {
    ordered: (tid) => orderedData(fs, tid) as 0 | Errno,
    committed: (tid) => space.committed(tid),
  };
  if (readOnly) return fs;
  const block = blocks.bytes.slice(superAt, superAt + sb.blockSize);
  putMounted(new DataView(block.buffer), sb.superOffset, sb, now);
  const written = writeSuper(device, sb, block, options.barrier, idle);
  return written === 0 ? fs : refuse(EIO, "the superblock cannot be written");
}

/** The state is in the call words of `call`, as sync's. */
export function unmountExt4(fs: Mounted, device: BlockDevice, call: Float64Array, idle: () => void = NOTHING): number {
  if (fs.options.readOnly) return 0;
  if (fs.readOnly) return leave(fs, device, idle);
  const left = settleWork(fs);
  if (left === EIOCBQUEUED) return left;
  const synced = syncAll(fs, call);
  if (synced === EIOCBQUEUED) return synced;
  const emptied = fs.journal.empty();
  return emptied === EIOCBQUEUED ? noteWait(fs, WAIT_JOURNAL) : leave(fs, device, idle);
}

/** The last write of all: the superblock. */
function leave(fs: Mounted, device: BlockDevice, idle: () => void): number {
  const { sb } = fs;
  const good = fs.journal.aborted === 0 && fs.journal.empty() === 0;
  const block = new Uint8Array(sb.blockSize);
  if (readDirect(device, sb.superBlock * sb.blockSize, block, idle) !== block.length) return EIO;
  const view = new DataView(block.buffer);
  putErrors(view, sb.superOffset, fs);
  if (good) putUnmounted(view, sb.superOffset, fs, fs.words[FS.State]!);
  const written = writeSuper(device, sb, block, fs.options.barrier, idle);
  return good ? written : EIO;
}

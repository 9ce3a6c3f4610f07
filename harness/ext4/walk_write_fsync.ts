/**
 * The walk "write + fsync": 6000 bytes into a file of our ext4, made durable, and half a minute later what the journal
 * does with its log. The events are those of a real run on a disk in memory; requests are what that disk was asked for,
 * each named by what it is to the file system; the lines between name the place in the code.
 *
 * - walkWriteFsync()   the lines
 */
import { BlockOp, REQ_FUA, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockDevice, BlockLimits, BlockRequest } from "../../kernel/abi/block.ts";
import { Ev, FsEv } from "../../kernel/abi/events.ts";
import { O_CREAT, O_RDWR } from "../../kernel/abi/fcntl.ts";
import { nanos, NS_PER_SEC } from "../../kernel/abi/units.ts";
import {
  bareFs,
  BlockImage,
  CheckpointPhase,
  CommitPhase,
  imageOf,
  isRefusal,
  makeExt4,
  Vfs,
} from "../../kernel/index.ts";
import { assert } from "../../kernel/lib/assert.ts";
import { growingArena } from "../../kernel/lib/growing_arena.ts";
import { rolesOf } from "../crash/timeline.ts";
import { SparseDisk } from "../disk/sparse.ts";

const MIB = 2 ** 20;
const BLOCK_SIZE = 4096;
const DISK_BYTES = 16 * MIB;
const LENGTH = 6000;
/** The checkpoint of what is committed is due after 30 s. */
const LATER_SEC = 31;

const place = (text: string): string => `          ${text}`;

const COMMIT_PLACES: Readonly<Record<number, string>> = {
  [CommitPhase.Start]: "locked: calls from now on are part of the next transaction; data of this one are asked for",
  [CommitPhase.Log]: "the log has a start; descriptor and blocks go out, tags say where each belongs",
  [CommitPhase.Data]: "all of it is on its way: until it has ended, and the ordered data, too",
  [CommitPhase.Flush]: "it has ended, but may lie in the disk's cache: so a flush",
  [CommitPhase.FlushEnd]: "nothing that the commit block vouches for can be lost any more",
  [CommitPhase.Record]: "only now the commit block, with FUA: durable when it ends",
  [CommitPhase.RecordEnd]: "on its way",
  [CommitPhase.Settle]: "the transaction is durable: from here on recovery replays it",
  [CommitPhase.Idle]: "its blocks wait for their way home; what it freed may be used again",
};

const CHECKPOINT_PLACES: Readonly<Record<number, string>> = {
  [CheckpointPhase.Write]: "committed long enough ago: each block goes where it belongs",
  [CheckpointPhase.Flush]: "all are written, but may lie in the disk's cache: so a flush",
  [CheckpointPhase.FlushEnd]: "the log's copies are not needed any more",
  [CheckpointPhase.Super]: "only now the tail may move",
  [CheckpointPhase.SuperEnd]: "on its way",
  [CheckpointPhase.Idle]: "that part of the log is free",
};

const nameOf = (phases: Readonly<Record<string, number>>, phase: number): string =>
  Object.keys(phases).find((name) => phases[name] === phase)!;

/** One event, and behind it what it means. */
function tell(type: number, a: number, b: number, c: number, d: number): readonly string[] {
  switch (type) {
    case FsEv.HandleStart:
      return [`jbd2_handle_start    transaction ${a}: the call may add ${b} blocks to it`];
    case FsEv.HandleStop:
      return [`jbd2_handle_stop     transaction ${a} has ${b} blocks now`];
    case FsEv.DaReserve:
      return [`ext4_da_reserve      inode ${a}: ${b} clusters promised, none chosen`];
    case FsEv.AllocateBlocks:
      return [`ext4_allocate_blocks inode ${a}: blocks ${b}..${b + d - 1} of the file at ${c} of the disk`];
    case Ev.FilemapAdd:
      return [`filemap_add          page ${b} of the file is in the page cache`];
    case Ev.WritebackStart:
      return [`writeback_start      ${c} pages from page ${b} on`];
    case FsEv.CommitPhase:
      return [`commit               transaction ${a}: ${nameOf(CommitPhase, c)}`, place(COMMIT_PLACES[c]!)];
    case FsEv.CheckpointPhase:
      return [`checkpoint           ${nameOf(CheckpointPhase, b)}, ${c} blocks to go`, place(CHECKPOINT_PLACES[b]!)];
    default:
      return [`event ${type}`];
  }
}

/** Tells of every request. */
class HeardDisk implements BlockDevice {
  readonly #disk: BlockDevice;
  readonly #told: string[];
  readonly #roles: ReturnType<typeof rolesOf>;

  constructor(disk: BlockDevice, image: BlockImage, told: string[]) {
    this.#disk = disk;
    this.#told = told;
    this.#roles = rolesOf(image);
  }

  get limits(): BlockLimits {
    return this.#disk.limits;
  }

  submit(batch: readonly BlockRequest[]): number {
    const taken = this.#disk.submit(batch);
    for (const { op, flags, sector, sectors, data } of batch.slice(0, taken)) {
      const [offset, length] = [sector * SECTOR_SIZE, sectors * SECTOR_SIZE];
      const where = `block ${offset / BLOCK_SIZE}${length > BLOCK_SIZE ? `+${length / BLOCK_SIZE}` : ""}`;
      if (op === BlockOp.Flush) this.#told.push("FLUSH                all writes that ended before it");
      else {
        const word = op === BlockOp.Read ? "READ" : (flags & REQ_FUA) === 0 ? "WRITE" : "WRITE FUA";
        const role = this.#roles({ offset, length, data: op === BlockOp.Read ? undefined : data });
        this.#told.push(`${word.padEnd(20)} ${where}: ${role}`);
      }
    }
    return taken;
  }

  poll(): readonly BlockRequest[] {
    return this.#disk.poll();
  }
}

export async function walkWriteFsync(): Promise<readonly string[]> {
  const fixed = new Uint8Array(16).map((_, at) => at + 1);
  const made = makeExt4({
    sizeBytes: DISK_BYTES,
    blockSize: BLOCK_SIZE,
    journalBytes: 4 * MIB,
    uuid: fixed,
    hashSeed: fixed,
    now: 0,
  });
  assert(!isRefusal(made), "walkWriteFsync: there is no such file system");
  const image = imageOf(made);
  const disk = new SparseDisk(DISK_BYTES);
  disk.writeAt(0, image.bytes.subarray(0, DISK_BYTES));
  const told: string[] = [];
  const clock = new Float64Array(1);
  const now = () => nanos(clock[0]!);
  const bare = bareFs({
    device: new HeardDisk(disk, image, told),
    now,
    trace: (type, _cpu, a, b, c, d) => void told.push(...tell(type, a, b, c, d)),
  });
  assert(!isRefusal(bare), "walkWriteFsync: it does not mount");
  const { fs, journal } = { fs: bare.fs.fs, journal: bare.fs.fs.journal };
  const vfs = new Vfs({ memory: growingArena(), now });
  vfs.reset();
  vfs.mountRoot(vfs.attachFs(bare.fs));
  const task = vfs.newTask({ uid: 0, gid: 0 });
  const fd = bare.run(() => vfs.open(task, "/f", O_RDWR | O_CREAT, 0o644));
  bare.run(() => vfs.sync(task));
  while (bare.fs.step());

  const heard = (act: () => void): string[] => {
    told.length = 0;
    act();
    return told.map((line) => `  ${line}`);
  };
  const write = heard(() => bare.run(() => vfs.pwrite(task, fd, new Uint8Array(LENGTH).fill(0x61), 0)));
  const dirty = `  in memory alone      ${fs.cache.dirty()} dirty pages, ${fs.space.reservedClusters} promised clusters, transaction ${journal.tid} is running`;
  const fsync = heard(() => bare.run(() => vfs.fsync(task, fd)));
  const home = heard(() => {
    clock[0]! += LATER_SEC * NS_PER_SEC;
    while (bare.fs.step());
  });
  return [`pwrite(fd, ${LENGTH} bytes, 0)`, ...write, dirty, "fsync(fd)", ...fsync, `${LATER_SEC} s later`, ...home];
}

/**
 * A journal on a bare disk, driven by random calls, cut off at random instants, and recovered: what fuzz/jbd2.ts and the
 * tests of kernel/fs/jbd2 run. No file system: blocks of an area are metadata or free, and free ones hold data.
 *
 *   disk  | unused | area: AREA blocks | the journal |
 *
 * The model is what the area was after the last merge of each transaction. After a crash, for the last transaction k that
 * recovery finds:
 *
 *   - no transaction that was called committed is missing, and none that was still running is there
 *   - each block of metadata is as transaction k left it, so all of it is there and nothing of k + 1
 *   - a free block whose data was flushed still has that data: nothing revoked has come back over it
 *   - ordered data of transaction k and before is there
 */
import { SimDisk, FaultPlan, SATA_SSD } from "../drivers/index.ts";
import type { FaultRule } from "../drivers/index.ts";
import { BlockOp } from "../kernel/abi/block.ts";
import type { BlockDevice, BlockLimits, BlockRequest } from "../kernel/abi/block.ts";
import { EIO, EIOCBQUEUED, EROFS } from "../kernel/abi/errno.ts";
import type { Errno, Nanos } from "../kernel/abi/units.ts";
import { be32, setBe32 } from "../kernel/lib/bytes.ts";
import { growingArena, load, save } from "../kernel/lib/growing_arena.ts";
import { nextBelow, prng } from "../kernel/lib/prng.ts";
import {
  BlockImage,
  CallEnd,
  imageBuffer,
  IoKind,
  isJournalFault,
  jbd2Layout,
  loadJournal,
  openJbd2,
  recoverJournal,
  WAIT,
} from "../kernel/index.ts";
import type { Jbd2, JournalFeatures } from "../kernel/index.ts";

const { JBD2_MAGIC, JBLOCK_COMMIT, JBLOCK_SUPER_V2, JSB } = jbd2Layout;
export const BLOCK = 1024;
export const AREA = 160;
/** Most blocks of one call: several descriptors fill. */
const CALL_MAX = 36;
export const JOURNAL_AT = 1 + AREA;
export const JOURNAL_BLOCKS = 1024;
export const DISK_BLOCKS = JOURNAL_AT + JOURNAL_BLOCKS;
const FREE = -1;
/** isDurable */
const ENDED = 1;
const DURABLE = 2;
/** inFlight: not yet on its way. */
const HELD = 2;
const VERSION_AT = 16;

export interface RigOptions {
  readonly seed: number;
  readonly features: JournalFeatures;
  readonly barrier?: boolean;
  /** Blocks of the log: short ones go round often. */
  readonly logBlocks: number;
  readonly slots: number;
  readonly atomicBytes: 512 | 4096;
  /** Requests take time. */
  readonly slow: boolean;
  readonly queueDepth: number;
  /** What is in flight reaches the disk in any order, as through an elevator. */
  readonly shuffled: boolean;
  /** Blocks of the area that are used: fewer meet more often. */
  readonly span: number;
  readonly faults?: readonly FaultRule[];
  /** Save, and go on in a new machine, once in so many steps; 0: never. */
  readonly moveEvery: number;
  /** Id of the last transaction before. */
  readonly sequence: number;
  /** No journal: no crash is survived, everything else is as with one. */
  readonly bare?: boolean;
}

export const JOURNAL_MAP = Int32Array.from({ length: JOURNAL_BLOCKS }, (_, n) => JOURNAL_AT + n);

export function journalSuper(logBlocks: number, sequence: number): Uint8Array {
  const block = new Uint8Array(BLOCK);
  const view = new DataView(block.buffer);
  setBe32(view, JSB.h_magic, JBD2_MAGIC);
  setBe32(view, JSB.h_blocktype, JBLOCK_SUPER_V2);
  setBe32(view, JSB.s_blocksize, BLOCK);
  setBe32(view, JSB.s_maxlen, JOURNAL_BLOCKS);
  setBe32(view, JSB.s_first, JOURNAL_BLOCKS - logBlocks);
  setBe32(view, JSB.s_sequence, sequence);
  setBe32(view, JSB.s_nr_users, 1);
  for (let n = 0; n < 16; n++) block[JSB.s_uuid + n] = n * 7 + 1;
  return block;
}

/** Holds requests back and lets them go in any order, late ones rather before early ones, and some of them very late. */
class Shuffler implements BlockDevice {
  readonly limits: BlockLimits;
  readonly #disk: SimDisk;
  readonly #below: (bound: number) => number;
  readonly #held: BlockRequest[] = [];
  readonly #stuck = new Set<BlockRequest>();

  constructor(disk: SimDisk, below: (bound: number) => number) {
    this.limits = disk.limits;
    this.#disk = disk;
    this.#below = below;
  }

  submit(batch: readonly BlockRequest[]): number {
    const taken = Math.min(batch.length, this.limits.queueDepth - this.#held.length);
    for (const request of batch.slice(0, taken)) {
      this.#held.push(request);
      if (this.#below(8) === 0) this.#stuck.add(request);
    }
    return taken;
  }

  /** Its owner is gone: what has not reached the disk never will. */
  forget(): void {
    this.#held.length = 0;
    this.#stuck.clear();
  }

  poll(): readonly BlockRequest[] {
    for (let n = this.#below(4); n > 0 && this.#held.length > 0; n--) {
      const { length } = this.#held;
      const at = Math.max(this.#below(length), this.#below(length), this.#below(length));
      const request = this.#held[at]!;
      if (this.#stuck.has(request) && this.#below(24) !== 0) continue;
      if (this.#disk.submit([request]) === 0) break;
      this.#stuck.delete(request);
      this.#held.splice(at, 1);
    }
    return this.#disk.poll();
  }
}

export class JournalRig {
  readonly options: RigOptions;
  readonly random: Int32Array;
  disk!: SimDisk;
  #device!: BlockDevice;
  jbd2!: Jbd2;
  nowNs = 0;
  crashes = 0;
  moves = 0;
  /** Transactions are compared by how far they are from it: their ids go round. */
  base: number;
  /** Version -> its bytes. */
  readonly contents: Uint8Array[] = [new Uint8Array(BLOCK)];
  /** Block of the area -> version, or FREE. */
  area = new Int32Array(AREA);
  /** Transaction -> what the area was after it. */
  readonly after = new Map<number, Int32Array>();
  committed: number;
  readonly freedIn = new Float64Array(AREA);
  /** Of free blocks: the last data version; whether it is in flight; durable; ordered by a transaction. */
  readonly data = new Int32Array(AREA);
  readonly inFlight = new Uint8Array(AREA);
  readonly isDurable = new Uint8Array(AREA);
  readonly orderedIn = new Float64Array(AREA).fill(-1);
  #flush = { number: -1, blocks: [] as (readonly [block: number, version: number])[] };
  /** What had ended when the committing transaction was closed. */
  #ended: (readonly [block: number, version: number])[] = [];
  #asked = -1;
  #arena = growingArena();
  #superblock: Uint8Array;

  constructor(options: RigOptions) {
    const { sequence } = options;
    this.options = options;
    this.base = sequence;
    this.random = prng(options.seed);
    const image = new Uint8Array(DISK_BLOCKS * BLOCK);
    this.#superblock = journalSuper(options.logBlocks, sequence);
    image.set(this.#superblock, JOURNAL_AT * BLOCK);
    this.#plug(image);
    this.committed = sequence;
    this.area.fill(FREE, options.span / 2);
    this.freedIn.fill(sequence);
    this.#open();
    this.jbd2.reset();
    this.after.set(sequence, this.area.slice());
  }

  below(bound: number): number {
    return nextBelow(this.random, bound);
  }

  #plug(image: Uint8Array): void {
    const { seed, atomicBytes, queueDepth, slow, faults, shuffled } = this.options;
    this.disk = new SimDisk({
      sectors: (DISK_BLOCKS * BLOCK) / 512,
      image,
      atomicBytes,
      queueDepth,
      now: () => this.nowNs as Nanos,
      ...(slow ? { service: SATA_SSD } : {}),
      ...(faults === undefined ? {} : { faults: new FaultPlan(faults, seed) }),
    });
    this.#device = shuffled ? new Shuffler(this.disk, (bound) => this.below(bound)) : this.disk;
  }

  #open(): void {
    const { features, barrier, slots, bare } = this.options;
    const opened = openJbd2({
      device: this.#device,
      memory: this.#arena,
      blockSize: BLOCK,
      count: DISK_BLOCKS,
      slots,
      ioRows: 24,
      ...(bare === true ? {} : { log: { superblock: this.#superblock, map: JOURNAL_MAP } }),
      features,
      now: () => this.nowNs as Nanos,
      epochSec: 1_700_000_000,
      ...(barrier === undefined ? {} : { barrier }),
    });
    if (isOpenFault(opened)) throw new Error(opened.reason);
    this.jbd2 = opened;
    opened.owner = {
      ordered: (tid) => this.#ordered(tid),
      committed: (tid) => {
        this.committed = tid;
        if (this.#asked === tid) this.#settle(this.#ended);
      },
    };
    opened.buffers.io.own(IoKind.Data, {
      ended: (block, result) => this.#dataEnded(block, result),
      data: (block) => this.contents[this.data[block]!]!,
    });
  }

  /** All of the state goes through bytes. */
  move(): void {
    const saved = save(this.#arena);
    this.#arena = growingArena();
    if (this.#device instanceof Shuffler) this.#device.forget();
    this.#open();
    load(this.#arena, saved);
    this.jbd2.restart();
    this.moves++;
  }

  /** Ordered data is written when it is asked for, and not at once. */
  #ordered(tid: number): 0 | Errno {
    if (this.#asked !== tid) {
      this.#asked = tid;
      this.#ended = this.#endedData();
    }
    let left = 0;
    for (let block = 0; block < AREA; block++) {
      if (this.orderedIn[block] !== tid || this.inFlight[block] === 0) continue;
      left++;
      if (this.inFlight[block] === HELD && this.below(3) === 0) this.#startData(block, this.data[block]!);
    }
    return left === 0 ? 0 : EIOCBQUEUED;
  }

  #endedData(): (readonly [block: number, version: number])[] {
    const found: (readonly [number, number])[] = [];
    for (let block = 0; block < AREA; block++)
      if (this.isDurable[block] === ENDED) found.push([block, this.data[block]!]);
    return found;
  }

  /** A flush that began after these had ended is over. */
  #settle(blocks: readonly (readonly [block: number, version: number])[]): void {
    for (const [block, version] of blocks)
      if (this.isDurable[block] === ENDED && this.data[block] === version) this.isDurable[block] = DURABLE;
  }

  #dataEnded(block: number, result: number): void {
    this.inFlight[block] = 0;
    // After an error nobody knows what is there.
    if (result !== 0) this.orderedIn[block] = -1;
    else this.isDurable[block] = ENDED;
  }

  /** A new version; some look like a commit block of a transaction that may come. */
  version(): number {
    const version = this.contents.length;
    const bytes = new Uint8Array(BLOCK).fill(version & 0xff);
    const view = new DataView(bytes.buffer);
    setBe32(view, VERSION_AT, version);
    if (version % 3 === 0) {
      setBe32(view, 0, JBD2_MAGIC);
      setBe32(view, 4, JBLOCK_COMMIT);
      setBe32(view, 8, (this.jbd2.tid + this.below(16)) >>> 0);
    }
    this.contents.push(bytes);
    return version;
  }

  holds(bytes: Uint8Array, at: number, version: number): boolean {
    const want = this.contents[version]!;
    for (let n = 0; n < BLOCK; n++) if (bytes[at + n] !== want[n]) return false;
    return true;
  }

  /** Empty, or what went wrong. */
  step(): string {
    const what = this.below(100);
    if (what < 30) return this.#call();
    if (what < 36) return this.#read();
    if (what < 46) return this.#writeData();
    if (what < 50) this.jbd2.requestCommit(this.jbd2.tid);
    else if (what < 53) this.#askFlush();
    else if (what < 55) this.jbd2.buffers.pressed = true;
    else if (what < 56 && this.below(4) === 0) {
      const result = this.jbd2.empty();
      if (result === 0 && this.options.bare !== true) return this.#checkEmpty();
    } else {
      if (this.below(100) === 0) this.nowNs += 6e9;
      for (let n = this.below(6); n >= 0; n--) {
        this.nowNs += this.below(200_000);
        this.jbd2.step();
        this.#seeFlush();
      }
    }
    return "";
  }

  #call(): string {
    const { jbd2 } = this;
    const blocks = 1 + this.below(this.below(4) === 0 ? Math.min(CALL_MAX, jbd2.creditsMax) : 6);
    const tid = jbd2.tid;
    const answer = jbd2.begin(blocks, blocks);
    if (answer === EIOCBQUEUED || answer === EROFS) return "";
    if (answer !== 0) return `begin returned ${answer}`;
    const next = this.area.slice();
    const freed: number[] = [];
    let ordered = -1;
    let wrong = "";
    try {
      for (let n = 0; n < blocks && wrong === ""; n++) wrong = this.#change(next, freed);
      if (this.options.features.asyncCommit !== true && this.below(4) === 0) ordered = this.#freeForData(next);
    } catch (error) {
      jbd2.abort();
      if (error === WAIT || (error instanceof CallEnd && error.errno === EIO)) return "";
      throw error;
    }
    if (wrong !== "" || this.below(8) === 0) {
      jbd2.abort();
      return wrong;
    }
    jbd2.merge();
    // A call that only looked belongs to no transaction.
    this.area = next;
    for (const block of freed) {
      this.freedIn[block] = tid;
      this.isDurable[block] = 0;
      this.data[block] = 0;
      this.orderedIn[block] = -1;
    }
    this.after.set(tid, next.slice());
    if (ordered >= 0) {
      this.data[ordered] = this.version();
      this.inFlight[ordered] = HELD;
      this.isDurable[ordered] = 0;
      this.orderedIn[ordered] = tid;
    }
    return "";
  }

  #change(next: Int32Array, freed: number[]): string {
    const { buffers } = this.jbd2;
    const block = this.below(this.options.span);
    if (next[block] === FREE) {
      // Mostly left free: data has to get there, too.
      if (this.inFlight[block] !== 0 || this.below(4) !== 0) return "";
      const version = this.version();
      const at = buffers.fresh(1 + block);
      if (!this.holds(buffers.bytes, at, 0)) return `fresh(${block}) is not of zeroes`;
      buffers.bytes.set(this.contents[version]!, at);
      next[block] = version;
      if (freed.includes(block)) freed.splice(freed.indexOf(block), 1);
      return "";
    }
    if (this.below(6) === 0) {
      buffers.forget(1 + block);
      next[block] = FREE;
      freed.push(block);
      return "";
    }
    const version = this.version();
    const at = buffers.writable(1 + block);
    if (!this.holds(buffers.bytes, at, next[block]!)) return `writable(${block}) has not version ${next[block]}`;
    if (buffers.at(1 + block) !== at) return `at(${block}) is not what writable() gave`;
    buffers.bytes.set(this.contents[version]!, at);
    next[block] = version;
    return "";
  }

  #read(): string {
    const { buffers } = this.jbd2;
    this.jbd2.beginRead();
    try {
      for (let n = this.below(6); n >= 0; n--) {
        const block = this.below(this.options.span);
        const at = buffers.at(1 + block);
        if (this.area[block] !== FREE && !this.holds(buffers.bytes, at, this.area[block]!))
          return `at(${block}) has not version ${this.area[block]}`;
      }
    } catch (error) {
      if (!(error instanceof CallEnd)) throw error;
    } finally {
      this.jbd2.endRead();
    }
    return "";
  }

  /** A free block that data may be written to: freed by a transaction that is durable. -1: none was found. */
  #freeForData(area: Int32Array): number {
    const block = this.below(this.options.span);
    const isUsable = area[block] === FREE && this.area[block] === FREE && this.jbd2.committed(this.freedIn[block]!);
    return isUsable && this.inFlight[block] === 0 && this.jbd2.aborted === 0 ? block : -1;
  }

  #startData(block: number, version: number): void {
    const { io } = this.jbd2.buffers;
    const before = this.data[block]!;
    this.data[block] = version;
    if (io.startData(BlockOp.Write, 0, 1 + block, 1, this.contents[version]!, IoKind.Data, block, 0) < 0) {
      this.data[block] = before;
      return;
    }
    this.inFlight[block] = 1;
    this.isDurable[block] = 0;
  }

  #writeData(): string {
    const block = this.#freeForData(this.area);
    // What a transaction has ordered is not written again here: which of the two would be there?
    if (block >= 0 && this.orderedIn[block]! < 0) this.#startData(block, this.version());
    return "";
  }

  #askFlush(): void {
    this.#flush = { blocks: this.#endedData(), number: this.jbd2.askFlush() };
  }

  #seeFlush(): void {
    const { number, blocks } = this.#flush;
    if (number < 0) return;
    const answer = this.jbd2.flushed(number);
    if (answer === EIOCBQUEUED) return;
    if (answer === 0) this.#settle(blocks);
    this.#flush = { number: -1, blocks: [] };
  }

  /** The disk after a power cut now: of what is not durable, each unit is there with so many chances in a hundred. */
  crash(): Uint8Array {
    const chances = [0, 10, 50, 90, 100][this.below(5)]!;
    this.crashes++;
    return this.disk.cache!.crash(() => this.below(100) < chances);
  }

  /** Recovers a crashed image in place and compares it. */
  checkCrash(image: Uint8Array): string {
    const blocks = recovered(image);
    if (typeof blocks === "string") return blocks;
    const { recovery, wasEmpty } = blocks;
    if (recovery.error !== 0) return `recovery: errno ${recovery.error}: ${recovery.faults.join("; ")}`;
    const k = wasEmpty ? this.committed : before(recovery.endTid);
    if (this.age(k) < this.age(this.committed))
      return `transaction ${this.committed} was committed; recovery ends with ${k}`;
    if (this.age(k) >= this.age(this.jbd2.tid))
      return `transaction ${k} is recovered, and ${this.jbd2.tid} was running`;
    // The snapshot of a transaction that changed nothing is that of the one before it.
    const area = this.after.get(this.#lastTid(k))!;
    for (let block = 0; block < AREA; block++) {
      const has = be32(blocks.view, blocks.image.at(1 + block) + VERSION_AT);
      const where = blocks.image.at(1 + block);
      if (area[block] !== FREE) {
        if (!this.holds(blocks.image.bytes, where, area[block]!))
          return `block ${block} has version ${has}, not ${area[block]} of transaction ${k}`;
        continue;
      }
      const promised =
        this.isDurable[block] === DURABLE ||
        (this.orderedIn[block]! >= 0 && this.age(this.orderedIn[block]!) <= this.age(k));
      if (promised && this.area[block] === FREE && !this.holds(blocks.image.bytes, where, this.data[block]!))
        return `free block ${block} has version ${has}, not its data ${this.data[block]}`;
    }
    return "";
  }

  #lastTid(k: number): number {
    let last = this.base;
    for (const tid of this.after.keys()) if (this.age(tid) <= this.age(k) && this.age(tid) > this.age(last)) last = tid;
    return last;
  }

  /** Transactions since the first. */
  age(tid: number): number {
    return (tid - this.base) >>> 0;
  }

  #checkEmpty(): string {
    const image = this.disk.cache!.crash(() => false);
    const view = new DataView(image.buffer);
    if (be32(view, JOURNAL_AT * BLOCK + JSB.s_start) !== 0) return "the log is not marked empty";
    for (let block = 0; block < AREA; block++)
      if (this.area[block] !== FREE && !this.holds(image, (1 + block) * BLOCK, this.area[block]!))
        return `after empty() block ${block} is not at home`;
    return "";
  }

  /** Everything ends, and is at home. */
  finish(): string {
    for (let n = 0; n < 100_000; n++) {
      const answer = this.jbd2.empty();
      if (answer === 0) return this.#checkEmptyHome();
      if (this.jbd2.aborted !== 0) return "";
      this.nowNs += 100_000;
      this.jbd2.step();
    }
    return "empty() never ended";
  }

  #checkEmptyHome(): string {
    return this.options.bare === true ? this.#checkHome() : this.#checkEmpty();
  }

  #checkHome(): string {
    const image = this.disk.cache!.crash(() => false);
    for (let block = 0; block < AREA; block++)
      if (this.area[block] !== FREE && !this.holds(image, (1 + block) * BLOCK, this.area[block]!))
        return `after empty() block ${block} is not at home`;
    return "";
  }

  /** Goes on from a crashed image: mounts what recovery made of it. */
  remount(image: Uint8Array): void {
    const found = recovered(image);
    if (typeof found === "string") throw new Error(found);
    const { recovery, wasEmpty } = found;
    found.image.settle();
    const k = wasEmpty ? this.committed : before(recovery.endTid);
    const at = JOURNAL_AT * BLOCK;
    const view = new DataView(image.buffer, image.byteOffset);
    const sequence = wasEmpty ? be32(view, at + JSB.s_sequence) : recovery.endTid;
    this.area = this.after.get(this.#lastTid(k))!.slice();
    this.#superblock = journalSuper(this.options.logBlocks, sequence);
    const clean = found.image.bytes.slice(0, DISK_BLOCKS * BLOCK);
    clean.set(this.#superblock, at);
    this.#plug(clean);
    this.committed = sequence;
    this.base = sequence;
    this.after.clear();
    this.after.set(sequence, this.area.slice());
    this.freedIn.fill(sequence);
    this.data.fill(0);
    this.inFlight.fill(0);
    this.isDurable.fill(0);
    this.orderedIn.fill(-1);
    this.#flush = { number: -1, blocks: [] };
    this.#asked = -1;
    this.#arena = growingArena();
    this.#open();
    this.jbd2.reset();
  }
}

const isOpenFault = (opened: Jbd2 | { readonly reason: string }): opened is { readonly reason: string } =>
  "reason" in opened;

const before = (tid: number): number => (tid - 1) >>> 0;

interface Found {
  readonly image: BlockImage;
  readonly view: DataView;
  readonly recovery: ReturnType<typeof recoverJournal>;
  readonly wasEmpty: boolean;
}

/** What recovery makes of an image, as a change of it that is not settled. */
export function recovered(bytes: Uint8Array): Found | string {
  const buffer = imageBuffer(bytes.length);
  buffer.set(bytes);
  const image = new BlockImage(buffer, BLOCK, DISK_BLOCKS);
  image.mark();
  const journal = loadJournal(image, JOURNAL_MAP);
  if (isJournalFault(journal)) return `the journal: ${journal.reason}`;
  const recovery = recoverJournal(journal, undefined);
  return { image, view: image.view, recovery, wasEmpty: journal.start === 0 };
}

/** A random rig. */
export function rigOptions(seed: number): RigOptions {
  const random = prng(seed ^ 0x5bd1e995);
  const pick = <T>(...from: readonly T[]): T => from[nextBelow(random, from.length)]!;
  const csum = pick(0, 1, 2, 3);
  const asyncCommit = csum === 1 && pick(false, true);
  return {
    seed,
    features: { csum, wide: pick(false, true), asyncCommit },
    logBlocks: pick(170, 300, 1023),
    slots: pick(64, 96, 400),
    atomicBytes: pick(512, 4096),
    slow: pick(true, true, false),
    queueDepth: pick(2, 8, 128),
    shuffled: pick(false, true),
    span: pick(6, 20, AREA),
    moveEvery: pick(0, 1, 11),
    // jbd2's recovery cannot tell that transaction 0 is not whole, which only async commits rely on.
    sequence: pick(1, 2 ** 31 - 5, asyncCommit ? 1 : 2 ** 32 - 8),
  };
}

/** One case: random steps with crashes in between. Empty, or what went wrong. */
export function runRig(options: RigOptions, steps: number): string {
  const rig = new JournalRig(options);
  try {
    for (let n = 0; n < steps; n++) {
      const wrong = rig.step();
      if (wrong !== "") return `step ${n}: ${wrong}`;
      rig.jbd2.check();
      if (options.moveEvery > 0 && n % options.moveEvery === 0) rig.move();
      if (options.bare !== true && rig.below(25) === 0) {
        const image = rig.crash();
        const lost = rig.checkCrash(image);
        if (lost !== "") return `crash at step ${n}: ${lost}`;
        if (rig.below(12) === 0) rig.remount(image);
      }
    }
    return rig.finish();
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message}\n${error.stack}` : String(error);
  }
}

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
export const AREA = 48;
export const JOURNAL_AT = 1 + AREA;
export const JOURNAL_BLOCKS = 1024;
export const DISK_BLOCKS = JOURNAL_AT + JOURNAL_BLOCKS;
const FREE = -1;
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
  readonly faults?: readonly FaultRule[];
  /** Save, and go on in a new machine, once in so many steps; 0: never. */
  readonly moveEvery: number;
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

export class JournalRig {
  readonly options: RigOptions;
  readonly random: Int32Array;
  disk: SimDisk;
  jbd2!: Jbd2;
  nowNs = 0;
  crashes = 0;
  moves = 0;
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
  #flush = { number: -1, blocks: [] as number[] };
  #arena = growingArena();
  #superblock: Uint8Array;

  constructor(options: RigOptions, sequence = 1) {
    this.options = options;
    this.random = prng(options.seed);
    const image = new Uint8Array(DISK_BLOCKS * BLOCK);
    this.#superblock = journalSuper(options.logBlocks, sequence);
    image.set(this.#superblock, JOURNAL_AT * BLOCK);
    this.disk = this.#diskOf(image);
    this.committed = sequence;
    this.area.fill(FREE, AREA / 2);
    this.#open();
    this.jbd2.reset();
    this.after.set(sequence, this.area.slice());
  }

  below(bound: number): number {
    return nextBelow(this.random, bound);
  }

  #diskOf(image: Uint8Array): SimDisk {
    const { seed, atomicBytes, queueDepth, slow, faults } = this.options;
    return new SimDisk({
      sectors: (DISK_BLOCKS * BLOCK) / 512,
      image,
      atomicBytes,
      queueDepth,
      now: () => this.nowNs as Nanos,
      ...(slow ? { service: SATA_SSD } : {}),
      ...(faults === undefined ? {} : { faults: new FaultPlan(faults, seed) }),
    });
  }

  #open(): void {
    const { features, barrier, slots, bare } = this.options;
    const opened = openJbd2({
      device: this.disk,
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
    this.#open();
    load(this.#arena, saved);
    this.jbd2.restart();
    this.moves++;
  }

  #ordered(tid: number): 0 | Errno {
    for (let block = 0; block < AREA; block++)
      if (this.orderedIn[block] === tid && this.inFlight[block] !== 0) return EIOCBQUEUED;
    return 0;
  }

  #dataEnded(block: number, result: number): void {
    this.inFlight[block] = 0;
    // Nobody knows what is there now.
    if (result !== 0) this.orderedIn[block] = -1;
    else this.isDurable[block] = 2;
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
      setBe32(view, 8, this.jbd2.tid + this.below(16));
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
    if (what < 40) return this.#call();
    if (what < 50) return this.#read();
    if (what < 57) return this.#writeData();
    if (what < 60) this.jbd2.requestCommit(this.jbd2.tid);
    else if (what < 62) this.#askFlush();
    else if (what < 63) {
      const result = this.jbd2.empty();
      if (result === 0 && this.options.bare !== true) return this.#checkEmpty();
    } else {
      this.nowNs += this.below(20) === 0 ? 6e9 : this.below(200_000);
      this.jbd2.step();
      this.#seeFlush();
    }
    return "";
  }

  #call(): string {
    const { jbd2 } = this;
    const blocks = 1 + this.below(6);
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
    if (ordered >= 0 && this.#startData(ordered)) this.orderedIn[ordered] = tid;
    return "";
  }

  #change(next: Int32Array, freed: number[]): string {
    const { buffers } = this.jbd2;
    const block = this.below(AREA);
    if (next[block] === FREE) {
      if (this.inFlight[block] !== 0) return "";
      const version = this.version();
      const at = buffers.fresh(1 + block);
      if (!this.holds(buffers.bytes, at, 0)) return `fresh(${block}) is not of zeroes`;
      buffers.bytes.set(this.contents[version]!, at);
      next[block] = version;
      if (freed.includes(block)) freed.splice(freed.indexOf(block), 1);
      return "";
    }
    if (this.below(5) === 0) {
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
        const block = this.below(AREA);
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
    const block = this.below(AREA);
    const isUsable = area[block] === FREE && this.area[block] === FREE && this.jbd2.committed(this.freedIn[block]!);
    return isUsable && this.inFlight[block] === 0 && this.jbd2.aborted === 0 ? block : -1;
  }

  #startData(block: number): boolean {
    const before = this.data[block]!;
    const version = this.version();
    this.data[block] = version;
    const { io } = this.jbd2.buffers;
    if (io.startData(BlockOp.Write, 0, 1 + block, 1, this.contents[version]!, IoKind.Data, block) < 0) {
      this.data[block] = before;
      return false;
    }
    this.inFlight[block] = 1;
    this.isDurable[block] = 0;
    this.orderedIn[block] = -1;
    return true;
  }

  #writeData(): string {
    const block = this.#freeForData(this.area);
    if (block >= 0) this.#startData(block);
    return "";
  }

  #askFlush(): void {
    const blocks = Array.from({ length: AREA }, (_, block) => block).filter((block) => this.isDurable[block] === 2);
    this.#flush = { number: this.jbd2.askFlush(), blocks };
    for (const block of blocks) this.isDurable[block] = 3;
  }

  #seeFlush(): void {
    const { number, blocks } = this.#flush;
    if (number < 0) return;
    const answer = this.jbd2.flushed(number);
    if (answer === EIOCBQUEUED) return;
    for (const block of blocks) if (this.isDurable[block] === 3) this.isDurable[block] = answer === 0 ? 1 : 2;
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
    const k = wasEmpty ? this.committed : recovery.endTid - 1;
    if (k < this.committed) return `transaction ${this.committed} was committed; recovery ends with ${k}`;
    if (k >= this.jbd2.tid) return `transaction ${k} is recovered, and ${this.jbd2.tid} was running`;
    const area = this.after.get(this.#lastTid(k))!;
    for (let block = 0; block < AREA; block++) {
      const at = (1 + block) * BLOCK;
      const has = be32(blocks.view, blocks.image.at(1 + block) + VERSION_AT);
      const where = blocks.image.at(1 + block);
      if (area[block] !== FREE) {
        if (!this.holds(blocks.image.bytes, where, area[block]!))
          return `block ${block} has version ${has}, not ${area[block]} of transaction ${k}`;
        continue;
      }
      const promised = this.isDurable[block] === 1 || (this.orderedIn[block]! >= 0 && this.orderedIn[block]! <= k);
      if (promised && this.area[block] === FREE && !this.holds(blocks.image.bytes, where, this.data[block]!))
        return `free block ${block} (byte ${at}) has version ${has}, not its data ${this.data[block]}`;
    }
    return "";
  }

  #lastTid(k: number): number {
    let last = -1;
    for (const tid of this.after.keys()) if (tid <= k && tid > last) last = tid;
    return last;
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
    const k = wasEmpty ? this.committed : recovery.endTid - 1;
    const at = JOURNAL_AT * BLOCK;
    const view = new DataView(image.buffer, image.byteOffset);
    const sequence = wasEmpty ? be32(view, at + JSB.s_sequence) : recovery.endTid;
    this.area = this.after.get(this.#lastTid(k))!.slice();
    this.#superblock = journalSuper(this.options.logBlocks, sequence);
    const clean = found.image.bytes.slice(0, DISK_BLOCKS * BLOCK);
    clean.set(this.#superblock, at);
    this.disk = this.#diskOf(clean);
    this.committed = sequence;
    this.after.clear();
    this.after.set(sequence, this.area.slice());
    this.freedIn.fill(0);
    this.data.fill(0);
    this.inFlight.fill(0);
    this.isDurable.fill(0);
    this.orderedIn.fill(-1);
    this.#flush = { number: -1, blocks: [] };
    this.#arena = growingArena();
    this.#open();
    this.jbd2.reset();
  }
}

const isOpenFault = (opened: Jbd2 | { readonly reason: string }): opened is { readonly reason: string } =>
  "reason" in opened;

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
  return {
    seed,
    features: { csum, wide: pick(false, true), asyncCommit: csum === 1 && pick(false, true) },
    logBlocks: pick(170, 300, 1023),
    slots: pick(64, 96, 400),
    atomicBytes: pick(512, 4096),
    slow: pick(true, true, false),
    queueDepth: pick(2, 8, 128),
    moveEvery: pick(0, 1, 11),
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

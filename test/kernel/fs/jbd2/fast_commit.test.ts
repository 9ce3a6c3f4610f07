import { describe, expect, it } from "vitest";
import { FaultPlan, SATA_SSD, SimDisk } from "../../../../drivers/index.ts";
import type { FaultRule } from "../../../../drivers/index.ts";
import { journalSuper } from "../../../../fuzz/jbd2_rig.ts";
import { ECANCELED, EIO, EIOCBQUEUED } from "../../../../kernel/abi/errno.ts";
import type { Nanos } from "../../../../kernel/abi/units.ts";
import { BlockImage, imageBuffer } from "../../../../kernel/fs/block_image.ts";
import { FC_TAG, FC_TAIL, FC_TL } from "../../../../kernel/fs/ext4/fast_commit.ts";
import { openJbd2 } from "../../../../kernel/fs/jbd2/jbd2.ts";
import type { Jbd2 } from "../../../../kernel/fs/jbd2/jbd2.ts";
import { isJournalFault, loadJournal } from "../../../../kernel/fs/jbd2/journal.ts";
import { JSB } from "../../../../kernel/fs/jbd2/layout.ts";
import { FC_CONTINUE, FC_STOP, Pass, recoverJournal } from "../../../../kernel/fs/jbd2/recovery.ts";
import type { FastCommitReplay } from "../../../../kernel/fs/jbd2/recovery.ts";
import { le16, le32, setBe32 } from "../../../../kernel/lib/bytes.ts";
import { crc32c } from "../../../../kernel/lib/crc32c.ts";
import { growingArena } from "../../../../kernel/lib/growing_arena.ts";
import { nextBelow, prng } from "../../../../kernel/lib/prng.ts";

const SIZE = 1024;
const AREA = 16;
const FC_BLOCKS = 24;
const JOURNAL = 1200;
const DISK = AREA + JOURNAL;
const MAP = Int32Array.from({ length: JOURNAL }, (_, n) => AREA + n);

class Machine {
  nowNs = 0;
  readonly disk: SimDisk;
  readonly jbd2: Jbd2;
  readonly random: Int32Array;

  constructor(seed: number, options: { slow?: boolean; barrier?: boolean; faults?: readonly FaultRule[] } = {}) {
    this.random = prng(seed);
    const { slow = true, barrier = true, faults } = options;
    const superblock = journalSuper(100, 7);
    const view = new DataView(superblock.buffer);
    setBe32(view, JSB.s_maxlen, JOURNAL);
    setBe32(view, JSB.s_num_fc_blks, FC_BLOCKS);
    setBe32(view, JSB.s_first, 1);
    const image = new Uint8Array(DISK * SIZE);
    image.set(superblock, AREA * SIZE);
    this.disk = new SimDisk({
      sectors: image.length / 512,
      image,
      atomicBytes: 512,
      now: () => this.nowNs as Nanos,
      ...(slow ? { service: SATA_SSD } : {}),
      ...(faults === undefined ? {} : { faults: new FaultPlan(faults, 1) }),
    });
    const jbd2 = openJbd2({
      device: this.disk,
      memory: growingArena(),
      blockSize: SIZE,
      count: DISK,
      slots: 400,
      log: { superblock, map: MAP },
      features: { csum: 3, wide: true, fastCommit: true },
      now: () => this.nowNs as Nanos,
      barrier,
    });
    if ("reason" in jbd2) throw new Error(jbd2.reason);
    this.jbd2 = jbd2;
    jbd2.reset();
  }

  below(bound: number): number {
    return nextBelow(this.random, bound);
  }

  step(): void {
    this.nowNs += this.below(150_000);
    this.jbd2.step();
    this.jbd2.check();
  }

  change(): void {
    expect(this.jbd2.begin(1)).toBe(0);
    this.jbd2.buffers.bytes[this.jbd2.buffers.fresh(this.below(AREA)) + 8] = this.below(256);
    this.jbd2.merge();
  }

  full(): void {
    this.change();
    const { tid } = this.jbd2;
    this.jbd2.requestCommit(tid);
    while (!this.jbd2.committed(tid)) this.step();
  }

  /** Its number; -1: not now. Records are their lengths and a byte. */
  fast(records: readonly number[], byte: number): number {
    const { jbd2 } = this;
    if (jbd2.fcBegin() !== 0) return -1;
    for (const length of records) {
      const at = jbd2.fcTag(FC_TAG.INODE, length);
      if (at < 0) {
        jbd2.fcCancel();
        return -1;
      }
      jbd2.buffers.bytes.fill(byte, at, at + length);
    }
    return jbd2.fcEnd();
  }

  await(number: number): number {
    for (let n = 0; n < 10_000; n++) {
      const done = this.jbd2.fcDone(number);
      if (done !== EIOCBQUEUED) return done;
      this.step();
    }
    throw new Error("the fast commit never ended");
  }
}

/** Reads the frame alone: fast commits, each as its records' lengths and bytes. */
class Frames implements FastCommitReplay {
  readonly commits: string[] = [];
  readonly #image: BlockImage;
  #records: string[] = [];
  #commits = 0;
  #crc = 0;

  constructor(image: BlockImage) {
    this.#image = image;
  }

  block(pass: Pass, at: number, index: number, expected: number): number {
    if (pass !== Pass.Scan) return FC_STOP;
    const { view, bytes } = this.#image;
    if (index === 0 && le16(view, at) !== FC_TAG.HEAD) return FC_STOP;
    for (let here = at; here + FC_TL.bytes <= at + SIZE;) {
      const [tag, length] = [le16(view, here), le16(view, here + 2)];
      const value = here + FC_TL.bytes;
      if (value + length > at + SIZE || tag === 0) return FC_STOP;
      if (tag === FC_TAG.HEAD && le32(view, value + 4) !== expected) return FC_STOP;
      this.#crc = crc32c(this.#crc, bytes, here, FC_TL.bytes + (tag === FC_TAG.TAIL ? FC_TAIL.fc_crc : length));
      if (tag === FC_TAG.INODE) this.#records.push(`${length}:${bytes[value]}:${bytes[value + length - 1]}`);
      if (tag === FC_TAG.TAIL) {
        if (le32(view, value) !== expected || le32(view, value + FC_TAIL.fc_crc) !== this.#crc) return FC_STOP;
        // The first is empty.
        if (this.#commits++ > 0) this.commits.push(this.#records.join(" "));
        else expect(this.#records).toEqual([]);
        this.#records = [];
        this.#crc = 0;
      }
      here = value + length;
    }
    return FC_CONTINUE;
  }

  end(): void {}
}

function recover(bytes: Uint8Array): {
  readonly next: number;
  readonly commits: readonly string[];
  readonly fault: string;
} {
  const buffer = imageBuffer(bytes.length);
  buffer.set(bytes);
  const image = new BlockImage(buffer, SIZE, DISK);
  image.mark();
  const journal = loadJournal(image, MAP);
  if (isJournalFault(journal)) throw new Error(journal.reason);
  const frames = new Frames(image);
  const recovery = recoverJournal(journal, frames);
  return { next: recovery.endTid, commits: frames.commits, fault: recovery.faults.join("; ") };
}

/** Empty, or what was wrong. */
function runCase(seed: number, barrier: boolean): string {
  const machine = new Machine(seed, { slow: seed % 3 !== 0, barrier });
  const { jbd2 } = machine;
  /** Transaction -> its fast commits, in order, and how many are done. */
  const made = new Map<number, { readonly texts: string[]; done: number }>();
  let open: { readonly tid: number; readonly number: number } | undefined;
  for (let n = 0; n < 250; n++) {
    const what = machine.below(20);
    if (what < 4) machine.change();
    else if (what === 4) jbd2.requestCommit(jbd2.tid);
    else if (what < 8 && open === undefined) {
      const { tid } = jbd2;
      const records = Array.from({ length: 1 + machine.below(6) }, () => 132 + machine.below(300));
      const number = machine.fast(records, n);
      if (number > 0) {
        const of = made.get(tid) ?? { texts: [], done: 0 };
        of.texts.push(records.map((length) => `${length}:${n & 0xff}:${n & 0xff}`).join(" "));
        made.set(tid, of);
        open = { tid, number };
      }
    } else machine.step();
    if (open !== undefined && jbd2.fcDone(open.number) === 0) {
      made.get(open.tid)!.done++;
      open = undefined;
    }
    if (machine.below(10) !== 0) continue;
    const chance = machine.below(101);
    const { next, commits, fault } = recover(machine.disk.cache!.crash(() => machine.below(100) < chance));
    if (fault !== "") return `step ${n}: ${fault}`;
    const of = made.get(next) ?? { texts: [], done: 0 };
    if (commits.length < of.done) return `step ${n}: ${of.done} fast commits were done, ${commits.length} are there`;
    for (const [at, text] of commits.entries())
      if (text !== of.texts[at]) return `step ${n}: fast commit ${at} of ${next} is "${text}", not "${of.texts[at]}"`;
  }
  return "";
}

describe("fast commits", () => {
  it("that were called done are found after a crash, whole and in order, until the full commit (model: lists)", () => {
    for (let seed = 1; seed <= 12; seed++) expect(runCase(seed, true), `seed ${seed}`).toBe("");
  });

  it("without barriers are caught", () => {
    expect(Array.from({ length: 10 }, (_, seed) => runCase(seed + 1, false)).some((one) => one !== "")).toBe(true);
  });

  it("need a full commit first, a running transaction, and nothing in it that no record can say", () => {
    const machine = new Machine(1);
    const { jbd2 } = machine;
    machine.change();
    expect(jbd2.fcBegin()).toBe(ECANCELED);
    machine.full();
    expect(jbd2.fcBegin()).toBe(ECANCELED);
    machine.change();
    const number = machine.fast([132], 1);
    expect(jbd2.fcBegin()).toBe(EIOCBQUEUED);
    expect(machine.await(number)).toBe(0);
    jbd2.fcIneligible();
    expect(jbd2.fcBegin()).toBe(ECANCELED);
    machine.full();
    machine.change();
    expect(machine.await(machine.fast([132], 1))).toBe(0);
  });

  it("are barred by what is in the running transaction, also when the one before is still on its way", () => {
    const machine = new Machine(1);
    const { jbd2 } = machine;
    machine.full();
    machine.change();
    const { tid } = jbd2;
    jbd2.requestCommit(tid);
    while (jbd2.tid === tid) machine.step();
    expect(jbd2.committed(tid)).toBe(false);
    machine.change();
    jbd2.fcIneligible();
    while (!jbd2.committed(tid)) machine.step();
    expect(jbd2.fcBegin()).toBe(ECANCELED);
  });

  it("end when the area is full, and begin again after a full commit", () => {
    const machine = new Machine(1, { slow: false });
    machine.full();
    machine.change();
    let count = 0;
    for (let number = machine.fast([900], 1); number > 0; number = machine.fast([900], 1), count++)
      expect(machine.await(number)).toBe(0);
    // The last block of the journal belongs to neither, the first one of the area has the empty one.
    expect(count).toBe(FC_BLOCKS - 2);
    expect(recover(machine.disk.image).commits.length).toBe(count);
    machine.full();
    expect(recover(machine.disk.image).commits).toEqual([]);
    machine.change();
    expect(machine.await(machine.fast([900], 1))).toBe(0);
  });

  it("that fail to be written say so, and leave it to a full commit", () => {
    const fcFirst = (AREA + JOURNAL - FC_BLOCKS + 1) * 2;
    const machine = new Machine(1, { slow: false, faults: [{ kind: "eio-write", from: fcFirst, times: 1 }] });
    machine.full();
    machine.change();
    expect(machine.await(machine.fast([900, 900], 1))).toBe(EIO);
    expect(machine.jbd2.fcBegin()).toBe(ECANCELED);
    expect(machine.jbd2.aborted).toBe(0);
    machine.full();
    machine.change();
    expect(machine.await(machine.fast([900], 1))).toBe(0);
  });
});

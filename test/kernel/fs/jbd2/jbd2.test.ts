import { beforeEach, describe, expect, it } from "vitest";
import { FaultPlan, SimDisk } from "../../../../drivers/index.ts";
import type { FaultRule } from "../../../../drivers/index.ts";
import {
  BLOCK,
  DISK_BLOCKS,
  JOURNAL_AT,
  JOURNAL_BLOCKS,
  JOURNAL_MAP,
  journalSuper,
} from "../../../../fuzz/jbd2_rig.ts";
import { BlockOp, REQ_FUA } from "../../../../kernel/abi/block.ts";
import type { BlockDevice, BlockLimits, BlockRequest } from "../../../../kernel/abi/block.ts";
import { EIO, EIOCBQUEUED, ENOSPC, EOPNOTSUPP, EROFS, EUCLEAN } from "../../../../kernel/abi/errno.ts";
import type { Nanos } from "../../../../kernel/abi/units.ts";
import { openJbd2 } from "../../../../kernel/fs/jbd2/jbd2.ts";
import type { Jbd2, Jbd2Options } from "../../../../kernel/fs/jbd2/jbd2.ts";
import { JBLOCK_SUPER_V1, JSB } from "../../../../kernel/fs/jbd2/layout.ts";
import { HOME_EXPIRE_NS } from "../../../../kernel/fs/jbd2/state.ts";
import { be32, setBe32 } from "../../../../kernel/lib/bytes.ts";
import { growingArena } from "../../../../kernel/lib/growing_arena.ts";

const SUPER = JOURNAL_AT;

/** Writes down what the disk is asked for, and can hold requests of some blocks back. */
class Watched implements BlockDevice {
  readonly limits: BlockLimits;
  readonly disk: SimDisk;
  readonly log: string[] = [];
  held: BlockRequest[] = [];
  hold: (request: BlockRequest) => boolean = () => false;

  constructor(disk: SimDisk) {
    this.disk = disk;
    this.limits = disk.limits;
  }

  submit(batch: readonly BlockRequest[]): number {
    for (const request of batch) {
      if (request.op !== BlockOp.Read) this.log.push(nameOf(request));
      if (this.hold(request)) this.held.push(request);
      else this.disk.submit([request]);
    }
    return batch.length;
  }

  release(): void {
    this.hold = () => false;
    this.disk.submit(this.held);
    this.held = [];
  }

  poll(): readonly BlockRequest[] {
    return this.disk.poll();
  }
}

function nameOf({ op, sector, flags }: BlockRequest): string {
  if (op === BlockOp.Flush) return "flush";
  const block = (sector * 512) / BLOCK;
  const where = block === SUPER ? "super" : block > SUPER ? `log ${block - SUPER}` : `home ${block}`;
  return (flags & REQ_FUA) === 0 ? where : `${where} FUA`;
}

let nowNs = 0;
beforeEach(() => {
  nowNs = 0;
});

function machine(
  options: Partial<Jbd2Options> = {},
  faults?: readonly FaultRule[],
  logBlocks: number = JOURNAL_BLOCKS - 1,
): { jbd2: Jbd2; device: Watched } {
  const image = new Uint8Array(DISK_BLOCKS * BLOCK);
  const superblock = journalSuper(logBlocks, 1);
  image.set(superblock, SUPER * BLOCK);
  const disk = new SimDisk({
    sectors: image.length / 512,
    image,
    atomicBytes: 512,
    ...(faults === undefined ? {} : { faults: new FaultPlan(faults, 1) }),
  });
  const device = new Watched(disk);
  const jbd2 = openJbd2({
    device,
    memory: growingArena(),
    blockSize: BLOCK,
    count: DISK_BLOCKS,
    slots: 2048,
    log: { superblock, map: JOURNAL_MAP },
    now: () => nowNs as Nanos,
    ...options,
  });
  if ("reason" in jbd2) throw new Error(jbd2.reason);
  jbd2.reset();
  return { jbd2, device };
}

/** A call that writes blocks as a whole and forgets others; its transaction. */
function change(jbd2: Jbd2, blocks: readonly number[], forget: readonly number[] = []): number {
  expect(jbd2.begin(Math.max(1, blocks.length))).toBe(0);
  for (const block of blocks) jbd2.buffers.bytes.fill(7, jbd2.buffers.fresh(block) + 1, jbd2.buffers.at(block) + BLOCK);
  for (const block of forget) jbd2.buffers.forget(block);
  jbd2.merge();
  return jbd2.tid;
}

const settle = (jbd2: Jbd2): void => {
  for (let n = 0; jbd2.step(); n++) expect(n).toBeLessThan(10_000);
};

const commit = (jbd2: Jbd2, tid: number): void => {
  jbd2.requestCommit(tid);
  settle(jbd2);
};

describe("what the disk is asked for", () => {
  it("a commit is the log's blocks, a flush, the commit block with FUA; the first one gives the log a start", () => {
    const { jbd2, device } = machine();
    const tid = change(jbd2, [3, 4], [9]);
    expect(tid).toBe(2);
    settle(jbd2);
    expect(device.log).toEqual([]);
    commit(jbd2, tid);
    // Revoke block, data, and the descriptor once it is full of its tags.
    expect(device.log).toEqual(["super", "log 1", "log 3", "log 4", "log 2", "flush", "log 5 FUA"]);
    expect(jbd2.committed(tid)).toBe(true);
    device.log.length = 0;
    commit(jbd2, change(jbd2, [3]));
    expect(device.log).toEqual(["log 7", "log 6", "flush", "log 8 FUA"]);
  });

  it("emptying is home writes, a flush, and only then the superblock with FUA; only the newest version goes home", () => {
    const { jbd2, device } = machine();
    for (const blocks of [[3, 4], [4, 5], [4]]) commit(jbd2, change(jbd2, blocks));
    device.log.length = 0;
    expect(jbd2.empty()).toBe(EIOCBQUEUED);
    settle(jbd2);
    expect(jbd2.empty()).toBe(0);
    expect(device.log).toEqual(["home 3", "home 5", "home 4", "flush", "super FUA"]);
    expect(be32(new DataView(device.disk.cache!.durable.buffer), SUPER * BLOCK + JSB.s_start)).toBe(0);
    // And on again.
    device.log.length = 0;
    commit(jbd2, change(jbd2, [3]));
    expect(device.log[0]).toBe("super");
  });

  it("without barriers nothing is flushed", () => {
    const { jbd2, device } = machine({ barrier: false });
    commit(jbd2, change(jbd2, [3]));
    jbd2.empty();
    settle(jbd2);
    expect(device.log.filter((one) => /flush|FUA/.test(one))).toEqual([]);
    expect(jbd2.flushed(jbd2.askFlush())).toBe(0);
  });

  it("an async commit does not wait for its commit block's turn, and flushes once", () => {
    const { jbd2, device } = machine({ features: { csum: 1, asyncCommit: true } });
    commit(jbd2, change(jbd2, [3]));
    expect(device.log).toEqual(["super", "log 2", "log 1", "log 3", "flush"]);
  });

  it("without a journal a commit is the blocks themselves and a flush", () => {
    const { device } = machine();
    const jbd2 = openJbd2({ device, memory: growingArena(), blockSize: BLOCK, count: DISK_BLOCKS, slots: 64 }) as Jbd2;
    jbd2.reset();
    commit(jbd2, change(jbd2, [3, 4]));
    expect(device.log).toEqual(["home 3", "home 4", "flush"]);
    expect(device.disk.cache!.durable[3 * BLOCK + 1]).toBe(7);
  });

  it("all fsyncs that ask while a flush is in flight share the next one", () => {
    const { jbd2, device } = machine();
    device.hold = () => true;
    const first = jbd2.askFlush();
    jbd2.step();
    const [second, third] = [jbd2.askFlush(), jbd2.askFlush()];
    expect([first, second, third]).toEqual([1, 2, 2]);
    device.release();
    expect(jbd2.flushed(first)).toBe(EIOCBQUEUED);
    settle(jbd2);
    expect([first, second].map((one) => jbd2.flushed(one))).toEqual([0, 0]);
    expect(device.log).toEqual(["flush", "flush"]);
  });
});

describe("when", () => {
  it("a transaction is committed five seconds after its first change, and is at home half a minute later", () => {
    const { jbd2, device } = machine();
    expect(jbd2.nextAtNs).toBe(Infinity);
    nowNs = 1e9;
    const tid = change(jbd2, [3]);
    expect(jbd2.nextAtNs).toBe(6e9);
    nowNs = 6e9 - 1;
    settle(jbd2);
    expect(jbd2.committed(tid)).toBe(false);
    nowNs = 6e9;
    settle(jbd2);
    expect(jbd2.committed(tid)).toBe(true);
    expect(jbd2.nextAtNs).toBe(6e9 + HOME_EXPIRE_NS);
    expect(device.log).not.toContain("home 3");
    nowNs = jbd2.nextAtNs;
    settle(jbd2);
    expect(device.log).toContain("home 3");
  });

  it("a full transaction makes callers wait until it is closed; a call larger than any is refused", () => {
    const { jbd2 } = machine();
    const most = jbd2.creditsMax;
    expect(jbd2.begin(most + 1)).toBe(ENOSPC);
    expect(jbd2.begin(most)).toBe(0);
    jbd2.abort();
    const tid = change(jbd2, [1, 2, 3, 4, 5, 6, 7, 8]);
    expect(jbd2.begin(most)).toBe(EIOCBQUEUED);
    expect(jbd2.begin(most - 8)).toBe(0);
    jbd2.abort();
    settle(jbd2);
    expect([jbd2.committed(tid), jbd2.begin(most)]).toEqual([true, 0]);
  });

  it("a log without room makes callers wait until transactions are at home; the log goes round", () => {
    const { jbd2, device } = machine({}, undefined, 170);
    device.hold = (request) => /home/.test(nameOf(request));
    let waited = 0;
    for (let n = 0; n < 200; n++) {
      if (jbd2.begin(20) !== 0) {
        waited++;
        expect(device.held.length).toBeGreaterThan(0);
        device.release();
        settle(jbd2);
        device.hold = (request) => /home/.test(nameOf(request));
        continue;
      }
      for (let block = 0; block < 20; block++) jbd2.buffers.fresh(1 + ((n * 20 + block) % 160));
      jbd2.merge();
      commit(jbd2, jbd2.tid);
      jbd2.check();
    }
    expect(waited).toBeGreaterThan(5);
  });

  it("a revoked block that is on its way home holds its transaction back: its next owner may not write yet", () => {
    const { jbd2, device } = machine();
    commit(jbd2, change(jbd2, [3]));
    device.hold = (request) => nameOf(request) === "home 3";
    jbd2.empty();
    settle(jbd2);
    expect(device.held.length).toBe(1);
    const tid = change(jbd2, [], [3]);
    commit(jbd2, tid);
    expect(jbd2.committed(tid)).toBe(false);
    device.release();
    settle(jbd2);
    expect(jbd2.committed(tid)).toBe(true);
  });

  it("the commit block waits for ordered data, and the owner is told at the end", () => {
    const { jbd2, device } = machine();
    const told: number[] = [];
    let answer: typeof EIOCBQUEUED | 0 = EIOCBQUEUED;
    jbd2.owner = { ordered: () => answer, committed: (tid) => told.push(tid) };
    const tid = change(jbd2, [3]);
    commit(jbd2, tid);
    expect(device.log).toEqual(["super", "log 2", "log 1"]);
    answer = 0;
    settle(jbd2);
    expect(device.log.slice(3)).toEqual(["flush", "log 3 FUA"]);
    expect(told).toEqual([tid]);
  });
});

describe("an abort", () => {
  it.each([
    ["the log", { kind: "eio-write", from: (SUPER + 1) * 2 }],
    ["the superblock", { kind: "eio-write", from: SUPER * 2, to: (SUPER + 1) * 2, times: 1 }],
  ] as const)("follows a failed write of %s: no more calls, nothing committed, s_errno tells", (_, rule) => {
    const { jbd2, device } = machine({}, [rule]);
    const tid = change(jbd2, [3]);
    commit(jbd2, tid);
    expect(jbd2.aborted).toBe(EIO);
    expect([jbd2.committed(tid), jbd2.begin(1), jbd2.empty()]).toEqual([false, EROFS, EIO]);
    expect(device.log.at(-1)).toBe("super FUA");
    expect(new DataView(device.disk.image.buffer).getInt32(SUPER * BLOCK + JSB.s_errno)).toBe(EIO);
    // What is in memory can still be read.
    jbd2.beginRead();
    expect(jbd2.buffers.bytes[jbd2.buffers.at(3) + 1]).toBe(7);
    jbd2.endRead();
  });

  it("follows a failed write home, with the log as it was", () => {
    const { jbd2, device } = machine({}, [{ kind: "eio-write", from: 6, to: 8 }]);
    commit(jbd2, change(jbd2, [3]));
    jbd2.empty();
    settle(jbd2);
    expect(jbd2.aborted).toBe(EIO);
    const view = new DataView(device.disk.image.buffer);
    expect([be32(view, SUPER * BLOCK + JSB.s_start), be32(view, SUPER * BLOCK + JSB.s_sequence)]).toEqual([1, 2]);
  });

  it("by the file system itself leaves its errno", () => {
    const { jbd2, device } = machine();
    jbd2.fail(EUCLEAN);
    settle(jbd2);
    expect(new DataView(device.disk.image.buffer).getInt32(SUPER * BLOCK + JSB.s_errno)).toBe(EUCLEAN);
  });
});

it("openJbd2() refuses a log that has to be recovered, version 1, and what is no journal", () => {
  const { device } = machine();
  const open = (spoil: (view: DataView) => void): unknown => {
    const superblock = journalSuper(JOURNAL_BLOCKS - 1, 1);
    spoil(new DataView(superblock.buffer));
    const memory = growingArena();
    const log = { superblock, map: JOURNAL_MAP };
    return openJbd2({ device, memory, blockSize: BLOCK, count: DISK_BLOCKS, slots: 256, log });
  };
  expect(open((view) => setBe32(view, JSB.s_start, 5))).toMatchObject({ errno: EUCLEAN });
  expect(open((view) => setBe32(view, JSB.h_blocktype, JBLOCK_SUPER_V1))).toMatchObject({ errno: EOPNOTSUPP });
  expect(open((view) => setBe32(view, JSB.h_magic, 1))).toMatchObject({ errno: EUCLEAN });
});

/** What drives a mounted ext4 knows when there is something to do, for whom, and what a call waits for. */
import { describe, expect, it } from "vitest";
import { EIOCBQUEUED } from "../../../../kernel/abi/errno.ts";
import { WAIT_COMMIT, WAIT_DATA, WAIT_METADATA, WAIT_WRITEBACK } from "../../../../kernel/abi/page_cache.ts";
import { nextBelow, prng } from "../../../../kernel/lib/prng.ts";
import { bytesOf, call, type MountedRig, mounted, pattern } from "./mounted_rig.ts";

const NEW = { mode: 0o100644, uid: 0, gid: 0 };
const SEC = 1e9;
const PAGE = 4096;

function newFile({ bare }: MountedRig, name: string): number {
  const ino = bare.run(() => bare.fs.create(2, bytesOf(name), NEW));
  expect(bare.fs.hold(ino)).toBe(0);
  return ino;
}

/** Steps until nothing happens at this instant. */
function settle({ bare, disk, clock }: MountedRig): void {
  for (let quiet = false; !quiet;) {
    while (bare.fs.step());
    quiet = disk.nextAtNs > clock.now;
    if (quiet) continue;
    expect(bare.fs.step()).toBe(true);
  }
}

/** Goes to the next instant at which anything is to happen: true when the clock alone brings it, undefined: nothing is. */
function goOn({ bare, disk, clock }: MountedRig): boolean | undefined {
  const next = Math.min(bare.fs.nextAtNs(), disk.nextAtNs);
  if (next === Infinity) return undefined;
  const own = bare.fs.nextAtNs() < disk.nextAtNs;
  if (own && next - 1 > clock.now) {
    clock.now = next - 1;
    expect(bare.fs.step(), "a step before nextAtNs()").toBe(false);
  }
  clock.now = Math.max(clock.now, next);
  return own;
}

describe("Ext4.nextAtNs()", () => {
  it("is when a commit, then the data, then blocks on their way home are due, and Infinity when all is there", () => {
    const rig = mounted();
    const { bare, clock } = rig;
    settle(rig);
    expect(bare.fs.nextAtNs()).toBe(Infinity);
    const ino = newFile(rig, "f");
    bare.run(() => bare.fs.write(ino, 0, pattern(1, PAGE), 0));
    settle(rig);
    const times: number[] = [];
    for (let own; (own = goOn(rig)) !== undefined;) {
      const { now } = clock;
      const moved = bare.fs.step();
      expect(moved || !own, "a step at nextAtNs()").toBe(true);
      settle(rig);
      times.push(now / SEC);
    }
    // Created 0; committed 5; the page written at 30, its inode committed at 35; what was committed at 5 home at 35, ...
    expect(times).toEqual([5, 30, 35, 65]);
    expect([bare.cache.dirty(), bare.fs.fs.journal.aborted]).toEqual([0, 0]);
  });

  it("a step before it does nothing, one at it does something: random calls on a slow disk", () => {
    const rig = mounted({ slow: true, pages: 32 });
    const { bare, clock } = rig;
    const files = ["a", "b", "c"].map((name) => newFile(rig, name));
    const chance = prng(7);
    for (let n = 0; n < 400; n++) {
      const ino = files[nextBelow(chance, files.length)]!;
      const words = call();
      const what = nextBelow(chance, 8);
      if (what === 0) bare.fs.fsync(ino, false, words);
      else if (what === 1) bare.fs.truncate(ino, nextBelow(chance, 40_000), words);
      else if (what < 5) bare.fs.write(ino, nextBelow(chance, 200_000), pattern(n, 1 + nextBelow(chance, 20_000)), 0);
      settle(rig);
      for (let more = nextBelow(chance, 4); more > 0; more--) {
        const own = goOn(rig);
        if (own === undefined) break;
        if (own) expect(bare.fs.step(), "a step at nextAtNs()").toBe(true);
        settle(rig);
      }
      if (nextBelow(chance, 10) === 0) clock.now += nextBelow(chance, 40) * SEC;
      settle(rig);
    }
    let left = 0;
    for (; goOn(rig) !== undefined; left++) {
      expect(left).toBeLessThan(10_000);
      settle(rig);
    }
    expect([bare.cache.dirty(), bare.cache.writeback()]).toEqual([0, 0]);
    expect(bare.unmount()).toBe(0);
  });
});

describe("Ext4.stepJournal(), Ext4.stepWriteback()", () => {
  it("the one commits and writes no page of a delayed file, the other writes pages and commits nothing", () => {
    const rig = mounted();
    const { bare, clock } = rig;
    const { journal } = bare.fs.fs;
    const ino = newFile(rig, "f");
    bare.run(() => bare.fs.write(ino, 0, pattern(1, PAGE), 0));
    const tid = journal.tid;
    clock.now = 30 * SEC;
    expect(bare.fs.stepWriteback()).toBe(true);
    while (bare.fs.stepWriteback());
    expect([bare.cache.dirty(), journal.committed(tid)]).toEqual([0, false]);
    bare.run(() => bare.fs.write(ino, 0, pattern(2, PAGE), 0));
    while (bare.fs.stepJournal());
    expect([bare.cache.dirty(), journal.committed(tid)]).toEqual([1, true]);
  });
});

describe("Ext4.waitingOn()", () => {
  it("tells a read of metadata, of data, a write of data and the journal apart", () => {
    const rig = mounted();
    const first = rig.bare;
    const ino = newFile(rig, "f");
    first.run(() => first.fs.write(ino, 0, pattern(1, 3 * PAGE), 0));
    first.fs.release(ino);
    expect(first.unmount()).toBe(0);

    const slow = mounted({ slow: true, image: rig.disk.image.slice() });
    const { bare } = slow;
    const { fs } = bare;
    const told: number[] = [];
    const waits = (make: () => number): number => {
      let done = make();
      for (let last = 0; done === EIOCBQUEUED; done = make()) {
        if (fs.waitingOn() !== last) told.push((last = fs.waitingOn()));
        if (!fs.step()) slow.clock.now = Math.max(slow.clock.now + 1, slow.disk.nextAtNs);
      }
      return done;
    };
    expect(waits(() => fs.lookup(2, bytesOf("f")))).toBe(ino);
    expect(told.splice(0)).toEqual([WAIT_METADATA]);
    const into = new Uint8Array(PAGE);
    expect(waits(() => fs.read(ino, 0, into, 0))).toBe(PAGE);
    expect(told.splice(0)).toEqual([WAIT_METADATA, WAIT_DATA]);
    waits(() => fs.write(ino, 0, pattern(2, 3 * PAGE), 0));
    told.length = 0;
    const words = call();
    expect(waits(() => fs.fsync(ino, false, words))).toBe(0);
    expect(told.splice(0)).toEqual([WAIT_WRITEBACK, WAIT_COMMIT]);
  });
});

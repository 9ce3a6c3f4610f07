import { describe, expect, it } from "vitest";
import { target } from "../../fuzz/filemap.ts";
import { EBUSY, EIO, EIOCBQUEUED, ENFILE, ENOMEM } from "../../kernel/abi/errno.ts";
import { Ev } from "../../kernel/abi/events.ts";
import type { Frames } from "../../kernel/abi/frames.ts";
import { CALL_PAGES_MAX, CALL_STAGES_MAX } from "../../kernel/abi/limits.ts";
import { PAGE_LAST, WAIT_ANY, type Slot } from "../../kernel/abi/page_cache.ts";
import { PAGE_SIZE } from "../../kernel/abi/units.ts";
import { attach, load, save } from "../../kernel/lib/growing_arena.ts";
import { adopt, fileRead, fileTruncate, fileWrite, MemoryStore, STAT, STEADY } from "../../mm/index.ts";
import { fileOn, noting, rig, touch } from "./cache_rig.ts";

const WAITS = { ...STEADY, wait: 100 };

describe("a call", () => {
  it("that needs a page which is not here waits for its request and is made again", () => {
    const calls: string[] = [];
    const { cache } = rig(8, { policy: noting(calls) });
    const file = fileOn(cache, 4);
    file.store.moods = WAITS;
    expect(touch(file, 2)).toBe(EIOCBQUEUED);
    expect(cache.waitingOn()).toBe(file.store.waiting[0]!.io);
    expect(touch(file, 2)).toBe(EIOCBQUEUED);
    expect(file.store.requests).toBe(1);
    file.store.settle();
    expect(touch(file, 2)).toBe(3);
    // The page's coming is its first use, however often the call was made; the next use is a hit.
    expect(calls).toEqual(["insert 2"]);
    touch(file, 2);
    expect(calls).toEqual(["insert 2", "hit"]);
    cache.check();
  });

  it("leaves nothing when it is given up, and everything at once when it is merged", () => {
    const { cache } = rig(8);
    const file = fileOn(cache, 2);
    const change = (more: number): Slot => {
      cache.begin();
      const slot = cache.edit(file.mapping, 0) as Slot;
      cache.stage(slot)[0] = 77;
      const made = cache.fresh(file.mapping, 5) as Slot;
      cache.stage(made)[1] = 88;
      cache.stage(made)[2]! += more;
      const filled = cache.fresh(file.mapping, 1) as Slot;
      cache.stageWhole(filled).fill(99);
      expect([cache.bytes(slot)[0], cache.bytes(made)[1], cache.bytes(filled)[2]]).toEqual([77, 88, 99]);
      return slot;
    };
    change(66);
    cache.abort();
    cache.check();
    expect([touch(file, 0), touch(file, 1), cache.peek(file.mapping, 5)]).toEqual([1, 2, undefined]);
    change(0);
    file.store.setSize(6 * PAGE_SIZE);
    cache.merge();
    cache.check();
    expect([touch(file, 0), touch(file, 1)]).toEqual([77, 99]);
    expect([...cache.bytes(cache.peek(file.mapping, 5)!).subarray(0, 3)]).toEqual([0, 88, 0]);
    expect(file.store.onDisk(0)[0]).toBe(1);
  });

  it("drops a fresh page that it did not stage", () => {
    const { cache, frames } = rig(4);
    const file = fileOn(cache, 1);
    cache.begin();
    cache.fresh(file.mapping, 3);
    cache.merge();
    expect([cache.peek(file.mapping, 3), frames.spareFrames]).toEqual([undefined, 4]);
  });

  it("keeps what it has in hand: no page of its own is evicted under it", () => {
    const { cache } = rig(3);
    const file = fileOn(cache, 8);
    cache.begin();
    const slots = [0, 1, 2].map((index) => cache.page(file.mapping, index) as Slot);
    expect(cache.page(file.mapping, 3)).toBe(ENOMEM);
    expect(slots.map((slot) => cache.bytes(slot)[0])).toEqual([1, 2, 3]);
    cache.abort();
    expect(touch(file, 3)).toBe(4);
  });

  it("is told of a failed read once, and reads anew when it is made again", () => {
    const { cache } = rig(4);
    const file = fileOn(cache, 4);
    for (const wait of [0, 100]) {
      file.store.moods = { ...STEADY, wait, failRead: 100 };
      if (wait === 100) {
        expect(touch(file, 1)).toBe(EIOCBQUEUED);
        file.store.settle();
      }
      expect(touch(file, 1)).toBe(EIO);
      file.store.moods = STEADY;
      expect(touch(file, 1)).toBe(2);
      cache.invalidate(file.mapping, 0, PAGE_LAST);
      cache.check();
    }
  });

  it("waits for anything when the store does not take its read", () => {
    const { cache } = rig(4);
    const file = fileOn(cache, 4);
    file.store.moods = { ...STEADY, refuse: 100 };
    expect([touch(file, 1), cache.waitingOn()]).toEqual([EIOCBQUEUED, WAIT_ANY]);
    cache.check();
    file.store.moods = STEADY;
    expect(touch(file, 1)).toBe(2);
  });

  it("finds its pages again: what a given-up call had in hand is the last to go", () => {
    const { cache } = rig(4);
    const file = fileOn(cache, 20);
    file.store.moods = WAITS;
    const both = (): number => {
      cache.begin();
      for (const index of [0, 1]) {
        const slot = cache.page(file.mapping, index);
        if (slot < 0) {
          cache.abort();
          return slot;
        }
      }
      cache.merge();
      return 0;
    };
    file.store.moods = STEADY;
    touch(file, 0);
    file.store.moods = WAITS;
    expect(both()).toBe(EIOCBQUEUED);
    file.store.settle();
    // Others churn through the cache meanwhile.
    file.store.moods = STEADY;
    for (let index = 2; index < 20; index++) touch(file, index);
    const before = file.store.requests;
    expect(both()).toBe(0);
    expect(file.store.requests).toBe(before);
    // And a call that never came back does not keep them for ever.
    cache.begin();
    for (const index of [0, 1]) cache.page(file.mapping, index);
    file.store.moods = WAITS;
    cache.page(file.mapping, 9);
    cache.abort();
    file.store.settle();
    file.store.moods = STEADY;
    cache.begin();
    for (let index = 10; index < 14; index++) expect(cache.page(file.mapping, index)).toBeGreaterThanOrEqual(0);
    cache.merge();
    cache.check();
  });

  it("may have CALL_PAGES_MAX pages in hand, and no more", () => {
    const { cache } = rig(CALL_PAGES_MAX + 1);
    const file = fileOn(cache, CALL_PAGES_MAX + 1);
    cache.begin();
    for (let index = 0; index < CALL_PAGES_MAX; index++) cache.page(file.mapping, index);
    expect(() => cache.page(file.mapping, CALL_PAGES_MAX)).toThrow(/CALL_PAGES_MAX/);
  });
});

describe("truncate()", () => {
  it("waits for what is in flight, refuses what is pinned, and takes effect at merge() only", () => {
    const { cache } = rig(8);
    const file = fileOn(cache, 6);
    const cut = (): number => {
      cache.begin();
      const result = cache.truncate(file.mapping, 2, PAGE_LAST);
      if (result !== 0) cache.abort();
      return result;
    };
    for (const index of [1, 2, 3]) touch(file, index, 50);
    file.store.moods = WAITS;
    touch(file, 4);
    expect([cut(), cache.waitingOn()]).toEqual([EIOCBQUEUED, file.store.waiting[0]!.io]);
    file.store.settle();
    cache.pin(cache.peek(file.mapping, 3)!);
    expect(cut()).toBe(EBUSY);
    cache.unpin(cache.peek(file.mapping, 3)!);
    expect(cut()).toBe(0);
    expect(cache.peek(file.mapping, 3)).toBeDefined();
    cache.merge();
    cache.check();
    expect([1, 2, 3, 4].map((index) => cache.peek(file.mapping, index) !== undefined)).toEqual([
      true,
      false,
      false,
      false,
    ]);
  });

  it("fileTruncate() zeroes the rest of the last page, so that a file that grows again reads zeros", () => {
    const { cache } = rig(8);
    const file = fileOn(cache, 3);
    expect(fileTruncate(file, PAGE_SIZE + 10)).toBe(0);
    expect(fileTruncate(file, 3 * PAGE_SIZE)).toBe(0);
    const into = new Uint8Array(2 * PAGE_SIZE);
    expect(fileRead(file, PAGE_SIZE, into)).toBe(2 * PAGE_SIZE);
    expect([into[9], into[10], into[PAGE_SIZE]]).toEqual([2, 0, 0]);
  });
});

describe("files", () => {
  it("closed handles are dead, a row used again gets another handle, and a full table is ENFILE", () => {
    const { cache } = rig(4, { files: 2 });
    const first = fileOn(cache, 2);
    const second = fileOn(cache, 2);
    expect(cache.open(new MemoryStore(1), 0)).toBe(ENFILE);
    touch(first, 1);
    expect(cache.close(first.mapping)).toBe(0);
    expect(() => cache.peek(first.mapping, 1)).toThrow(/not open/);
    const third = fileOn(cache, 2);
    expect(third.mapping).not.toBe(first.mapping);
    expect(third.mapping % 65_536).toBe(first.mapping % 65_536);
    expect(touch(third, 0)).toBe(1);
    expect(touch(second, 1)).toBe(2);
    touch(second, 1, 9);
    expect(() => cache.close(second.mapping)).toThrow(/dirty/);
    cache.check();
  });

  it("shrink() and invalidate() drop clean idle pages only and give their frames back", () => {
    const { cache, frames, fm } = rig(6);
    const file = fileOn(cache, 6);
    for (let index = 0; index < 6; index++) touch(file, index);
    touch(file, 0, 9);
    cache.pin(cache.peek(file.mapping, 1)!);
    expect(cache.shrink(2)).toBe(2);
    expect([2, 3].map((index) => cache.peek(file.mapping, index))).toEqual([undefined, undefined]);
    expect(frames.spareFrames).toBe(2);
    expect(cache.invalidate(file.mapping, 0, 4)).toBe(1);
    expect(cache.shrink(9)).toBe(1);
    expect(frames.spareFrames).toBe(4);
    expect(fm.counters[STAT.Evicted]).toBe(3);
    cache.check();
  });

  it("may be shrunk by the very allocator that the cache asks for a frame", () => {
    const small = rig(8, { frameCount: 3 });
    const frames: Frames = {
      alloc() {
        const frame = small.frames.alloc();
        if (frame >= 0 || cache.shrink(2) === 0) return frame;
        return small.frames.alloc();
      },
      free: (frame) => small.frames.free(frame),
      bytes: (frame, count) => small.frames.bytes(frame, count),
    };
    const { cache } = rig(8, { frames });
    const file = fileOn(cache, 20);
    for (let round = 0; round < 3; round++)
      for (let index = 0; index < 20; index++) {
        expect(touch(file, index)).toBe(index + 1);
        cache.check();
      }
    expect(cache.cached() + small.frames.spareFrames).toBe(3);
    touch(file, 19, 7);
    file.store.moods = WAITS;
    expect(cache.dirty()).toBe(1);
    cache.sync(file.mapping, cache.ticket(), 0, PAGE_LAST);
    expect([cache.dirty(), cache.writeback()]).toEqual([0, 1]);
  });

  it("pages come and go as events", () => {
    const seen: number[][] = [];
    const { cache } = rig(1, { trace: (type, _cpu, a, b) => void seen.push([type, a, b]) });
    const file = fileOn(cache, 2);
    touch(file, 0);
    touch(file, 1);
    const { mapping } = file;
    expect(seen).toEqual([
      [Ev.FilemapAdd, mapping, 0],
      [Ev.FilemapDelete, mapping, 0],
      [Ev.FilemapAdd, mapping, 1],
    ]);
  });

  it("are read across a cache that is smaller than they are, with fewer frames than slots", () => {
    const { cache } = rig(40, { frameCount: 5 });
    const file = fileOn(cache, 30);
    for (let index = 0; index < 30; index++) expect(touch(file, index)).toBe(index + 1);
    cache.check();
  });
});

it("the whole state is bytes: saved in the middle of everything and restored elsewhere it goes on", () => {
  const first = rig(8);
  const file = fileOn(first.cache, 8);
  touch(file, 0, 41);
  file.store.moods = WAITS;
  touch(file, 1);
  touch(file, 2);
  file.store.settle();
  const saved = save(first.memory);
  const twin = rig(8, { memory: attach(first.memory.buffers) });
  adopt(twin.fm, file.mapping, file.store);
  expect(save(first.memory)).toEqual(saved);
  twin.cache.check();
  // The twin takes the answer to a request that the first one made.
  file.store.cache = twin.cache;
  file.store.settle();
  const twinFile = { ...file, cache: twin.cache };
  expect([touch(twinFile, 0), touch(twinFile, 1), touch(twinFile, 2)]).toEqual([41, 2, 3]);
  load(first.memory, saved);
  first.cache.check();
  expect(touch(file, 0)).toBe(41);
});

it("fileRead() of more pages than there are reads as many as it can have in hand", () => {
  const { cache } = rig(8);
  const file = fileOn(cache, 12, 0, 4);
  const into = new Uint8Array(12 * PAGE_SIZE);
  let done = 0;
  for (let calls = 0; done < into.length; calls++) {
    expect(calls).toBeLessThan(3);
    const got = fileRead(file, done, into.subarray(done));
    expect(got % PAGE_SIZE === 0 && got > 0).toBe(true);
    done += got;
  }
  for (let index = 0; index < 12; index++) expect(into[index * PAGE_SIZE + 7]).toBe(index + 1);
  cache.check();
});

it("fileWrite() makes one call of at most CALL_STAGES_MAX pages and says how far it came", () => {
  const { cache } = rig(200, { dirtyRatio: 100 });
  const file = fileOn(cache, 0);
  const bytes = new Uint8Array(100 * PAGE_SIZE).fill(7);
  const written = fileWrite(file, 100, bytes);
  expect(written).toBe(CALL_STAGES_MAX * PAGE_SIZE - 100);
  expect(file.store.size()).toBe(CALL_STAGES_MAX * PAGE_SIZE);
});

it("fuzz: 100 cases agree with the flat arrays (seeds from 1)", () => {
  expect(target.run(1, 100, () => {})).toEqual({ runs: 100 });
});

it("fuzz: a store that loses writes is found (canary)", () => {
  expect(target.canary(1).failure).toBeDefined();
});

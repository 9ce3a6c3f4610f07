import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EBUSY, EIO, EIOCBQUEUED } from "../../kernel/abi/errno.ts";
import { PAGE_LAST } from "../../kernel/abi/page_cache.ts";
import type { Nanos } from "../../kernel/abi/units.ts";
import { PAGE_SIZE } from "../../kernel/abi/units.ts";
import { fileSync, fileWrite, STEADY } from "../../mm/index.ts";
import { fileOn, rig, touch } from "./cache_rig.ts";

const WAITS = { ...STEADY, wait: 100 };
const at = (ns: number): Nanos => ns as Nanos;

describe("flush()", () => {
  it("writes nothing below the background limit, and above it the oldest pages with their neighbours, in one request", () => {
    const { cache, fm } = rig(100, { expireNs: 1000 });
    const file = fileOn(cache, 60);
    for (const index of [30, 10, 31, 29, 50, 11, 28, 12, 40, 9]) touch(file, index, 200);
    expect([fm.backgroundMax, fm.dirtyMax]).toEqual([10, 20]);
    expect(cache.flush(at(1), 100)).toBe(0);
    const runs: string[] = [];
    file.store.onWrite = (index) => void runs.push(String(index));
    touch(file, 0, 200);
    expect(cache.flush(at(2), 4)).toBe(4);
    expect(runs).toEqual(["28", "29", "30", "31"]);
    expect(file.store.requests - 11).toBe(1);
    // Now seven are dirty: enough is enough.
    expect(cache.flush(at(3), 100)).toBe(0);
    cache.check();
  });

  it("writes what has been dirty for too long, though it is little; its age begins anew", () => {
    const { cache, clock } = rig(100, { expireNs: 1000 });
    const file = fileOn(cache, 4);
    clock.now = 500;
    touch(file, 1, 9);
    expect(cache.flush(at(1499), 100)).toBe(0);
    expect(cache.flush(at(1500), 100)).toBe(1);
    expect(file.store.onDisk(1)[0]).toBe(9);
    clock.now = 2000;
    touch(file, 1, 10);
    expect([cache.flush(at(2999), 100), cache.flush(at(3000), 100)]).toEqual([0, 1]);
  });

  it("gives every file its turn within the budget", () => {
    const { cache } = rig(200, { backgroundRatio: 0 });
    const files = [fileOn(cache, 40), fileOn(cache, 40), fileOn(cache, 40)];
    for (const file of files) for (let index = 0; index < 40; index += 2) touch(file, index, 99);
    const written = (): number[] => files.map((file) => file.store.requests);
    for (let round = 0; round < 3; round++) cache.flush(at(1), 10);
    expect(written()).toEqual([30, 30, 30]);
    for (let round = 0; round < 3; round++) cache.flush(at(1), 10);
    expect(written()).toEqual([40, 40, 40]);
  });

  it("leaves pages dirty, in order of age, that the store does not take", () => {
    const { cache, fm } = rig(20, { backgroundRatio: 0 });
    const file = fileOn(cache, 10);
    for (const index of [3, 7, 2, 4, 8]) touch(file, index, 60);
    file.store.moods = { ...STEADY, refuse: 100 };
    expect(cache.flush(at(1), 100)).toBe(0);
    cache.check();
    expect(fm.dirtyOf[0]).toBe(5);
    file.store.moods = STEADY;
    expect(cache.flush(at(1), 100)).toBe(5);
    expect(file.store.onDisk(4)[0]).toBe(60);
  });
});

describe("throttle()", () => {
  it("makes a writer wait above the hard limit, counts what is on its way, and presses the flusher", () => {
    const { cache } = rig(50, { dirtyRatio: 20 });
    const file = fileOn(cache, 40);
    const write = (page: number): number => fileWrite(file, page * PAGE_SIZE, new Uint8Array(PAGE_SIZE).fill(5));
    for (let page = 0; page < 10; page++) expect(write(page)).toBe(PAGE_SIZE);
    expect([write(10), cache.pressed()]).toEqual([EIOCBQUEUED, true]);
    file.store.moods = WAITS;
    cache.flush(at(1), 100);
    expect(write(10)).toBe(EIOCBQUEUED);
    while (file.store.settle());
    expect(write(10)).toBe(PAGE_SIZE);
    cache.flush(at(2), 100);
    while (file.store.settle());
    cache.flush(at(3), 100);
    expect(cache.pressed()).toBe(false);
  });

  it("lets one large write through when nothing else is dirty", () => {
    const { cache } = rig(50, { dirtyRatio: 2 });
    const file = fileOn(cache, 40);
    expect(fileWrite(file, 0, new Uint8Array(8 * PAGE_SIZE))).toBe(8 * PAGE_SIZE);
    expect(fileWrite(file, 0, new Uint8Array(1))).toBe(EIOCBQUEUED);
  });

  it("a cache full of dirty pages makes a reader wait for the flusher, not fail", () => {
    const { cache } = rig(4, { dirtyRatio: 100 });
    const file = fileOn(cache, 8);
    for (let index = 0; index < 4; index++) touch(file, index, 70);
    expect([touch(file, 5), cache.pressed()]).toEqual([EIOCBQUEUED, true]);
    cache.flush(at(1), 1);
    expect(touch(file, 5)).toBe(6);
  });
});

describe("sync()", () => {
  it("writes what was dirty at the ticket and does not chase what comes later", () => {
    const { cache } = rig(20);
    const file = fileOn(cache, 10);
    touch(file, 1, 11);
    touch(file, 5, 15);
    const ticket = cache.ticket();
    file.store.moods = WAITS;
    expect(cache.sync(file.mapping, ticket, 0, PAGE_LAST)).toBe(EIOCBQUEUED);
    touch(file, 5, 25);
    touch(file, 3);
    file.store.settle();
    file.store.settle();
    while (file.store.settle());
    touch(file, 3, 13);
    const requests = file.store.requests;
    expect(cache.sync(file.mapping, ticket, 0, PAGE_LAST)).toBe(0);
    expect(file.store.requests).toBe(requests);
    expect([file.store.onDisk(1)[0], file.store.onDisk(3)[0]]).toEqual([11, 4]);
    cache.check();
  });

  it("writes a range only", () => {
    const { cache } = rig(20);
    const file = fileOn(cache, 10);
    for (const index of [1, 4, 7]) touch(file, index, 90);
    expect(cache.sync(file.mapping, cache.ticket(), 3, 5)).toBe(0);
    expect([1, 4, 7].map((index) => file.store.onDisk(index)[0])).toEqual([2, 90, 8]);
  });

  it("tells every open file of a failed write-back, once, and a later opener nothing", () => {
    const { cache } = rig(20);
    const file = fileOn(cache, 10);
    const other = { ...file, errorsSince: cache.errorSample(file.mapping) };
    touch(file, 2, 90);
    file.store.moods = { ...STEADY, failWrite: 100 };
    expect(fileSync(file, cache.ticket())).toBe(EIO);
    file.store.moods = STEADY;
    expect(fileSync(file, cache.ticket())).toBe(0);
    const late = { ...file, errorsSince: cache.errorSample(file.mapping) };
    expect([fileSync(late, cache.ticket()), fileSync(other, cache.ticket()), fileSync(other, cache.ticket())]).toEqual([
      0,
      EIO,
      0,
    ]);
    // The failed page is clean and whole, as in Linux: the cache still shows it.
    expect(touch(file, 2)).toBe(90);
    cache.check();
  });

  it("tells a failure of the background flusher too, to an opener that came after it when nobody was told", () => {
    const { cache } = rig(20, { backgroundRatio: 0 });
    const file = fileOn(cache, 10);
    touch(file, 2, 90);
    file.store.moods = { ...STEADY, failWrite: 100 };
    cache.flush(at(1), 9);
    file.store.moods = STEADY;
    const late = { ...file, errorsSince: cache.errorSample(file.mapping) };
    expect(fileSync(late, cache.ticket())).toBe(EIO);
  });
});

describe("pages that a journal holds back", () => {
  it("are not written before their transaction is committed; sync() says EBUSY", () => {
    const { cache } = rig(20, { backgroundRatio: 0 });
    const file = fileOn(cache, 10, 1);
    touch(file, 2, 90, 7);
    touch(file, 3, 91, 8);
    expect([cache.flush(at(1), 9), cache.sync(file.mapping, cache.ticket(), 0, PAGE_LAST)]).toEqual([0, EBUSY]);
    cache.committed(1, 7);
    expect(cache.sync(file.mapping, cache.ticket(), 0, 2)).toBe(0);
    expect([file.store.onDisk(2)[0], file.store.onDisk(3)[0]]).toEqual([90, 4]);
    cache.committed(1, 8);
    expect(cache.flush(at(2), 9)).toBe(1);
    expect(() => cache.committed(1, 7)).toThrow(/backwards/);
  });

  it("leave no mark on the slot when they go: the next page in it is written like any other", () => {
    const { cache } = rig(1, { backgroundRatio: 0, dirtyRatio: 100 });
    const held = fileOn(cache, 2, 1);
    touch(held, 0, 90, 7);
    cache.begin();
    expect(cache.truncate(held.mapping, 0, PAGE_LAST)).toBe(0);
    cache.merge();
    const plain = fileOn(cache, 2);
    touch(plain, 1, 91);
    expect([cache.flush(at(1), 9), plain.store.onDisk(1)[0]]).toEqual([1, 91]);
  });

  it("do not change while they are on their way", () => {
    const { cache } = rig(20, { backgroundRatio: 0 });
    const file = fileOn(cache, 10, 1);
    touch(file, 2, 90, 1);
    cache.committed(1, 1);
    file.store.moods = WAITS;
    cache.flush(at(1), 9);
    expect([touch(file, 2, 91, 2), cache.waitingOn()]).toEqual([EIOCBQUEUED, file.store.waiting[0]!.io]);
    file.store.settle();
    expect(touch(file, 2, 91, 2)).toBe(91);
  });

  it("never let an uncommitted byte reach the disk, whatever the order of calls, commits and writes", () => {
    // Each page holds the number of the transaction that changed it last.
    const op = fc.oneof(
      fc.record({ op: fc.constant("change" as const), index: fc.nat(7) }),
      fc.constant({ op: "commit" as const }),
      fc.constant({ op: "flush" as const }),
      fc.constant({ op: "settle" as const }),
    );
    fc.assert(
      fc.property(fc.array(op, { maxLength: 120, size: "max" }), fc.constantFrom(0, 50, 100), (operations, wait) => {
        const { cache } = rig(6, { backgroundRatio: 0, dirtyRatio: 100 });
        const file = fileOn(cache, 8, 3);
        for (let index = 0; index < 8; index++) file.store.onDisk(index)[0] = 0;
        file.store.moods = { ...STEADY, wait };
        let running = 1;
        const wanted = new Uint8Array(8);
        const disk = new Uint8Array(8);
        file.store.onWrite = (index) => {
          disk[index] = file.store.onDisk(index)[0]!;
          expect(disk[index]).toBeLessThan(running);
        };
        for (const step of operations) {
          if (step.op === "change" && touch(file, step.index, running, running) === running)
            wanted[step.index] = running;
          else if (step.op === "commit" && running < 250) cache.committed(3, running++);
          else if (step.op === "flush") cache.flush(at(1), 3);
          else if (step.op === "settle") file.store.settle();
          cache.check();
        }
        cache.committed(3, running++);
        file.store.moods = STEADY;
        while (file.store.settle());
        expect(cache.sync(file.mapping, cache.ticket(), 0, PAGE_LAST)).toBe(0);
        for (let index = 0; index < 8; index++) expect(file.store.onDisk(index)[0]).toBe(wanted[index]);
      }),
      { numRuns: 150 },
    );
  });
});

import { describe, expect, it } from "vitest";
import { Ev } from "../../kernel/abi/events.ts";
import { PAGE_SIZE } from "../../kernel/abi/units.ts";
import { fileRead, type PlainFile, RA, RA_PAGES_DEFAULT, raInit, STAT, STEADY } from "../../mm/index.ts";
import { fileOn, rig, type Rig } from "./cache_rig.ts";

/** Windows as "start+size/async", in order. */
function watched(slots: number): Rig & { windows: string[] } {
  const windows: string[] = [];
  const made = rig(slots, {
    trace: (type, _cpu, _file, start, size, async) => {
      if (type === Ev.Readahead) windows.push(`${start}+${size}/${async}`);
    },
  });
  return { ...made, windows };
}

function read(file: PlainFile, index: number, pages = 1): void {
  expect(fileRead(file, index * PAGE_SIZE, new Uint8Array(pages * PAGE_SIZE))).toBe(pages * PAGE_SIZE);
}

describe("readAhead()", () => {
  it("doubles 16 KiB to 128 KiB for pages read one after another, as Linux does with a window of 32", () => {
    const { cache, windows, fm } = watched(512);
    const file = fileOn(cache, 200, 0, RA_PAGES_DEFAULT);
    for (let index = 0; index < 130; index++) read(file, index);
    expect(windows).toEqual([
      "0+4/3",
      "4+8/8",
      "12+16/16",
      "28+32/32",
      "60+32/32",
      "92+32/32",
      "124+32/32",
      "156+32/32",
    ]);
    expect(file.store.requests).toBe(8);
    expect(fm.counters[STAT.Miss]).toBe(0);
    cache.check();
  });

  it("begins with twice the request up to a quarter of the window", () => {
    for (const [pages, window] of [
      [2, "0+4/2"],
      [8, "0+16/8"],
      [9, "0+32/23"],
    ] as const) {
      const { cache, windows } = watched(512);
      read(fileOn(cache, 200, 0, 32), 0, pages);
      expect(windows).toEqual([window]);
    }
  });

  it("takes the next window at once where the reader stands on the first page of one, short of the whole", () => {
    const { cache, windows } = watched(512);
    const file = fileOn(cache, 200, 0, 32);
    read(file, 0);
    read(file, 4);
    expect(windows).toEqual(["0+4/3", "4+24/16"]);
    const whole = watched(512);
    read(fileOn(whole.cache, 200, 0, 32), 0, 32);
    expect(whole.windows).toEqual(["0+32/16", "32+32/32"]);
  });

  it("begins with the whole window for reads of half of it", () => {
    const { cache, windows } = watched(512);
    const file = fileOn(cache, 200, 0, 32);
    for (let index = 0; index < 64; index += 16) read(file, index, 16);
    expect(windows).toEqual(["0+32/16", "32+32/32", "64+32/32"]);
  });

  it("reads no page too many for random single pages, and starts over where a run begins", () => {
    const { cache, windows } = watched(512);
    const file = fileOn(cache, 400, 0, 32);
    for (const index of [100, 300, 50, 222]) read(file, index);
    expect([windows, file.store.requests]).toEqual([[], 4]);
    read(file, 223);
    read(file, 224);
    expect(windows[0]).toBe("223+4/3");
  });

  it("sees a run by the pages in the cache when the file's own state has none", () => {
    const { cache, windows } = watched(512);
    const first = fileOn(cache, 400, 0, 32);
    for (let index = 100; index < 110; index++) read({ ...first, ra: new Int32Array(5) }, index);
    const ra = new Int32Array(5);
    raInit(ra, 0, 32);
    read({ ...first, ra }, 110);
    expect(windows).toEqual(["110+11/1"]);
  });

  it("goes on behind another reader's window", () => {
    const { cache, windows } = watched(512);
    const file = fileOn(cache, 400, 0, 32);
    for (let index = 0; index < 5; index++) read(file, index);
    const ra = new Int32Array(5);
    raInit(ra, 0, 32);
    // Page 12 is marked by the first reader; the second meets it with no state of its own.
    read({ ...file, ra }, 12);
    expect(windows).toEqual(["0+4/3", "4+8/8", "12+16/16", "28+32/32"]);
    expect([ra[RA.start], ra[RA.size]]).toEqual([28, 32]);
  });

  it("ends at the end of the file, and is off with a window of 0", () => {
    const { cache, windows } = watched(512);
    const short = fileOn(cache, 6, 0, 32);
    for (let index = 0; index < 6; index++) read(short, index);
    // The window behind the end is reckoned, and nothing is read of it.
    expect(windows).toEqual(["0+4/3", "4+8/8", "12+16/16"]);
    expect(short.store.requests).toBe(2);
    const off = fileOn(cache, 50, 0, 0);
    for (let index = 0; index < 50; index++) read(off, index);
    expect(off.store.requests).toBe(50);
  });

  it("has the next window on its way before the reader needs it", () => {
    const { cache, fm } = watched(512);
    const file = fileOn(cache, 200, 0, 32);
    file.store.moods = { ...STEADY, wait: 100 };
    let waits = 0;
    for (let index = 0; index < 150; index++) {
      const into = new Uint8Array(PAGE_SIZE);
      while (fileRead(file, index * PAGE_SIZE, into) < 0) {
        waits++;
        file.store.settle();
      }
      expect(into[0]).toBe(index + 1);
      // The disk is fast enough for one request a page read.
      if (index % 2 === 0) file.store.settle();
    }
    expect(waits).toBe(1);
    expect(fm.counters[STAT.Miss]).toBe(0);
    cache.check();
  });

  it("gives way when the cache is smaller than the window: the reader still gets every page", () => {
    const { cache } = watched(5);
    const file = fileOn(cache, 60, 0, 32);
    for (let index = 0; index < 60; index++) read(file, index);
    cache.check();
  });

  it("a failed read ahead is no error until somebody needs the page", () => {
    const { cache } = watched(64);
    const file = fileOn(cache, 40, 0, 32);
    read(file, 0);
    file.store.moods = { ...STEADY, failRead: 100 };
    read(file, 1);
    file.store.moods = STEADY;
    for (let index = 2; index < 40; index++) read(file, index);
  });
});

/** Crash states against the obvious: a copy of the image with the writes that survived put on it one by one. */
import { fc, test } from "@fast-check/vitest";
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { CrashDisk } from "../../../harness/crash/crash_disk.ts";
import { statesOf } from "../../../harness/crash/enumerate.ts";
import { readLogWrites, writeLogWrites } from "../../../harness/crash/log_writes.ts";
import { recordedOf, segmentsOf } from "../../../harness/crash/recorded.ts";
import type { Recorded, Segment } from "../../../harness/crash/recorded.ts";
import { lossText, maskText, parseSet, parseStateId, stateId } from "../../../harness/crash/state_set.ts";
import type { StateSet } from "../../../harness/crash/state_set.ts";
import { LogType } from "../../../harness/nbd/log.ts";
import type { LogEntry } from "../../../harness/nbd/log.ts";

const BLOCK = 1024;
const BLOCKS = 16;
const BOUNDS = { maxSubset: 4, random: 20, sector: 512, tears: true, seed: 3, dropSpan: 512 };

const write = (sector: number, sectors: number, byte: number, fua: boolean): LogEntry => ({
  type: byte === 0 ? LogType.Trim : LogType.Write,
  fua: fua && byte !== 0,
  offset: sector * 512,
  length: sectors * 512,
  ms: 0,
  data: byte === 0 ? undefined : new Uint8Array(sectors * 512).fill(byte),
});
const flush: LogEntry = { type: LogType.Flush, fua: false, offset: 0, length: 0, ms: 0, data: undefined };

const entry = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(fc.nat(26), fc.integer({ min: 1, max: 6 }), fc.nat(4), fc.boolean()) },
  { weight: 1, arbitrary: fc.constant(undefined) },
);
const logs = fc.array(entry, { minLength: 1, maxLength: 14 }).map((rows) => {
  const entries = rows.map((row) => (row === undefined ? flush : write(...row)));
  return recordedOf(new Uint8Array(BLOCKS * BLOCK).fill(9), entries, "a log");
});

/** The obvious way: every byte in order. */
function slowState(recorded: Recorded, segment: Segment, set: StateSet): Uint8Array {
  const image = recorded.base.slice();
  const put = (n: number, from: number, to: number): void => {
    const { offset, length, data } = recorded.writes[n]!;
    for (let at = from; at < Math.min(to, length); at++) image[offset + at] = data?.[at] ?? 0;
  };
  for (let n = 0; n < recorded.epochs[segment.epoch]!; n++) put(n, 0, Infinity);
  let free = 0;
  for (const [at, { serial }] of segment.writes.entries()) {
    if (segment.forced[at]!) put(serial, 0, Infinity);
    else {
      const n = free++;
      if (set.kept[n] === 0) continue;
      if (set.tear?.write !== n) put(serial, 0, Infinity);
      else if (set.tear.head) put(serial, 0, set.tear.bytes);
      else put(serial, set.tear.bytes, Infinity);
    }
  }
  return image;
}

function bytesOf({ image }: CrashDisk): Uint8Array {
  const bytes = new Uint8Array(BLOCKS * BLOCK);
  for (let block = 0; block < BLOCKS; block++)
    bytes.set(image.bytes.subarray(image.at(block), image.at(block) + BLOCK), block * BLOCK);
  return bytes;
}

describe("CrashDisk", () => {
  test.prop([logs], { seed: 7, numRuns: 40 })(
    "each state is, byte for byte, the image with the writes that survived; equal contents have equal keys",
    (recorded) => {
      const disk = new CrashDisk(recorded, BLOCK);
      const contentOf = new Map<number, string>();
      const keyOf = new Map<string, number>();
      for (const segment of segmentsOf(recorded)) {
        const states = statesOf(segment, BOUNDS);
        disk.enter(segment);
        for (let n = 0; n < states.count; n++) {
          const { set } = states.at(n);
          disk.state(set);
          const content = bytesOf(disk);
          if (Buffer.compare(content, slowState(recorded, segment, set)) !== 0)
            throw new Error(`state ${set.text} of epoch ${segment.epoch} has other bytes than the obvious way gives`);
          const hash = createHash("sha256").update(content).digest("hex");
          const key = disk.rawKey();
          if ((contentOf.get(key) ?? hash) !== hash || (keyOf.get(hash) ?? key) !== key)
            throw new Error(`state ${set.text} of epoch ${segment.epoch}: keys and contents do not go together`);
          contentOf.set(key, hash);
          keyOf.set(hash, key);
        }
      }
      // The next one has this one's memory, as it was left.
      disk.close();
    },
  );

  test.prop([logs, fc.array(fc.nat(30), { minLength: 2, maxLength: 6 })], { seed: 8, numRuns: 50 })(
    "enter() goes to any segment, also backwards",
    (recorded, visits) => {
      const segments = segmentsOf(recorded);
      const disk = new CrashDisk(recorded, BLOCK);
      for (const visit of visits) {
        const segment = segments[visit % segments.length]!;
        const set = parseSet(`p${segment.free.length}`, segment.free.length);
        disk.enter(segment);
        disk.state(set);
        expect(bytesOf(disk)).toEqual(slowState(recorded, segment, set));
      }
    },
  );
});

describe("states", () => {
  it("a small epoch has all its subsets once, and its prefixes do not count", () => {
    const recorded = recordedOf(
      new Uint8Array(BLOCKS * BLOCK),
      [1, 2, 3].map((n) => write(n * 2, 2, n, false)),
      "a log",
    );
    const states = statesOf(segmentsOf(recorded)[0]!, { ...BOUNDS, tears: false });
    const all = Array.from({ length: states.count }, (_, n) => states.at(n));
    const counted = all.filter(({ counts }) => counts).map(({ set }) => set.text);
    expect(new Set(counted)).toEqual(new Set(["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"]));
    expect(all.filter(({ counts }) => !counts).map(({ set }) => set.text)).toEqual(["p0", "p1", "p2", "p3"]);
  });

  it("beyond the bound each prefix loses each of its writes but the last", () => {
    const recorded = recordedOf(
      new Uint8Array(BLOCKS * BLOCK),
      [1, 2, 3, 4, 1].map((n) => write(n, 1, n, false)),
      "a log",
    );
    const states = statesOf(segmentsOf(recorded)[0]!, { ...BOUNDS, tears: false, random: 0 });
    const drops = Array.from({ length: states.count }, (_, n) => states.at(n)).filter(({ kind }) => kind === "dropOne");
    expect(new Set(drops.map(({ set }) => set.text))).toEqual(
      new Set(["p2x0", "p3x0", "p3x1", "p4x0", "p4x1", "p4x2", "p5x0", "p5x1", "p5x2", "p5x3"]),
    );
  });

  it("a FUA write is durable for what comes after it, and a marker counts once it was passed", () => {
    const marker: LogEntry = {
      type: LogType.Marker,
      fua: false,
      offset: 0,
      length: 4,
      ms: 0,
      data: Buffer.from("sync"),
    };
    const entries = [write(0, 1, 1, false), write(2, 1, 2, true), marker, write(4, 1, 3, false)];
    const [before, after] = segmentsOf(recordedOf(new Uint8Array(BLOCKS * BLOCK), entries, "a log"));
    expect(before!.forced).toEqual([false, false]);
    expect(after!.forced).toEqual([false, true, false]);
    expect([...before!.markers]).toEqual([0, 0, 0]);
    expect([...after!.markers]).toEqual([0, 1, 1]);
  });

  test.prop([fc.array(fc.boolean(), { minLength: 1, maxLength: 70 })], { seed: 5 })(
    "a mask's text names the same writes again",
    (bits) => {
      const kept = Uint8Array.from(bits, Number);
      expect(parseSet(maskText(kept), kept.length).kept).toEqual(kept);
      const lost = bits.flatMap((bit, n) => (bit ? [] : [n]));
      expect(parseSet(lossText(bits.length, lost, undefined), bits.length).kept).toEqual(kept);
    },
  );

  it("names are read back, and what is none is refused in one line", () => {
    const id = stateId("3f1c0a9b2e4dffff", 4, 2, "p12x5t3+512");
    expect(parseStateId(id)).toEqual({ hash: "3f1c0a9b2e4d", epoch: 4, fuas: 2, set: "p12x5t3+512" });
    for (const bad of ["", "p9", "p2x7", "s1ff", "q3", "o5", "p1t0", "p1t1+512"])
      expect(() => parseSet(bad, 4), bad).toThrow(/is no crash state of this log: /);
    expect(() => parseStateId("e4-p2")).toThrow(/is no name of a crash state/);
  });
});

/** Without the time, which that format does not have. */
const plain = ({ type, fua, offset, length, data }: LogEntry) => ({
  type,
  fua,
  offset,
  length,
  data: data === undefined ? undefined : Buffer.from(data),
});

describe("dm-log-writes", () => {
  test.prop([logs], { seed: 9, numRuns: 50 })(
    "what is written as such a log reads back as the same writes",
    (recorded) => {
      const entries: LogEntry[] = recorded.writes.flatMap(({ offset, length, data, fua }, n) => [
        { type: data === undefined ? LogType.Trim : LogType.Write, fua, offset, length, ms: 0, data },
        ...(n % 3 === 0 ? [flush] : []),
      ]);
      const again = readLogWrites(writeLogWrites(entries));
      expect(again.map(plain)).toEqual(entries.map(plain));
    },
  );

  it("a log that is cut off is refused with the entry", () => {
    const log = writeLogWrites([write(0, 2, 1, false), write(4, 2, 2, false)]);
    expect(() => readLogWrites(log.subarray(0, log.length - 100))).toThrow(/entry 1 of 2 is cut off/);
  });
});

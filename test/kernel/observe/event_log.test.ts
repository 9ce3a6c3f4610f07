import { createHash } from "node:crypto";
import * as fc from "fast-check";
import { expect, it } from "vitest";
import { EVENT_BYTES, Ev } from "../../../kernel/abi/events.ts";
import {
  EventHash,
  EventLog,
  createRings,
  createTracer,
  drainRing,
  noTrace,
  ringCursor,
} from "../../../kernel/worlds.ts";

const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const event = fc.tuple(
  fc.nat({ max: 2 ** 31 - 1 }),
  fc.integer({ min: 1, max: 0xffff }),
  fc.nat({ max: 63 }),
  int32,
  int32,
  int32,
  int32,
);

it("EventLog returns every field of every record it took, and keeps its count", () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 50 }), (events) => {
      const log = new EventLog(1);
      for (const [time, type, cpu, a, b, c, d] of events) log.append(time + 0.5, type, cpu, a, b, c, d);
      const read = events.map((_, i) => [
        log.timeAt(i) - 0.5,
        log.typeAt(i),
        log.cpuAt(i),
        log.aAt(i),
        log.bAt(i),
        log.cAt(i),
        log.dAt(i),
      ]);
      expect(read).toEqual(events);
      expect(log.bytes().length).toBe(events.length * EVENT_BYTES);
      expect(log.cpus).toBe(Math.max(1, ...events.map(([, , cpu]) => cpu + 1)));
    }),
    { seed: 1 },
  );
});

it("EventLog keeps records apart across its blocks", () => {
  const log = new EventLog(1);
  const count = 3 * 32_768 + 5;
  for (let i = 0; i < count; i++) log.append(i, Ev.Mark, 0, i, -i, 0, 0);
  for (let i = 0; i < count; i += 1) if (log.timeAt(i) !== i || log.bAt(i) !== -i) expect.fail(`record ${i}`);
  log.sortByTime();
  expect(new Int32Array(log.bytes().buffer).at(-1)).toBe(count - 1);
  expect(log.aAt(65_536)).toBe(65_536);
});

it("EventLog.sortByTime() is a stable sort", () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 5 }), { maxLength: 40 }), (times) => {
      const log = new EventLog(1);
      for (const [i, time] of times.entries()) log.append(time, Ev.Mark, 0, i, 0, 0, 0);
      log.sortByTime();
      const model = times.map((time, i) => ({ time, i })).sort((x, y) => x.time - y.time || x.i - y.i);
      expect(model.map((_, row) => ({ time: log.timeAt(row), i: log.aAt(row) }))).toEqual(model);
    }),
    { seed: 1 },
  );
});

it("EventHash is the SHA-256 of the records a log of the same events holds", () => {
  for (const count of [0, 1, 2047, 2048, 2049, 10_000]) {
    const log = new EventLog();
    const hash = new EventHash();
    const now = new Float64Array(1);
    const sink = createTracer({ now, log, hash });
    for (let i = 0; i < count; i++) {
      now[0]! += i % 7;
      sink(Ev.SchedSwitch, i % 3, i, -i, i % 5, 0);
    }
    const expected = createHash("sha256").update(log.bytes()).digest("hex");
    expect(hash.hex()).toBe(expected);
    expect(hash.hex()).toBe(expected);
    expect(hash.count).toBe(count);
  }
});

const digest = (change: number): string => {
  const hash = new EventHash();
  for (let i = 0; i < 3000; i++) {
    const fields = [i, 1, 0, 1, 2, 3, 4];
    if (i === 2500 && change >= 0) fields[change]!++;
    const [time, type, cpu, a, b, c, d] = fields as [number, number, number, number, number, number, number];
    hash.take(time, type, cpu, a, b, c, d);
  }
  return hash.hex();
};

it("EventHash differs when any one field of one event differs (canary)", () => {
  const digests = new Set([-1, 0, 1, 2, 3, 4, 5, 6].map(digest));
  expect(digests.size).toBe(8);
});

it("createTracer() gives each part the same events, and nothing is one empty function", () => {
  expect(createTracer({ now: () => 0 })).toBe(noTrace);
  const parts = { log: new EventLog(2), hash: new EventHash(), rings: createRings(2, 8) };
  let time = 0;
  const all = createTracer({ now: () => time, ...parts });
  const alone = { log: new EventLog(2), hash: new EventHash() };
  const onlyLog = createTracer({ now: () => time, log: alone.log });
  const onlyHash = createTracer({ now: () => time, hash: alone.hash });
  for (time = 1; time < 7; time++) for (const sink of [all, onlyLog, onlyHash]) sink(Ev.Tick, time & 1, time, 0, 0, 0);
  expect(alone.log.bytes()).toEqual(parts.log.bytes());
  expect(alone.hash.hex()).toBe(parts.hash.hex());
  const fromRings = new EventLog(2);
  for (const ring of parts.rings.rings) drainRing(ringCursor(ring), fromRings);
  fromRings.sortByTime();
  expect(fromRings.bytes()).toEqual(parts.log.bytes());
});

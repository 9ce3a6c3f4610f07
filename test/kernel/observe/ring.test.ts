import { once } from "node:events";
import { setImmediate as nextTurn } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import * as fc from "fast-check";
import { expect, it } from "vitest";
import { EventLog, attachRings, createRings, drainRing, ringCursor, ringWrite } from "../../../kernel/worlds.ts";

const values = (log: EventLog): number[] => Array.from({ length: log.count }, (_, row) => log.aAt(row));

it("a ring read at any moments gives what a list of its last records gives, and counts the rest as lost", () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 30 }), { maxLength: 30 }), (bursts) => {
      const records = 8;
      const { buffer } = createRings(2, records);
      const ring = attachRings(buffer).rings[1]!;
      const cursor = ringCursor(attachRings(buffer).rings[1]!);
      let written = 0;
      let lost = 0;
      for (const burst of bursts) {
        for (let i = 0; i < burst; i++, written++) ringWrite(ring, written, 5, written, 0, 0, -1);
        const log = new EventLog(2);
        drainRing(cursor, log);
        const kept = Math.min(burst, records);
        lost += burst - kept;
        expect(values(log)).toEqual(Array.from({ length: kept }, (_, i) => written - kept + i));
        expect(cursor.lost).toBe(lost);
        if (kept > 0) expect([log.cpuAt(0), log.typeAt(0), log.dAt(0)]).toEqual([1, 5, -1]);
      }
    }),
    { seed: 1 },
  );
});

it("serials go through 2^31 and 2^32 without a gap", () => {
  for (const start of [2 ** 31 - 3, -3]) {
    const ring = createRings(1, 4).rings[0]!;
    ring.words[0] = start;
    ring.words[1] = start;
    const cursor = ringCursor(ring);
    cursor.next = start | 0;
    const log = new EventLog();
    for (let i = 0; i < 9; i++) {
      ringWrite(ring, i, 1, i, 0, 0, 0);
      if (i % 3 === 2) drainRing(cursor, log);
    }
    expect(values(log)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    expect(cursor.lost).toBe(0);
  }
});

it("no torn record is returned while another thread writes without pause", async () => {
  const records = 400_000;
  const { buffer, rings } = createRings(2, 64);
  const worker = new Worker(new URL("./ring_worker.ts", import.meta.url), { workerData: { buffer, records } });
  let ended = false;
  const exit = once(worker, "exit").finally(() => (ended = true));
  const cursor = ringCursor(rings[1]!);
  let seen = 0;
  let drains = 0;
  while (cursor.next < records) {
    await nextTurn();
    if (ended && Atomics.load(rings[1]!.words, 1) !== records) break;
    const log = new EventLog(2);
    const lostBefore = cursor.lost;
    drainRing(cursor, log);
    if (cursor.lost > lostBefore) drains++;
    for (let row = 0; row < log.count; row++, seen++) {
      const i = log.aAt(row);
      const whole =
        log.timeAt(row) === i && log.bAt(row) === ~i && log.cAt(row) === (i ^ 0x5555) && log.dAt(row) === i + 7;
      if (!whole) expect.fail(`record ${i} is torn`);
    }
  }
  await exit;
  expect(seen + cursor.lost).toBe(records);
  expect(drains).toBeGreaterThan(0);
});

it("attachRings() panics on a buffer that is none", () => {
  expect(() => attachRings(new SharedArrayBuffer(4096))).toThrow(/not a buffer of event rings/);
});

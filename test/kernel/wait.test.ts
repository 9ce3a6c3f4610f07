/** Who sleeps on what, against a list a channel. */
import { fc, test } from "@fast-check/vitest";
import { expect, it } from "vitest";
import { Arena } from "../../kernel/lib/arena.ts";
import { isDiskWait, Wait, WAIT_NAMES, WaitQueues } from "../../kernel/wait.ts";

const SEED = 20_261_128;
const ROWS = 9;
const made = (): WaitQueues => new WaitQueues(new Arena(new SharedArrayBuffer(WaitQueues.bytes(ROWS))), ROWS);
const op = fc.record({
  row: fc.integer({ min: 1, max: ROWS - 1 }),
  channel: fc.integer({ min: 1, max: Wait.channels - 1 }),
});

test.prop([fc.array(op)], { seed: SEED })("the oldest sleeper of each channel comes first, and leaves once", (ops) => {
  const waits = made();
  const model: number[][] = Array.from({ length: Wait.channels }, () => []);
  for (const { row, channel } of ops) {
    const on = model.findIndex((rows) => rows.includes(row));
    if (on < 0) {
      waits.sleepOn(row, channel);
      model[channel]!.push(row);
    } else {
      expect(waits.leave(row)).toBe(true);
      model[on] = model[on]!.filter((other) => other !== row);
      expect(waits.leave(row)).toBe(false);
    }
    for (let c = 1; c < Wait.channels; c++) expect(waits.oldest(c)).toBe(model[c]![0] ?? 0);
    for (let p = 1; p < ROWS; p++)
      expect(waits.channel[p]).toBe(
        Math.max(
          0,
          model.findIndex((rows) => rows.includes(p)),
        ),
      );
  }
});

it("a task waits for one thing at a time", () => {
  const waits = made();
  waits.sleepOn(3, Wait.Pipe);
  expect(() => waits.sleepOn(3, Wait.Timer)).toThrow(/waits already/);
  expect(() => waits.sleepOn(4, Wait.None)).toThrow(/waits already/);
});

it("every channel has a name, and those of the disk are data to filesystem", () => {
  expect(WAIT_NAMES).toHaveLength(Wait.channels);
  const disk = WAIT_NAMES.filter((_, channel) => isDiskWait(channel));
  expect([disk.includes("data"), disk.includes("filesystem"), disk.includes("pipe")]).toEqual([true, true, false]);
  expect([disk[0], disk.at(-1)]).toEqual(["data", "filesystem"]);
});

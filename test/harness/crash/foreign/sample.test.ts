/** A sample of crash states: distinct, from everywhere, the same for the same seed. */
import { expect, it } from "vitest";
import { CrashDisk } from "../../../../harness/crash/crash_disk.ts";
import { statesOf } from "../../../../harness/crash/enumerate.ts";
import { recordedOf, segmentsOf } from "../../../../harness/crash/recorded.ts";
import { sampleStates } from "../../../../harness/crash/foreign/sample.ts";
import { LogType } from "../../../../harness/nbd/log.ts";

const BLOCK = 4096;
const EPOCHS = 12;
const write = (block: number, byte: number) => ({
  type: LogType.Write,
  fua: false,
  offset: block * BLOCK,
  length: BLOCK,
  ms: 0,
  data: new Uint8Array(BLOCK).fill(byte),
});
const FLUSH = { type: LogType.Flush, fua: false, offset: 0, length: 0, ms: 0, data: undefined };

/** Epochs of 1 to 12 writes, and one of none: small ones have all subsets, large ones other kinds. */
const ENTRIES = Array.from({ length: EPOCHS }, (_, epoch) => [
  ...Array.from({ length: epoch + 1 }, (_none, n) => write(epoch * EPOCHS + n, epoch + 1)),
  FLUSH,
]).flat();
const BOUNDS = { maxSubset: 6, random: 20, sector: 512, tears: true, seed: 1, dropSpan: 8 };

function sample(wanted: number, seed = 1) {
  const recorded = recordedOf(new Uint8Array(EPOCHS * EPOCHS * BLOCK), ENTRIES, "log");
  const segments = segmentsOf(recorded).map((segment) => statesOf(segment, BOUNDS));
  return sampleStates(new CrashDisk(recorded, BLOCK), segments, wanted, seed);
}

it("as many distinct contents as are wanted, the same ones for the same seed", () => {
  const { states, inAll } = sample(200);
  expect(states).toHaveLength(200);
  expect(new Set(states.map(({ key }) => key)).size).toBe(200);
  expect(inAll).toBeGreaterThan(2_000);
  const texts = (of: typeof states): string[] => of.map(({ segment, set }) => `${segment} ${set.text}`);
  expect(texts(sample(200).states)).toEqual(texts(states));
  expect(texts(sample(200, 2).states)).not.toEqual(texts(states));
});

it("every epoch and every kind of state has its share", () => {
  const { states } = sample(200);
  const count = (of: (state: (typeof states)[number]) => string | number) =>
    Object.values(Object.groupBy(states, (state) => String(of(state)))).map((group) => group!.length);
  const bySegment = count(({ segment }) => segment);
  expect(bySegment).toHaveLength(EPOCHS + 1);
  expect(Math.max(...bySegment)).toBeLessThan(200 / 4);
  expect(new Set(states.map(({ kind }) => kind))).toEqual(
    new Set(["subset", "dropOne", "onlyOne", "random", "torn", "tail", "prefix"]),
  );
});

it("fewer than there are kinds and epochs are drawn by chance, not from the beginning", () => {
  const { states } = sample(16);
  expect(states).toHaveLength(16);
  expect(states.filter(({ segment }) => segment >= EPOCHS / 2).length).toBeGreaterThan(4);
});

it("when all are wanted, there is each content once, and an end", () => {
  const { states } = sample(1_000_000);
  const keys = new Set(states.map(({ key }) => key));
  expect(keys.size).toBe(states.length);
  expect(states.length).toBeGreaterThan(1_000);
});

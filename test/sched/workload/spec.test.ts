import { fc, test } from "@fast-check/vitest";
import { expect, it } from "vitest";
import { Op, SPEC_US_MAX, parseSpecs, specText, specWorkload } from "../../../sched/index.ts";

const us = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: SPEC_US_MAX }));
const spec = fc.record({ nice: fc.integer({ min: -20, max: 19 }), burstUs: us, sleepUs: us });

test.prop([fc.array(spec, { minLength: 1, maxLength: 20 }), fc.constantFrom(" ", "\n", "  \t")], { seed: 1 })(
  "parseSpecs(specText) gives the specifications back",
  (specs, gap) => {
    expect(parseSpecs(` ${specs.map(specText).join(gap)} `)).toEqual(specs);
  },
);

test.prop([fc.stringMatching(/^[0-9:+ .eNa-]{0,30}$/)], { seed: 1, numRuns: 2000 })(
  "any text is parsed or refused in one line",
  (text) => {
    const parsed = parseSpecs(text);
    if ("error" in parsed) expect(parsed.error).toMatch(/^[^\n]+$/);
    else expect(parsed.map(specText).map((word) => parseSpecs(word))).toEqual(parsed.map((one) => [one]));
  },
);

for (const [text, message] of [
  ["", /no task specification/],
  ["0:0:0 20:0:0", /task 2 "20:0:0": nice is "20"; a whole number from -20 to 19/],
  ["0:-1:0", /burst_us is "-1"; a whole number from 0 to 3600000000/],
  ["0:0:1e3", /sleep_us is "1e3"/],
  ["NaN:0:0", /nice is "NaN"/],
  ["0:0", /2 of 3 parts/],
  ["0:0:0:0", /4 of 3 parts/],
  ["::", /nice is ""/],
  ["0:3600000001:0", /burst_us is "3600000001"/],
] as const)
  it(`parseSpecs("${text}") names the part and the range`, () => {
    expect(parseSpecs(text)).toEqual({ error: expect.stringMatching(message) });
  });

it("parseSpecs() refuses more tasks than a machine has", () => {
  expect(parseSpecs("0:0:0 ".repeat(65_536))).toEqual({ error: expect.stringMatching(/at most 65535/) });
});

it("a burst is followed by its sleep; burst 0 never sleeps; one starts after the other, as forked", () => {
  const { tasks } = specWorkload([
    { nice: -5, burstUs: 2000, sleepUs: 8000 },
    { nice: 3, burstUs: 0, sleepUs: 7 },
  ]);
  expect(tasks.map(({ name, nice, startNs }) => [name, nice, startNs])).toEqual([
    ["-5:2000:8000", -5, 0],
    ["3:0:7", 3, 4_500_000],
  ]);
  expect([...tasks[0]!.program.ops]).toEqual([Op.Poll, Op.Sleep]);
  expect([...tasks[0]!.program.args]).toEqual([2e6, 8e6]);
  expect([...tasks[1]!.program.ops]).toEqual([Op.Run]);
  expect(tasks.every(({ program }) => program.loopTo === 0)).toBe(true);
});

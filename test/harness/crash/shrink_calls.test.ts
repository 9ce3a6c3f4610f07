/** Shrinking a workload: the fewest calls, and those that only set the stage apart; and work that never ends. */
import { describe, expect, it } from "vitest";
import type { AceCall } from "../../../harness/crash/ace.ts";
import { operationsIn, smallestWorkload } from "../../../harness/crash/shrink_calls.ts";
import { CutOff, withinMs } from "../../../harness/crash/time_limit.ts";

const calls: readonly AceCall[] = [
  "creat a",
  "sync /",
  "creat b",
  "write a",
  "hold b",
  "unlink b",
  "fsync a",
  "idle /",
].map((text) => {
  const [op, path] = text.split(" ") as [AceCall["op"], string];
  return { op, path, setup: false };
});
const words = (list: readonly AceCall[]): string => list.map(({ op, path }) => `${op} ${path}`).join(", ");

describe("smallestWorkload()", () => {
  it("puts before the recording what only makes other calls possible, and never a held file", () => {
    const asked: string[] = [];
    const small = smallestWorkload(calls, (some, before) => {
      asked.push(`${words(before)} | ${words(some)}`);
      const all = words([...before, ...some]);
      // It shows when b is held and unlinked while the disk is recorded.
      return all.includes("creat b") && words(some).includes("hold b") && words(some).includes("unlink b");
    });
    expect([words(small.before), words(small.calls)]).toEqual(["creat b", "hold b, unlink b"]);
    expect(new Set(asked).size).toBe(asked.length);
  });

  it("leaves before the recording nothing that is not needed", () => {
    const small = smallestWorkload(calls, (some) => words(some).includes("fsync a"));
    expect([words(small.before), words(small.calls)]).toEqual(["", "fsync a"]);
  });

  it("operationsIn() counts what changes something", () => {
    expect(operationsIn(calls)).toBe(5);
  });
});

describe("withinMs()", () => {
  it("cuts off a loop that never ends, and works again afterwards", () => {
    expect(() =>
      withinMs(20, () => {
        for (;;);
      }),
    ).toThrow(CutOff);
    expect(withinMs(1000, () => 7)).toBe(7);
  });

  it("passes on what the work throws", () => {
    expect(() =>
      withinMs(1000, () => {
        throw new RangeError("mine");
      }),
    ).toThrow(RangeError);
  });
});

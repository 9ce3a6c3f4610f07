import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { byteSize, oneOf, realNumber, SEED_MAX, sizeText, wholeNumber } from "../../../harness/cli/args.ts";

const SEED = 20261121;

/** What the reader made of it, or undefined when it refused. */
function read<T>(reader: (text: string) => T, text: string): T | undefined {
  try {
    return reader(text);
  } catch (error) {
    expect((error as Error).name).toBe("InvalidArgumentError");
    return undefined;
  }
}

describe("wholeNumber()", () => {
  it("takes exactly the decimal spellings of its range", () => {
    const reader = wholeNumber(0, SEED_MAX);
    fc.assert(
      fc.property(fc.bigInt({ min: -10n, max: 2n ** 55n }), (value) => {
        const expected = value >= 0n && value <= BigInt(SEED_MAX) ? Number(value) : undefined;
        expect(read(reader, String(value))).toBe(expected);
      }),
      { seed: SEED },
    );
  });

  it("refuses what Number() would take or guess", () => {
    for (const text of [
      "",
      " ",
      " 1",
      "1 ",
      "+1",
      "-0",
      "1.0",
      "1e3",
      "0x10",
      "0b1",
      "NaN",
      "Infinity",
      "1_000",
      "٣",
      "1n",
    ])
      expect(read(wholeNumber(0, 1e6), text), text).toBeUndefined();
  });
});

describe("realNumber()", () => {
  it("reads back what a finite number prints", () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, min: -1e300, max: 1e300 }), (value) => {
        const got = read(realNumber(-1e300, 1e300), String(value));
        expect(got === value).toBe(true);
      }),
      { seed: SEED },
    );
  });

  it("refuses NaN, infinities, blanks and what is out of range", () => {
    for (const text of ["NaN", "Infinity", "-Infinity", "", " ", "1,5", "0x1", ".", "e5", "11", "-0.1"])
      expect(read(realNumber(0, 10), text), text).toBeUndefined();
  });
});

describe("byteSize() and sizeText()", () => {
  it("read each other", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 43 }), (bytes) => {
        expect(read(byteSize(0, 2 ** 43), sizeText(bytes))).toBe(bytes);
      }),
      { seed: SEED },
    );
  });

  it("know the usual spellings, and refuse the rest", () => {
    const reader = byteSize(1, 2 ** 40);
    const good = {
      "512": 512,
      "4K": 4096,
      "4k": 4096,
      "64MiB": 2 ** 26,
      "64MB": 2 ** 26,
      "1.5M": 1572864,
      "1T": 2 ** 40,
    };
    for (const [text, bytes] of Object.entries(good)) expect(read(reader, text), text).toBe(bytes);
    for (const text of ["0", "-1", "1.3", "K", "4X", "4 K", "", "2T", "1e3", "NaN"])
      expect(read(reader, text), text).toBeUndefined();
  });
});

it("oneOf() takes the names themselves and suggests the nearest", () => {
  const reader = oneOf(["fifo", "cfs", "eevdf"]);
  expect(reader("cfs")).toBe("cfs");
  expect(() => reader("evdf")).toThrow("Did you mean eevdf?");
  expect(() => reader("")).toThrow("One of: fifo, cfs, eevdf.");
  expect(() => reader("toString")).toThrow("One of:");
});

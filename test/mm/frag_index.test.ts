import { describe, expect, it } from "vitest";
import {
  fragmentationIndex,
  fragmentationText,
  unusableIndex,
  unusableShare,
  unusableText,
} from "../../mm/frag_index.ts";

const orders = Array.from({ length: 11 }, (_, order) => order);

describe("indexes equal Linux's integers", () => {
  it("1983 single frames", () => {
    const counts = [1983, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const text = orders.map((order) => fragmentationText(fragmentationIndex(counts, order)).trim()).join(" ");
    expect(text).toBe("-1.000 0.500 0.750 0.875 0.937 0.969 0.984 0.992 0.996 0.998 0.999");
  });

  it("a real guest's DMA32", () => {
    const counts = [6, 4, 6, 4, 3, 7, 9, 8, 6, 3, 8];
    const text = orders.map((order) => unusableText(unusableIndex(counts, order))).join(" ");
    expect(text).toBe("0.000 0.000 0.001 0.002 0.005 0.008 0.025 0.069 0.147 0.263 0.379");
    expect(unusableShare(counts, 10)).toBeCloseTo(0.3797, 4);
  });

  it("nothing free: all is unusable, and no request fails of fragmentation", () => {
    expect(unusableIndex([0, 0], 0)).toBe(1000);
    expect(unusableShare([0, 0], 0)).toBe(1);
    expect(fragmentationIndex([0, 0], 5)).toBe(0);
  });

  it("one block smaller than the request gives a negative index", () => {
    expect(fragmentationIndex([0, 0, 1], 3)).toBe(1000 - 1500);
    expect(fragmentationIndex([1], 4)).toBe(1000 - 1062);
  });

  it("an order beyond the largest has no index", () => {
    expect(fragmentationIndex([5], 11)).toBe(0);
  });
});

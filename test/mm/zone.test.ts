import { describe, expect, it } from "vitest";
import { batchSize, highSize } from "../../mm/pcp.ts";
import { ZONE, hugePageMinFreeKbytes, lowmemReserve, minFreeKbytes, watermarks } from "../../mm/zone.ts";
import { MiB, smallMachine } from "./machine.ts";

describe("watermark formulas equal Linux's", () => {
  it("a zone of 1 GiB: 1024, 1286, 1548 pages", () => {
    const kb = minFreeKbytes(1024 * 1024);
    expect(kb).toBe(4096);
    expect(watermarks(kb, 262_144, 262_144)).toEqual({ min: 1024, low: 1286, high: 1548 });
  });

  it("min_free_kbytes is the square root of sixteen times the low memory, within its bounds", () => {
    expect(minFreeKbytes(512)).toBe(128);
    expect(minFreeKbytes(16 * 1024)).toBe(512);
    expect(minFreeKbytes(64 * 1024 * 1024)).toBe(32_768);
    expect(minFreeKbytes(2 ** 40)).toBe(262_144);
  });

  it("khugepaged wants 11 pageblocks a zone, at most 5 % of low memory", () => {
    expect(hugePageMinFreeKbytes(4096, 1, 1 << 20, 512)).toBe(5632 * 4);
    expect(hugePageMinFreeKbytes(4096, 2, 1 << 20, 512)).toBe(11_264 * 4);
    expect(hugePageMinFreeKbytes(4096, 1, 20_000, 512)).toBe(4096);
    expect(hugePageMinFreeKbytes(2048, 1, 20_000, 512)).toBe(4000);
  });

  it("lowmem reserve is what lies above, by the zone's ratio", () => {
    const specs = [
      { name: "DMA", start: 0, end: 4096 },
      { name: "DMA32", start: 4096, end: 1 << 19 },
      { name: "Normal", start: 1 << 19, end: 1 << 20 },
    ] as const;
    expect(lowmemReserve(specs, [3840, 256_000, 512_000], 0, 1)).toBe(1000);
    expect(lowmemReserve(specs, [3840, 256_000, 512_000], 0, 2)).toBe(3000);
    expect(lowmemReserve(specs, [3840, 256_000, 512_000], 1, 2)).toBe(2000);
  });

  it("per-CPU batch and high", () => {
    expect(batchSize(262_144)).toBe(63);
    expect(batchSize(65_536)).toBe(15);
    expect(batchSize(8192)).toBe(1);
    expect(batchSize(3840)).toBe(1);
    expect(highSize(1286, 1, 63)).toBe(1286);
    expect(highSize(1286, 8, 63)).toBe(252);
  });

  it("a machine is set up with them", () => {
    const { words } = smallMachine(1024 * MiB).zones[0]!;
    expect([words[ZONE.min], words[ZONE.low], words[ZONE.high]]).toEqual([1024, 1286, 1548]);
    expect(words[ZONE.managed]).toBe(262_144);
  });
});

/** Index and watermark formulas against a running Linux, and how its files are read. */
import { describe, expect, it } from "vitest";
import { guestFormulas, indexLines, zonesIn } from "../../harness/mm/guest_formulas.ts";
import { guest } from "../harness/qemu/tools.ts";
import { thorough } from "../tier.ts";

it("indexLines() prints as debugfs does", () => {
  const { unusable, extfrag } = indexLines(
    new Map([
      ["DMA32", [6, 4, 6, 4, 3, 7, 9, 8, 6, 3, 8]],
      ["Normal", [1983, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
    ]),
  );
  expect(unusable[0]).toBe("Node 0, zone    DMA32 0.000 0.000 0.001 0.002 0.005 0.008 0.025 0.069 0.147 0.263 0.379 ");
  expect(extfrag[1]).toBe(
    "Node 0, zone   Normal -1.000  0.500  0.750  0.875  0.937  0.969  0.984  0.992  0.996  0.998  0.999 ",
  );
});

it("zonesIn() reads the zones that have memory", () => {
  const text = `Node 0, zone    DMA32
  per-node stats
      nr_file_pages 0
  pages free     44553
        boost    0
        min      427
        low      533
        high     639
        managed  52069
        protection: (0, 192, 0)
  pagesets
    cpu: 0
              count: 273
              high:  533
              batch: 15
Node 0, zone   Normal
  pages free     0
        managed  0
`;
  expect(zonesIn(text)).toEqual([
    {
      name: "DMA32",
      managed: 52_069,
      min: 427,
      low: 533,
      high: 639,
      protection: [0, 192, 0],
      pcpHigh: 533,
      pcpBatch: 15,
    },
  ]);
});

describe.skipIf(!guest)("a real guest (needs qemu-system-x86, busybox-static and the fetched kernel)", () => {
  it.runIf(thorough)(
    "its indexes, watermarks, reserves and list sizes are ours, digit for digit",
    async () => {
      const { rows } = await guestFormulas({ memoryMiB: 128, progress: () => undefined });
      expect(rows.length).toBeGreaterThanOrEqual(6);
      for (const { formula, compared, equal, difference } of rows) {
        expect({ formula, difference, equal }).toEqual({ formula, difference: null, equal: compared });
        expect(compared).toBeGreaterThan(0);
      }
    },
    120_000,
  );
});

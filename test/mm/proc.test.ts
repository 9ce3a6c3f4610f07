import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { GFP } from "../../mm/gfp.ts";
import {
  buddyinfo,
  pagetypeinfo,
  parseBuddyinfo,
  parsePagetypeinfo,
  readVmEvents,
  vmstat,
  zoneinfo,
  zonesOf,
} from "../../mm/proc.ts";
import { MiB, smallMachine } from "./machine.ts";

const guest = readFileSync("test/fixtures/mm/linux61-kmem-a.before.txt", "utf8");

describe("/proc text", () => {
  it("a real guest's buddyinfo and pagetypeinfo come back byte for byte", () => {
    const zones = parsePagetypeinfo(guest)!;
    const split = guest.indexOf("Page block order");
    expect(buddyinfo(zones)).toBe(guest.slice(0, split));
    expect(pagetypeinfo(zones, 9)).toBe(guest.slice(split));
    expect(parseBuddyinfo(guest).get("DMA32")).toEqual(zones[1]!.free);
  });

  it("text that is none is refused", () => {
    expect(parsePagetypeinfo("hello")).toBeUndefined();
    expect(parseBuddyinfo("hello").size).toBe(0);
  });

  it("our own state, written and read back", () => {
    const mm = smallMachine(64 * MiB, { cpus: 2 });
    mm.alloc(0, GFP.GFP_KERNEL, 3, 1);
    mm.alloc(1, GFP.GFP_HIGHUSER_MOVABLE, 0, 1);
    const zones = zonesOf(mm);
    expect(parsePagetypeinfo(buddyinfo(zones) + pagetypeinfo(zones, 9))).toEqual(zones);
    expect(zones[0]!.pageblocks).toEqual([2, 30, 0, 0, 0]);
  });

  it("zoneinfo and vmstat", () => {
    const mm = smallMachine(64 * MiB);
    const pfn = mm.alloc(0, GFP.GFP_KERNEL, 0, 1) as never;
    mm.alloc(0, GFP.GFP_KERNEL, 5, 1);
    mm.free(0, pfn, 0);
    const counts = readVmEvents(mm);
    expect([counts.pgalloc_dma32, counts.pgfree]).toEqual([33, 1]);
    expect(vmstat(mm)).toMatch(/^nr_free_pages 16349\npgalloc_dma 0\npgalloc_dma32 33\n/);
    expect(zoneinfo(mm)).toMatchInlineSnapshot(`
      "Node 0, zone    DMA32
        pages free     16349
              boost    0
              min      256
              low      320
              high     384
              spanned  16384
              present  16384
              managed  16384
              cma      0
              protection: (0)
            nr_free_pages 16349
        pagesets
          cpu: 0
                    count: 3
                    high:  320
                    batch: 3
        node_unreclaimable:  0
        start_pfn:           0
      "
    `);
  });
});

/** The churn that a real guest and our allocator run side by side: its encoding, its report, and one short run. */
import { describe, expect, it } from "vitest";
import { workload } from "../../harness/mm/frag.ts";
import { encodeSchedule, guestChurn, parseChurn } from "../../harness/mm/guest_churn.ts";
import { findTool } from "../../harness/qemu/packages.ts";
import { Migrate } from "../../mm/index.ts";
import { guest } from "../harness/qemu/tools.ts";
import { thorough } from "../tier.ts";

it("encodeSchedule() says of each step kind, end, and whether a sample comes before it", () => {
  const work = workload(3, { frames: 1000, steps: 9000 }, true);
  const words = encodeSchedule(work);
  let samples = 0;
  for (let step = 0; step < 9000; step++) {
    const word = words.readUInt32LE(4 * step);
    expect(word >>> 31).toBe(work.kind[step] === Migrate.Movable ? 0 : 1);
    expect(word & 0x3fffffff).toBe(Math.min(work.dies[step]!, 9000));
    samples += (word >>> 30) & 1;
  }
  expect(samples).toBeGreaterThan(20);
  expect(new Set(work.kind)).toEqual(new Set([Migrate.Movable, Migrate.Unmovable]));
  expect(Math.max(...work.order)).toBe(0);
});

const ZEROS = " 0 0 0 0 0 0 0 0 0";
const TYPES = ["Unmovable", "Movable", "Reclaimable", "HighAtomic", "Isolate"];
const START = `== start
Free pages count per migrate type at order 0 1 2 3 4 5 6 7 8 9 10
${TYPES.map((name, type) => `Node    0, zone    DMA32, type ${name}  ${type === 1 ? 7 : 0} 2${ZEROS}`).join("\n")}

Number of blocks type     Unmovable      Movable  Reclaimable   HighAtomic      Isolate
Node 0, zone    DMA32            1            9            0            0            0
pgmigrate_success 5
`;

it("parseChurn() reads what guest_churn prints; text that ends early is an error", () => {
  const sample = `== sample 12 3 4\nNode 0, zone    DMA32      1      2${ZEROS}\n`;
  const text = `${START}${sample}== end 100\npgmigrate_success 30\n`;
  const { start, samples, moved } = parseChurn(text);
  expect(start[0]).toMatchObject({ name: "DMA32", free: [7, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0] });
  expect(samples).toEqual([{ free: [1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0], huge: 3, asked: 4 }]);
  expect(moved).toBe(25);
  expect(() => parseChurn(`${START}${sample}`)).toThrow("did not come to its end");
});

/** Fewer than a guest of 128 MiB has free; it needs no second one to find out. */
const FREE_FRAMES = 12_000;
const silent = (): void => {};
const canRun = guest && findTool("gcc") !== undefined;
describe.skipIf(!canRun)("a real guest (needs qemu-system-x86, busybox-static, the fetched kernel and gcc)", () => {
  it.runIf(thorough)(
    "carries out the schedule: at every sample it has as much free as our allocator, and all samples are there",
    async () => {
      const options = { memoryMiB: 128, freeFrames: FREE_FRAMES };
      const report = await guestChurn({ seed: 5, seconds: 1, proactiveness: 100, progress: silent, ...options });
      const [linux, ours] = report.rows;
      expect(report.shortfall).toBe(0);
      expect(linux!.samples).toBe(ours!.samples);
      expect(ours!.samples).toBeGreaterThan(20);
      expect(Math.abs(linux!.freeFrames / ours!.freeFrames - 1)).toBeLessThan(0.05);
      expect(linux!.hugeSuccess).toBeGreaterThan(0.3);
    },
    300_000,
  );
});

import { expect, it } from "vitest";
import { coupling } from "../../../harness/machine/coupling.ts";

it("the wings act on each other: a memory hog slows readers, a slower disk makes CPUs wait", async () => {
  const [calm, hog, slow] = await coupling(0.25, 1, { memoryBytes: 64 * 2 ** 20, cpus: 2, disk: "new:64M" });
  expect(calm!.refaults).toBe(0);
  expect(calm!.memoryStall).toBe(0);
  expect(hog!.refaults).toBeGreaterThan(100);
  expect(hog!.diskReads).toBeGreaterThan(calm!.diskReads + 100);
  expect(hog!.memoryStall).toBeGreaterThan(0);
  expect(hog!.readMeanUs).toBeGreaterThan(1.2 * calm!.readMeanUs);
  expect(slow!.iowait).toBeGreaterThan(1.2 * calm!.iowait);
  expect(slow!.syncMeanUs).toBeGreaterThan(1.5 * calm!.syncMeanUs);
});

/** A real Linux mounts what we recovered, and sees the tree that it recovers itself. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { guest } from "../qemu/tools.ts";
import { CRASHED, plainImage, recovered } from "./crashed.ts";
import { BOOT_MS, GuestReader } from "./guest_tree.ts";
import { sample } from "../../tier.ts";

const IMAGE_BYTES_MAX = 64 << 20;
/** When orphans were deleted: does not matter here. */
const NOW = 1_700_000_000;

describe.skipIf(!guest)("Linux (needs qemu-system-x86, busybox-static and the fetched kernel)", () => {
  const reader = new GuestReader(IMAGE_BYTES_MAX);
  beforeAll(() => reader.start(), BOOT_MS);
  afterAll(() => reader.stop());

  it.each(sample(CRASHED, 4))(
    "$name: mounts the recovered image without a word, and lists the same tree",
    async (crashed) => {
      const bytes = recovered(plainImage(crashed), "kernel", NOW);
      expect(await reader.read(bytes)).toEqual({ lines: crashed.expected, messages: [] });
    },
  );

  it("an image that was not recovered is told from one that was", async () => {
    const [first] = CRASHED;
    const { lines, messages } = await reader.read(plainImage(first!));
    expect(lines).toEqual(first!.expected);
    expect(messages.join("\n")).toMatch(/recovery complete/);
  });
});

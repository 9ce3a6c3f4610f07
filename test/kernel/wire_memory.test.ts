import { describe, expect, it } from "vitest";
import type { Frames } from "../../kernel/abi/frames.ts";
import type { Pfn } from "../../kernel/abi/units.ts";
import { PAGE_SIZE } from "../../kernel/abi/units.ts";
import { growingArena } from "../../kernel/lib/growing_arena.ts";
import { bootMemory } from "../../kernel/wire_memory.ts";
import { PageFrames } from "../../mm/index.ts";

function privateFrames(): Frames {
  const frames = new PageFrames(growingArena(), 64);
  frames.reset();
  return frames;
}

/** Two frames that are neighbours. */
function neighbours(frames: Frames): Pfn {
  const taken = new Set<number>();
  for (let n = 0; n < 32; n++) taken.add(frames.alloc());
  return [...taken].find((frame) => taken.has(frame + 1)) as Pfn;
}

describe.each([
  ["the page allocator's", () => bootMemory(32 * 2 ** 20, 1, () => 0).frames],
  ["an arena's", privateFrames],
])("frames of %s", (_name, make) => {
  it("bytes() of a run is all of it, in the frames' own memory", () => {
    const frames = make();
    const first = neighbours(frames);
    const run = frames.bytes(first, 2);
    expect(run.length).toBe(2 * PAGE_SIZE);
    run[PAGE_SIZE] = 7;
    expect(frames.bytes((first + 1) as Pfn)[0]).toBe(7);
    expect(frames.bytes(first).length).toBe(PAGE_SIZE);
  });
});

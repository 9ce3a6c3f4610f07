/** Every workload on a kernel of the test's: it goes on for ever, survives errors, and what it promises holds. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkFile, readPromises, WORKLOADS } from "../../userspace/index.ts";
import { FakeKernel } from "./fake_kernel.ts";

const SEED = 20_261_128;
const STEPS = 20_000;
const MACHINE = { cpus: 2, memoryBytes: 64 * 2 ** 20 };

/** What was promised so far, against the files as they are. */
function broken(world: FakeKernel): string[] {
  const { files, wrong } = readPromises(world.console);
  const found = [...wrong];
  for (const [path, promised] of files) {
    const fault = checkFile(path, world.file(path), promised);
    if (fault !== undefined) found.push(fault);
  }
  return found;
}

describe.each(WORKLOADS.map((workload) => [workload.name, workload] as const))("%s", (_, workload) => {
  const starts = workload.tasks(MACHINE);

  it(`goes on for ${STEPS} steps, and its promises hold`, () => {
    const world = new FakeKernel({ starts, seed: SEED, failPerMille: 0, filePages: 16_384 });
    for (let n = 0; n < STEPS; n++) expect(world.step()).toBe(true);
    expect(readPromises(world.console).files.size).toBeGreaterThan(0);
    expect(broken(world)).toEqual([]);
  });

  it("takes any error, and goes on promising; what it promised holds", () => {
    const world = new FakeKernel({ starts, seed: SEED, failPerMille: 20, filePages: 2048 });
    let half = 0;
    for (let n = 0; n < STEPS; n++) {
      expect(world.step()).toBe(true);
      if (n === STEPS / 2) half = world.console.length;
    }
    expect(world.counts.get("fault")).toBeGreaterThan(50);
    expect(world.console.length).toBeGreaterThan(half);
    expect(broken(world)).toEqual([]);
  });

  it("knows nothing beside its words, memory and answer: a copy does the same next", () => {
    fc.assert(
      fc.property(fc.nat(), fc.array(fc.nat({ max: 400 }), { minLength: 5, maxLength: 20 }), (seed, gaps) => {
        const world = new FakeKernel({ starts, seed, failPerMille: 10, filePages: 2048 });
        for (const gap of gaps) {
          for (let n = 0; n < gap; n++) world.step();
          const task = world.peek()!;
          const [one, other] = [task.copy(task.pid, task.parent), task.copy(task.pid, task.parent)];
          expect(one.next()).toEqual(other.next());
          expect(one.words).toEqual(other.words);
          expect(Buffer.compare(one.memory, other.memory)).toBe(0);
        }
      }),
      { seed: SEED, numRuns: 8 },
    );
  });
});

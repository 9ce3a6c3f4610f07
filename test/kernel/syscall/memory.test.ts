/** brk, mmap, munmap, madvise: addresses and frames, page by page. */
import { describe, expect, it } from "vitest";
import { EINVAL, ENOMEM, EOPNOTSUPP } from "../../../kernel/abi/errno.ts";
import { Nr } from "../../../kernel/abi/syscall_nr.ts";
import type { BootedMachine } from "../../../kernel/index.ts";
import { call, compute, runOne, runToEnd, scripted, start } from "../machine_rig.ts";
import type { Body } from "../machine_rig.ts";

const BRK = 0x1000_0000;
const MMAP = 0x40_0000_0000;
const PAGE = 4096;
const [ANON, POPULATE, FIXED] = [0x22, 0x8022, 0x32];
const [DONTNEED, POPULATE_WRITE] = [4, 23];

/** Runs a program that can ask for its frames. */
async function run(body: (rss: () => number) => Body): Promise<BootedMachine> {
  const at: { machine: BootedMachine | undefined } = { machine: undefined };
  const rss = (): number => {
    const { processes } = at.machine!.system;
    return processes.rss[processes.programs.length === 0 ? 0 : processes.rowOf(pid)]!;
  };
  let pid = 0;
  const program = scripted(function* (t) {
    ({ pid } = t);
    yield* body(rss)(t);
  });
  const started = await start([program]);
  at.machine = started.machine;
  runToEnd(started);
  return started.machine;
}

describe("brk()", () => {
  it("answers the break to the byte, and has frames for its pages", async () => {
    await run(
      (rss) =>
        function* () {
          expect(yield* call(Nr.brk, 0)).toBe(BRK);
          expect(yield* call(Nr.brk, BRK + 5000)).toBe(BRK + 5000);
          expect(rss()).toBe(2);
          expect(yield* call(Nr.brk, BRK + 8192)).toBe(BRK + 8192);
          expect(rss()).toBe(2);
          expect(yield* call(Nr.brk, BRK + 1)).toBe(BRK + 1);
          expect(rss()).toBe(1);
          expect(yield* call(Nr.brk, BRK)).toBe(BRK);
          expect(rss()).toBe(0);
        },
    );
  });

  it("stays where it is when that cannot be", async () => {
    await run(
      (rss) =>
        function* () {
          yield* call(Nr.brk, BRK + 4096);
          for (const wrong of [1, -1, BRK - 1, BRK + 2 ** 40, 2 ** 60])
            expect(yield* call(Nr.brk, wrong)).toBe(BRK + 4096);
          expect(rss()).toBe(1);
        },
    );
  });
});

describe("mmap(), munmap()", () => {
  it("never give one page twice, and use room that came free", async () => {
    await run(
      () =>
        function* () {
          expect(yield* call(Nr.mmap, 0, 3 * PAGE, 3, ANON, -1, 0)).toBe(MMAP);
          expect(yield* call(Nr.mmap, 0, 1, 3, ANON, -1, 0)).toBe(MMAP + 3 * PAGE);
          expect(yield* call(Nr.munmap, MMAP, PAGE)).toBe(0);
          expect(yield* call(Nr.mmap, 0, 2 * PAGE, 3, ANON, -1, 0)).toBe(MMAP + 4 * PAGE);
          expect(yield* call(Nr.mmap, 0, PAGE, 3, ANON, -1, 0)).toBe(MMAP);
        },
    );
  });

  it("give back the frames of exactly the part that goes", async () => {
    await run(
      (rss) =>
        function* () {
          yield* call(Nr.brk, BRK + 3 * PAGE);
          expect(yield* call(Nr.mmap, 0, 100 * PAGE, 3, POPULATE, -1, 0)).toBe(MMAP);
          expect(rss()).toBe(103);
          expect(yield* call(Nr.munmap, MMAP + 10 * PAGE, 20 * PAGE)).toBe(0);
          expect(rss()).toBe(83);
          expect(yield* call(Nr.munmap, MMAP, 40 * PAGE)).toBe(0);
          expect(rss()).toBe(63);
          expect(yield* call(Nr.munmap, MMAP, 1000 * PAGE)).toBe(0);
          expect(rss()).toBe(3);
          expect(yield* call(Nr.munmap, MMAP, 1000 * PAGE)).toBe(0);
        },
    );
  });

  it("EINVAL, EOPNOTSUPP, ENOMEM", async () => {
    await run(
      () =>
        function* () {
          expect(yield* call(Nr.mmap, 0, 0, 3, ANON, -1, 0)).toBe(EINVAL);
          expect(yield* call(Nr.mmap, 0, -1, 3, ANON, -1, 0)).toBe(EINVAL);
          expect(yield* call(Nr.mmap, 0, PAGE, 3, 2, 0, 0)).toBe(EOPNOTSUPP);
          expect(yield* call(Nr.mmap, MMAP, PAGE, 3, FIXED, -1, 0)).toBe(EOPNOTSUPP);
          expect(yield* call(Nr.mmap, 0, 2 ** 45, 3, ANON, -1, 0)).toBe(ENOMEM);
          for (const [address, length] of [
            [MMAP + 1, PAGE],
            [MMAP, 0],
            [MMAP, -PAGE],
            [-PAGE, PAGE],
            [MMAP, 2 ** 62],
          ])
            expect(yield* call(Nr.munmap, address!, length!)).toBe(EINVAL);
        },
    );
  });
});

describe("madvise()", () => {
  it("MADV_POPULATE_WRITE brings what is missing, MADV_DONTNEED takes it away", async () => {
    await run(
      (rss) =>
        function* () {
          yield* call(Nr.mmap, 0, 10 * PAGE, 3, ANON, -1, 0);
          expect(yield* call(Nr.madvise, MMAP + 2 * PAGE, 3 * PAGE, POPULATE_WRITE)).toBe(0);
          expect(rss()).toBe(3);
          expect(yield* call(Nr.madvise, MMAP, 10 * PAGE, POPULATE_WRITE)).toBe(0);
          expect(rss()).toBe(10);
          expect(yield* call(Nr.madvise, MMAP + 9 * PAGE, PAGE, DONTNEED)).toBe(0);
          expect(yield* call(Nr.madvise, MMAP + 9 * PAGE, PAGE, DONTNEED)).toBe(0);
          expect(rss()).toBe(9);
          expect(yield* call(Nr.madvise, MMAP, 0, DONTNEED)).toBe(0);
        },
    );
  });

  it("ENOMEM for what is not mapped, EINVAL for advice that is none", async () => {
    await run(
      () =>
        function* () {
          yield* call(Nr.mmap, 0, 2 * PAGE, 3, ANON, -1, 0);
          expect(yield* call(Nr.madvise, MMAP, 3 * PAGE, POPULATE_WRITE)).toBe(ENOMEM);
          expect(yield* call(Nr.madvise, MMAP, 3 * PAGE, DONTNEED)).toBe(ENOMEM);
          expect(yield* call(Nr.madvise, MMAP, PAGE, 99)).toBe(EINVAL);
          expect(yield* call(Nr.madvise, MMAP + 7, PAGE, DONTNEED)).toBe(EINVAL);
        },
    );
  });
});

it("an exit in the middle of everything gives all frames back", async () => {
  await runOne(function* () {
    yield* call(Nr.brk, BRK + 100 * PAGE);
    yield* call(Nr.mmap, 0, 500 * PAGE, 3, POPULATE, -1, 0);
    yield* call(Nr.munmap, MMAP + 7 * PAGE, 13 * PAGE);
    yield* compute(1000);
  });
});

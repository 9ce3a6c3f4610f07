/** What a task does by writing to /proc/sys/vm: it compacts memory and drops the page cache, in its own time. */
import { expect, it } from "vitest";
import { AT_FDCWD, O_CREAT, O_RDWR, O_WRONLY } from "../../kernel/abi/fcntl.ts";
import { Nr } from "../../kernel/abi/syscall_nr.ts";
import type { UserTask } from "../../kernel/abi/program.ts";
import type { BootedMachine } from "../../kernel/index.ts";
import { checkPageAlloc, PAGEBLOCK_ORDER } from "../../mm/index.ts";
import { call, compute, runToEnd, start, text } from "./machine_rig.ts";
import type { Said, Started } from "./machine_rig.ts";

const PIECE = 64 * 1024;
const PIECES = 120;

function* put(t: UserTask, path: string, what: string): Generator<Said, number, number> {
  const fd = yield* call(Nr.openat, AT_FDCWD, text(t, path), O_WRONLY, 0);
  t.memory.set(new TextEncoder().encode(what), 4096);
  const result = yield* call(Nr.write, fd, 4096, what.length);
  yield* call(Nr.close, fd);
  return result;
}

/** Frames in free blocks of a pageblock or more. */
function large({ memory }: BootedMachine): number {
  checkPageAlloc(memory!.mm);
  let frames = 0;
  for (const zone of memory!.mm.zones)
    for (let order = PAGEBLOCK_ORDER; order <= zone.orderMax; order++) frames += zone.blocks(order) * 2 ** order;
  return frames;
}

it("compact_memory moves what lies scattered together, and takes the writer's time for it", async () => {
  const seen: number[] = [];
  let started: Started | undefined;
  /** Takes memory piece by piece, beside another that does: their frames lie between each other. */
  const takes = function* (t: UserTask): Generator<Said, void, number> {
    for (let n = 0; n < PIECES; n++) {
      expect(yield* call(Nr.mmap, 0, PIECE, 3, 0x8022, -1, 0)).toBeGreaterThan(0);
      yield* compute(20_000 + t.below(100));
    }
  };
  started = await start([
    // It gives all back by ending.
    takes,
    function* (t) {
      yield* takes(t);
      yield* compute(20e6);
      const { machine } = started!;
      const now = (): number => machine.machine.time[0]!;
      for (let round = 0; round < 2; round++) {
        const [before, beganNs] = [large(machine), now()];
        expect(yield* put(t, "/proc/sys/vm/compact_memory", "1")).toBe(1);
        seen.push(large(machine) - before, now() - beganNs);
      }
    },
  ]);
  runToEnd(started);
  // Nothing is left to be won the second time.
  expect(seen[0]).toBeGreaterThan((PIECE * PIECES) / 4096 / 4);
  expect(seen[1]).toBeGreaterThan(500_000);
  expect(seen[2]).toBe(0);
  expect(seen[3]).toBeLessThan(20_000);
});

it("drop_caches drops clean pages in the writer's time, and keeps dirty ones", async () => {
  let started: Started | undefined;
  started = await start([
    function* (t) {
      const fd = yield* call(Nr.openat, AT_FDCWD, text(t, "/f"), O_RDWR | O_CREAT, 0o644);
      for (let n = 0; n < 8; n++) expect(yield* call(Nr.write, fd, 8192, 32_768)).toBe(32_768);
      expect(yield* call(Nr.fsync, fd)).toBe(0);
      expect(yield* call(Nr.pwrite64, fd, 8192, 4096, 0)).toBe(4096);
      const { machine } = started!;
      const { cache } = machine.pages!;
      expect([cache.cached() >= 64, cache.dirty() >= 1]).toEqual([true, true]);
      const beganNs = machine.machine.time[0]!;
      expect(yield* put(t, "/proc/sys/vm/drop_caches", "2")).toBe(1);
      expect(cache.cached()).toBeGreaterThanOrEqual(64);
      expect(yield* put(t, "/proc/sys/vm/drop_caches", "1")).toBe(1);
      expect(cache.cached()).toBeLessThan(16);
      expect(cache.dirty()).toBeGreaterThanOrEqual(1);
      expect(machine.machine.time[0]! - beganNs).toBeGreaterThan(60 * 150);
      cache.check();
    },
  ]);
  runToEnd(started);
});

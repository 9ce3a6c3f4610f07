/**
 * System calls on memory, as far as memory is demand: brk, mmap of anonymous pages, munmap, madvise. There are no page
 * tables at this stage, so nothing is faulted in: brk and MAP_POPULATE take their frames at once, a mapping without it
 * when madvise(MADV_POPULATE_WRITE) says so (docs/caveats.md).
 *
 * A long call takes CHUNK frames a go and the CPU for them, so that it can be preempted and others may run. When there
 * are none it waits for others to give some back, unless it is killed for it.
 */
import { EINVAL, EIOCBQUEUED, ENOMEM, EOPNOTSUPP } from "../abi/errno.ts";
import { Nr } from "../abi/syscall_nr.ts";
import { PAGE_SIZE } from "../abi/units.ts";
import { Wait } from "../wait.ts";
import { GO_ON } from "./call.ts";
import type { CallGroup, CallKernel } from "./call.ts";

export const MAP_PRIVATE = 2;
export const MAP_ANONYMOUS = 0x20;
export const MAP_POPULATE = 0x8000;
export const MADV_DONTNEED = 4;
export const MADV_POPULATE_WRITE = 23;

/** Where a task's heap and mappings begin: addresses that lie in no window. */
const BRK_BASE = 0x1000_0000;
const MMAP_BASE = 0x40_0000_0000;
/** Frames taken in one go. */
const CHUNK = 32;
/** Waiting for memory: how long until the next try, when nobody wakes it. */
const RETRY_NS = 10_000_000;
/** Tries without one frame before the call gives up. */
const TRIES_MAX = 500;
/** A fault: the way in and out, the allocation, 4 KiB zeroed (ns). */
const FRAME_NS = 450;

const pages = (bytes: number): number => Math.ceil(bytes / PAGE_SIZE);

export interface MemoryCallParts {
  readonly kernel: CallKernel;
  /** Pages that a task may have: all there are. */
  readonly pagesMax: number;
}

export function memoryCalls({ kernel, pagesMax }: MemoryCallParts): CallGroup {
  const { processes } = kernel;
  const arg = (p: number, n: number): number => processes.argument(p, n);
  /** By task: tries in a row that brought nothing. */
  const tries = new Int32Array(processes.rows);

  /** Takes frames until the call has `wanted`; then `answer`. */
  function populate(p: number, wanted: number, answer: number): number {
    for (let n = 0; n < CHUNK && processes.progress[p]! < wanted; n++) {
      if (processes.killed[p] !== 0) return ENOMEM;
      if (processes.grow(p) === 0) {
        processes.progress[p]!++;
        tries[p] = 0;
        kernel.charge(FRAME_NS);
        continue;
      }
      if (processes.killed[p] !== 0 || ++tries[p]! > TRIES_MAX) {
        tries[p] = 0;
        return ENOMEM;
      }
      kernel.sleep(p, Wait.Memory, kernel.now() + RETRY_NS);
      return EIOCBQUEUED;
    }
    return processes.progress[p]! < wanted ? GO_ON : answer;
  }

  function release(p: number, count: number): void {
    const given = processes.shrink(p, count);
    kernel.charge(given * 120);
    if (given > 0) kernel.wakeAll(Wait.Memory);
  }

  /** Answers the break as it is now, as Linux's brk does whatever was asked. */
  function brk(p: number): number {
    const old = processes.brkPages[p]!;
    const asked = arg(p, 0) === 0 ? old : pages(arg(p, 0) - BRK_BASE);
    if (arg(p, 0) !== 0 && (arg(p, 0) < BRK_BASE || asked > pagesMax)) return BRK_BASE + old * PAGE_SIZE;
    if (asked < old) {
      processes.brkPages[p] = asked;
      release(p, old - asked);
    }
    if (asked > old) {
      const done = populate(p, asked - old, 0);
      if (done === GO_ON || done === EIOCBQUEUED) return done;
      // What was taken in vain goes back.
      if (done < 0) release(p, processes.progress[p]!);
      else processes.brkPages[p] = asked;
    }
    return BRK_BASE + processes.brkPages[p]! * PAGE_SIZE;
  }

  function mmap(p: number): number {
    const [length, flags] = [arg(p, 1), arg(p, 3)];
    if (!(length > 0)) return EINVAL;
    if ((flags & MAP_ANONYMOUS) === 0) return EOPNOTSUPP;
    const count = pages(length);
    if (processes.mapPages[p]! + processes.brkPages[p]! + count > pagesMax) return ENOMEM;
    const address = MMAP_BASE + processes.mapPages[p]! * PAGE_SIZE;
    if ((flags & MAP_POPULATE) !== 0) {
      const done = populate(p, count, 0);
      if (done === GO_ON || done === EIOCBQUEUED) return done;
      // As on Linux, a mapping that could not be populated is a mapping.
    }
    processes.mapPages[p]! += count;
    return address;
  }

  function munmap(p: number): number {
    const [address, length] = [arg(p, 0), arg(p, 1)];
    if (!(length > 0) || address < MMAP_BASE || address % PAGE_SIZE !== 0) return EINVAL;
    const count = Math.min(pages(length), processes.mapPages[p]!);
    processes.mapPages[p]! -= count;
    // Those of the heap stay.
    release(p, Math.min(count, Math.max(0, processes.rss[p]! - processes.brkPages[p]!)));
    return 0;
  }

  function madvise(p: number): number {
    const [address, length, advice] = [arg(p, 0), arg(p, 1), arg(p, 2)];
    if (!(length >= 0) || address < MMAP_BASE || address % PAGE_SIZE !== 0) return EINVAL;
    const count = pages(length);
    if (advice === MADV_POPULATE_WRITE) {
      if (count > processes.mapPages[p]!) return ENOMEM;
      const resident = processes.rss[p]! - processes.progress[p]! - processes.brkPages[p]!;
      return populate(p, Math.min(count, processes.mapPages[p]! - resident), 0);
    }
    if (advice !== MADV_DONTNEED) return EINVAL;
    release(p, Math.min(count, Math.max(0, processes.rss[p]! - processes.brkPages[p]!)));
    return 0;
  }

  return [
    [Nr.brk, brk],
    [Nr.mmap, mmap],
    [Nr.munmap, munmap],
    [Nr.madvise, madvise],
  ];
}

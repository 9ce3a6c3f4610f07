/**
 * System calls on memory, as far as memory is demand: brk, mmap of anonymous pages, munmap, madvise. Nothing is faulted in
 * at this stage: brk and MAP_POPULATE take their frames at once, a mapping without it
 * when madvise(MADV_POPULATE_WRITE) says so (docs/caveats.md).
 *
 * A long call takes CHUNK frames a go and the CPU for them, so that it can be preempted and others may run. When there
 * are none it waits for others to give some back, unless it is killed for it.
 */
import { EINVAL, EIOCBQUEUED, ENOMEM, EOPNOTSUPP } from "../abi/errno.ts";
import { Nr } from "../abi/syscall_nr.ts";
import type { Errno } from "../abi/units.ts";
import { PAGE_SIZE } from "../abi/units.ts";
import { State } from "../areas.ts";
import { Wait } from "../wait.ts";
import { GO_ON } from "./call.ts";
import type { CallGroup, CallKernel } from "./call.ts";

export const MAP_PRIVATE = 2;
export const MAP_ANONYMOUS = 0x20;
const MAP_FIXED = 0x10;
export const MAP_POPULATE = 0x8000;
export const MADV_DONTNEED = 4;
export const MADV_POPULATE_WRITE = 23;

/** Where a task's heap and mappings begin: addresses that lie in no window. */
const BRK_BASE = 0x1000_0000;
const MMAP_BASE = 0x40_0000_0000;
/** From MMAP_BASE on. */
const SPACE_BYTES = 2 ** 46;
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
  const { areas } = processes;
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

  /** The task may have so many pages more. */
  const mayHave = (p: number, count: number): boolean => processes.virtualPages(p) + count <= pagesMax;

  /** Answers the break as it is now, as Linux's brk does whatever was asked. */
  function brk(p: number): number {
    const old = processes.brkPages(p);
    const bytes = arg(p, 0) - BRK_BASE;
    const asked = pages(bytes);
    if (bytes >= 0 && mayHave(p, asked - old)) {
      const done = asked > old ? populate(p, asked - old, 0) : 0;
      if (done === GO_ON || done === EIOCBQUEUED) return done;
      // What was taken in vain goes back.
      if (done < 0) release(p, processes.progress[p]!);
      else processes.brkBytes[p] = bytes;
      if (asked < old) release(p, old - asked);
    }
    return BRK_BASE + processes.brkBytes[p]!;
  }

  function mmap(p: number): number {
    const [length, flags] = [arg(p, 1), arg(p, 3)];
    if (!(length > 0)) return EINVAL;
    if ((flags & MAP_ANONYMOUS) === 0 || (flags & MAP_FIXED) !== 0) return EOPNOTSUPP;
    const count = pages(length);
    if (!mayHave(p, count)) return ENOMEM;
    const first = areas.gap(p, count);
    if ((flags & MAP_POPULATE) !== 0) {
      const done = populate(p, count, 0);
      if (done === GO_ON || done === EIOCBQUEUED) return done;
      // As on Linux, a mapping that could not be populated is a mapping.
    }
    const mapped = areas.paint(p, first, first + count, State.Mapped);
    if (mapped !== 0) {
      release(p, processes.progress[p]!);
      return mapped;
    }
    const resident = becomeResident(p, first, first + count);
    if (resident === 0) return MMAP_BASE + first * PAGE_SIZE;
    areas.paint(p, first, first + count, State.Free);
    return resident;
  }

  /** The frames that the call has taken are the first pages without one in the range; ENOMEM, and they are given back. */
  function becomeResident(p: number, first: number, end: number): 0 | Errno {
    const taken = processes.progress[p]!;
    const done = areas.paint(p, first, areas.behind(p, first, end, taken), State.Resident);
    if (done !== 0) release(p, taken);
    return done;
  }

  /** The range that munmap and madvise name, in pages from MMAP_BASE on. */
  function rangeOf(p: number): readonly [first: number, end: number] | undefined {
    const [address, length] = [arg(p, 0) - MMAP_BASE, arg(p, 1)];
    if (address < 0 || address % PAGE_SIZE !== 0 || length < 0 || address + length > SPACE_BYTES) return undefined;
    return [address / PAGE_SIZE, address / PAGE_SIZE + pages(length)];
  }

  /** Pages of a range are no longer resident, but what `state` says; their frames go back. */
  function drop(p: number, first: number, end: number, state: number): 0 | Errno {
    const resident = areas.count(p, first, end, State.Resident);
    const done = areas.paint(p, first, end, state);
    if (done === 0) release(p, resident);
    return done;
  }

  function munmap(p: number): number {
    const range = rangeOf(p);
    if (range === undefined || range[0] === range[1]) return EINVAL;
    return drop(p, range[0], range[1], State.Free);
  }

  function madvise(p: number): number {
    const range = rangeOf(p);
    const advice = arg(p, 2);
    if (range === undefined || (advice !== MADV_POPULATE_WRITE && advice !== MADV_DONTNEED)) return EINVAL;
    const [first, end] = range;
    if (!areas.isMapped(p, first, end)) return ENOMEM;
    if (advice === MADV_DONTNEED) return drop(p, first, end, State.Mapped);
    const done = populate(p, areas.count(p, first, end, State.Mapped), 0);
    if (done === GO_ON || done === EIOCBQUEUED) return done;
    return becomeResident(p, first, end) || done;
  }

  return [
    [Nr.brk, brk],
    [Nr.mmap, mmap],
    [Nr.munmap, munmap],
    [Nr.madvise, madvise],
  ];
}

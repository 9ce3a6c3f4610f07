/**
 * Memory of a machine: RAM, the page allocator over it, and who takes frames (boot.ts calls this).
 *
 *   frame 0                DRIVER_FRAMES                                  RAM's end
 *   | the kernel, rings    | zone DMA to 16 MiB, zone DMA32 behind it     |
 *
 * - bootMemory(bytes, cpus)     Memory
 * - memory.frames               for the page cache: it never waits for memory, it evicts pages of its own
 * - memory.tasks                windows and anonymous pages of tasks
 */
import { ENOMEM, isErr } from "./abi/errno.ts";
import type { EventSink } from "./abi/machine.ts";
import type { Frames } from "./abi/frames.ts";
import type { Errno, Pfn } from "./abi/units.ts";
import { PAGE_SIZE } from "./abi/units.ts";
import { assert } from "./lib/assert.ts";
import { noLocks } from "./lib/lock_ops.ts";
import type { LockOps } from "./lib/lock_ops.ts";
import type { TaskMemory } from "./process.ts";
import { GFP, PageAlloc } from "../mm/index.ts";
import type { PageAllocConfig } from "../mm/index.ts";

/** What the kernel's image and the drivers' rings and bounce buffers take, frames: 10 MiB. */
const DRIVER_FRAMES = 2560;
const DMA_FRAMES = 4096;
/** Smallest machine: 32 MiB. */
export const MEMORY_BYTES_MIN = 32 * 2 ** 20;
/** Owner of what the kernel took: the page cache, buffers. */
const OWNER_KERNEL = 0;

export interface Memory {
  readonly ram: SharedArrayBuffer;
  readonly mm: PageAlloc;
  readonly frames: Frames;
  readonly tasks: TaskMemory;
  /** Frames that can be had at all. */
  readonly managed: number;
  /** Takes frames for something that lies elsewhere (the buffer cache); false: there are not so many. */
  reserve(frames: number): boolean;
  /** Frames taken so. */
  reserved(): number;
}

/** `shared`: RAM and the allocator's map as another worker has made them. */
export function bootMemory(
  bytes: number,
  cpus: number,
  cpu: () => number,
  locks: LockOps = noLocks,
  shared?: { readonly ram: SharedArrayBuffer; readonly map: SharedArrayBuffer },
): Memory {
  assert(bytes >= MEMORY_BYTES_MIN && bytes % PAGE_SIZE === 0, "bootMemory: whole pages, 32 MiB or more");
  const frames = bytes / PAGE_SIZE;
  const ram = shared?.ram ?? new SharedArrayBuffer(bytes);
  const config: PageAllocConfig = {
    zones: [
      { name: "DMA", start: 0, end: DMA_FRAMES },
      { name: "DMA32", start: DMA_FRAMES, end: frames },
    ],
    cpus,
    reserved: [[0, DRIVER_FRAMES]],
    locks,
  };
  const mm = new PageAlloc(config, shared?.map);
  return { ...takers(mm, ram, cpu), ram, mm, managed: frames - DRIVER_FRAMES };
}

/** Flags of the page cache: no reclaim of its own, since that would ask the page cache. */
const GFP_CACHE = GFP.__GFP_KSWAPD_RECLAIM | GFP.__GFP_HIGHMEM | GFP.__GFP_MOVABLE | GFP.__GFP_NOWARN;
const GFP_ANON = GFP.__GFP_RECLAIM | GFP.__GFP_IO | GFP.__GFP_FS | GFP.__GFP_HIGHMEM | GFP.__GFP_MOVABLE;
const GFP_WINDOW = GFP.__GFP_RECLAIM | GFP.__GFP_IO | GFP.__GFP_FS;

function takers(
  mm: PageAlloc,
  ram: SharedArrayBuffer,
  cpu: () => number,
): Pick<Memory, "frames" | "tasks" | "reserve" | "reserved"> {
  const views: (Uint8Array | undefined)[] = [];
  const bytes = (frame: number, length: number): Uint8Array => new Uint8Array(ram, frame * PAGE_SIZE, length);
  const frames: Frames = {
    alloc: () => mm.alloc(cpu(), GFP_CACHE, 0, OWNER_KERNEL),
    free: (frame) => mm.free(cpu(), frame, 0),
    bytes: (frame, count = 1) =>
      count === 1 ? (views[frame] ??= bytes(frame, PAGE_SIZE)) : bytes(frame, count * PAGE_SIZE),
  };
  const tasks: TaskMemory = {
    frames: ram.byteLength / PAGE_SIZE,
    window: (p, order) => mm.alloc(cpu(), GFP_WINDOW, order, p),
    freeWindow: (frame, order) => mm.free(cpu(), frame as Pfn, order),
    bytes,
    frame: (p) => mm.alloc(cpu(), GFP_ANON, 0, p),
    freeFrame: (frame) => mm.free(cpu(), frame, 0),
  };
  let taken = 0;
  const reserve = (count: number): boolean => {
    for (let n = 0; n < count; n++, taken++) if (isErr(mm.alloc(cpu(), GFP_WINDOW, 0, OWNER_KERNEL))) return false;
    return true;
  };
  return { frames, tasks, reserve, reserved: () => taken };
}

/** Bytes of plainWindows(). */
export const windowsBytes = (rows: number, windowBytes: number): number => rows * (windowBytes + 4);

/**
 * Windows without a page allocator (memory is off): there is a window for every task, and no anonymous page. `shared`: the
 * windows, and behind them a word for each that is taken.
 */
export function plainWindows(
  rows: number,
  windowBytes: number,
  shared = new SharedArrayBuffer(windowsBytes(rows, windowBytes)),
): TaskMemory {
  const taken = new Int32Array(shared, rows * windowBytes, rows);
  return {
    frames: 0,
    window() {
      for (let window = 0; window < rows; window++)
        if (Atomics.compareExchange(taken, window, 0, 1) === 0) return window;
      return ENOMEM;
    },
    freeWindow: (window) => assert(Atomics.exchange(taken, window, 0) === 1, "plainWindows: a window is freed twice"),
    bytes: (window, length) => new Uint8Array(shared, window * windowBytes, length),
    frame: (): Errno => ENOMEM,
    freeFrame: () => undefined,
  };
}

/** Events of the allocator go to the machine's trace. */
export function traceMemory({ mm }: Memory, trace: EventSink): void {
  mm.trace = trace;
}

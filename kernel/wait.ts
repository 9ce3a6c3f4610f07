/**
 * Why a task sleeps, and who sleeps for the same reason (Linux: wait queues). A task waits on one channel at a time; what
 * it waits for is asked again when it wakes, so that waking too many costs time and breaks nothing.
 *
 *   channel c: head rows + c of a circular list, oldest waiter last
 *
 * - sleepOn(p, channel)   p is on no list
 * - leave(p)              off its list; false: it was on none
 * - oldest(channel)       row, 0 for none
 */
import type { Arena } from "./lib/arena.ts";
import { assert } from "./lib/assert.ts";
import { listAdd, listDel, listInit } from "./lib/slot_list.ts";

/** Names are what `orrery boot` and /proc/PID/wchan print. */
export const Wait = {
  None: 0,
  /** A page of a file on its way from the disk. */
  Data: 1,
  /** A block of metadata on its way from the disk. */
  Metadata: 2,
  /** Room in the log, or whatever else the journal's next step brings. */
  Journal: 3,
  /** The end of a commit or a flush. */
  Commit: 4,
  /** Dirty pages on their way to the disk. */
  Writeback: 5,
  /** Anything that a file system does: it could not say what. */
  FileSystem: 6,
  Pipe: 7,
  Timer: 8,
  Child: 9,
  /** A frame: others have to give memory back first. */
  Memory: 10,
  /** A kernel task that has nothing to do. */
  Work: 11,
  /** Its call is with the storage worker of a parallel machine. */
  Storage: 12,
  channels: 13,
} as const;

export const WAIT_NAMES = [
  "-",
  "data",
  "metadata",
  "journal",
  "commit",
  "writeback",
  "filesystem",
  "pipe",
  "timer",
  "child",
  "memory",
  "work",
  "storage",
] as const;

/** The channels on which a task waits for a disk: iowait, PSI's io, state D. */
export const isDiskWait = (channel: number): boolean => channel >= Wait.Data && channel <= Wait.FileSystem;

export class WaitQueues {
  readonly channel: Uint8Array;
  readonly #next: Int32Array;
  readonly #prev: Int32Array;
  readonly #rows: number;

  constructor(arena: Arena, rows: number) {
    this.#rows = rows;
    this.channel = arena.u8(rows);
    this.#next = arena.i32(rows + Wait.channels);
    this.#prev = arena.i32(rows + Wait.channels);
    for (let c = 0; c < Wait.channels; c++) listInit(this.#next, this.#prev, rows + c);
  }

  static bytes(rows: number): number {
    return rows * 9 + Wait.channels * 8 + 256;
  }

  sleepOn(p: number, channel: number): void {
    assert(this.channel[p] === Wait.None && channel !== Wait.None, "sleepOn: the task waits already");
    this.channel[p] = channel;
    listAdd(this.#next, this.#prev, this.#rows + channel, p);
  }

  leave(p: number): boolean {
    if (this.channel[p] === Wait.None) return false;
    listDel(this.#next, this.#prev, p);
    this.channel[p] = Wait.None;
    return true;
  }

  oldest(channel: number): number {
    const p = this.#prev[this.#rows + channel]!;
    return p >= this.#rows ? 0 : p;
  }
}

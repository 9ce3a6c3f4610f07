/**
 * What CPUs and the storage worker share beside the tables of tasks: calls on their way, and how the machine stands.
 *
 *   ring       one slot a call: the row of its task, whose record says which call; a task has one call under way, so a
 *              ring with as many slots as rows is never full. Writers take a slot by fetch-and-add, the reader clears it
 *   BELL       counts what the storage worker should look at: calls, interrupts, kills, the end. A futex
 *   child[p]   of a clone: the VFS's row for the child
 *
 *   life       Boot -> Run -> Sum (it is to stop; what has happened is summed up while tasks still run) -> Stop (tasks end,
 *              the disk is unmounted) -> Over
 */
import type { Arena } from "../lib/arena.ts";

export const Life = { Boot: 0, Run: 1, Sum: 2, Stop: 3, Over: 4 } as const;

const LINE = 16;
const BELL = 0;
const TAIL = LINE;
const LIFE = 2 * LINE;
const LIVE = 3 * LINE;
/** Pages of the page cache, and those of them that can be dropped at once: the storage worker's to write. */
const CACHED = 4 * LINE;
const CLEAN = CACHED + 1;
const BEAT = CACHED + 2;
const RESTS = CACHED + 3;
const WORDS = 5 * LINE;

export class StoragePort {
  /** By task of the workload: its row of the VFS, for its start. */
  readonly firstVfs: Int32Array;
  readonly child: Int32Array;
  readonly words: Int32Array;
  readonly #ring: Int32Array;
  readonly #mask: number;
  #head = 0;

  constructor(arena: Arena, rows: number) {
    const slots = 2 ** Math.ceil(Math.log2(rows));
    this.words = arena.i32(WORDS);
    this.#ring = arena.i32(slots);
    this.#mask = slots - 1;
    this.firstVfs = arena.i32(rows);
    this.child = arena.i32(rows);
  }

  static bytes(rows: number): number {
    return rows * 16 + WORDS * 4 + 512;
  }

  // --- by anybody ---

  post(p: number): void {
    Atomics.store(this.#ring, Atomics.add(this.words, TAIL, 1) & this.#mask, p);
    this.ring();
  }

  ring(): void {
    Atomics.add(this.words, BELL, 1);
    Atomics.notify(this.words, BELL);
  }

  get life(): number {
    return Atomics.load(this.words, LIFE);
  }

  /** Programs go on. */
  get runs(): boolean {
    return this.life < Life.Stop;
  }

  /** Goes from one to the next; false: it stood elsewhere. */
  move(from: number, to: number): boolean {
    const moved = Atomics.compareExchange(this.words, LIFE, from, to) === from;
    this.ring();
    return moved;
  }

  /** User tasks that have not ended. */
  get live(): number {
    return Atomics.load(this.words, LIVE);
  }

  addLive(count: number): void {
    if (Atomics.add(this.words, LIVE, count) + count === 0) this.ring();
  }

  get cached(): number {
    return Atomics.load(this.words, CACHED);
  }

  get clean(): number {
    return Atomics.load(this.words, CLEAN);
  }

  seen(): { readonly beat: number; readonly rests: boolean } {
    return { beat: Atomics.load(this.words, BEAT), rests: Atomics.load(this.words, RESTS) !== 0 };
  }

  // --- by the storage worker ---

  get heard(): number {
    return Atomics.load(this.words, BELL);
  }

  /** Row of the next call; 0: none. */
  take(): number {
    const p = Atomics.exchange(this.#ring, this.#head & this.#mask, 0);
    if (p !== 0) this.#head++;
    return p;
  }

  publish(cached: number, clean: number): void {
    Atomics.store(this.words, CACHED, cached);
    Atomics.store(this.words, CLEAN, clean);
  }

  beat(): void {
    Atomics.add(this.words, BEAT, 1);
  }

  /** Until the bell rings that has been heard so often, or for so long; false: the time is over. */
  sleep(heard: number, forMs: number): boolean {
    if (forMs <= 0) return this.heard !== heard;
    Atomics.store(this.words, RESTS, 1);
    const woken = Atomics.wait(this.words, BELL, heard, forMs) !== "timed-out";
    Atomics.store(this.words, RESTS, 0);
    return woken;
  }
}

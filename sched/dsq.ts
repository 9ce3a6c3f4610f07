/**
 * Dispatch queues, as in sched_ext: FIFO, or ordered by vtime; one kind a queue at a time. Queue numbers inside:
 * 0..cpus-1 are the local queues, cpus is the global one, the rest belong to the policy. A task is on one queue at most.
 *
 *   FIFO    doubly linked through the task rows (dsqNext, dsqPrev; 0 ends)
 *   vtime   a KeyedHeap over the task rows, first come first served among equals
 *
 * Each queue has a futex word; the injected locks take it (a machine in one thread injects locks that do nothing).
 * A task's row belongs to the lock of its CPU. Who takes a task of another CPU does not hold that lock: it marks the
 * task TAKEN under the queue's lock, makes it its own CPU's, and only then clears the mark.
 */
import type { Arena } from "../kernel/lib/arena.ts";
import { assert, panic } from "../kernel/lib/assert.ts";
import { checkHeap, KeyedHeap } from "../kernel/lib/keyed_heap.ts";
import type { LockOps } from "../kernel/lib/lock_ops.ts";
import type { TaskTable } from "./table.ts";

/** Values of the task table's `dsq` beside 1 + queue. */
export const NO_DSQ = 0;
export const TAKEN = -1;

const STRIDE = 16;
const HEAD = 1;
const TAIL = 2;
const COUNT = 3;

export class DispatchQueues {
  readonly #tasks: TaskTable;
  readonly #locks: LockOps;
  /** STRIDE words a queue: lock, head, tail, count. */
  readonly #words: Int32Array;
  readonly #serials: Float64Array;
  readonly #heaps: (KeyedHeap | undefined)[] = [];
  readonly #key: Float64Array;
  readonly #tie: Float64Array;
  readonly #pos: Int32Array;
  readonly #arena: Arena;
  readonly #max: number;

  constructor(arena: Arena, tasks: TaskTable, locks: LockOps, fixed: number, max: number) {
    this.#arena = arena;
    this.#tasks = tasks;
    this.#locks = locks;
    this.#max = max;
    this.#words = arena.i32(max * STRIDE);
    this.#serials = arena.f64(max);
    this.#key = arena.f64(tasks.rows);
    this.#tie = arena.f64(tasks.rows);
    this.#pos = arena.i32(tasks.rows);
    for (let queue = 0; queue < fixed; queue++) this.#heaps.push(undefined);
  }

  /** Every instance of a machine makes the same queues in the same order. */
  create(): number {
    assert(this.#heaps.length < this.#max, "createDsq: more dispatch queues than DSQS_MAX");
    const items = this.#arena.i32(this.#tasks.rows + 1);
    this.#heaps.push(new KeyedHeap(this.#key, this.#tie, this.#pos, items, 0, this.#tasks.rows));
    return this.#heaps.length - 1;
  }

  get full(): boolean {
    return this.#heaps.length === this.#max;
  }

  exists(queue: number): boolean {
    return Number.isInteger(queue) && queue >= 0 && queue < this.#heaps.length;
  }

  hasVtime(queue: number): boolean {
    return this.#heaps[queue] !== undefined;
  }

  count(queue: number): number {
    return this.#words[queue * STRIDE + COUNT]!;
  }

  /** False when the queue holds tasks of the other kind. */
  insertFifo(queue: number, p: number, atHead: boolean): boolean {
    const words = this.#words;
    const base = queue * STRIDE;
    this.#locks.lock(words, base);
    const mixed = (this.#heaps[queue]?.size ?? 0) > 0;
    if (!mixed) {
      const { dsqNext, dsqPrev } = this.#tasks;
      if (words[base + HEAD] === 0) {
        words[base + HEAD] = words[base + TAIL] = p;
        dsqNext[p] = dsqPrev[p] = 0;
      } else if (atHead) {
        const first = words[base + HEAD]!;
        dsqNext[p] = first;
        dsqPrev[p] = 0;
        dsqPrev[first] = p;
        words[base + HEAD] = p;
      } else {
        const last = words[base + TAIL]!;
        dsqPrev[p] = last;
        dsqNext[p] = 0;
        dsqNext[last] = p;
        words[base + TAIL] = p;
      }
      words[base + COUNT]!++;
      this.#tasks.dsq[p] = queue + 1;
    }
    this.#locks.unlock(words, base);
    return !mixed;
  }

  insertVtime(queue: number, p: number, vtime: number): boolean {
    const words = this.#words;
    const base = queue * STRIDE;
    const heap = this.#heaps[queue]!;
    this.#locks.lock(words, base);
    const mixed = words[base + HEAD] !== 0;
    if (!mixed) {
      heap.set(p, vtime, this.#serials[queue]!++);
      words[base + COUNT]!++;
      this.#tasks.dsq[p] = queue + 1;
    }
    this.#locks.unlock(words, base);
    return !mixed;
  }

  /** Takes off the first task that may use `cpu`, which now owns it; 0 when there is none. */
  takeFor(queue: number, cpu: number): number {
    const words = this.#words;
    const base = queue * STRIDE;
    if (words[base + COUNT] === 0) return 0;
    this.#locks.lock(words, base);
    const tasks = this.#tasks;
    let p = words[base + HEAD]!;
    while (p !== 0 && !tasks.mayUse(p, cpu)) p = tasks.dsqNext[p]!;
    const heap = this.#heaps[queue];
    if (p === 0 && heap !== undefined && heap.size > 0) p = this.#firstInHeap(heap, cpu);
    if (p !== 0) {
      this.#unlink(base, p, heap);
      tasks.dsq[p] = tasks.cpu[p] === cpu ? NO_DSQ : TAKEN;
    }
    this.#locks.unlock(words, base);
    return p;
  }

  /** Takes a task off the queue that its word `dsq` named; false when it is no longer there. */
  remove(p: number, dsq: number): boolean {
    if (dsq <= NO_DSQ) return false;
    const queue = dsq - 1;
    const base = queue * STRIDE;
    this.#locks.lock(this.#words, base);
    const here = this.#tasks.dsq[p] === dsq;
    if (here) {
      this.#unlink(base, p, this.#heaps[queue]);
      this.#tasks.dsq[p] = NO_DSQ;
    }
    this.#locks.unlock(this.#words, base);
    return here;
  }

  /** Panics unless every queue holds together; the `dsq` word each task should have, by row. */
  check(): Int32Array {
    const inQueue = new Int32Array(this.#tasks.rows);
    const { dsqNext, dsqPrev } = this.#tasks;
    for (let queue = 0; queue < this.#heaps.length; queue++) {
      const base = queue * STRIDE;
      let count = 0;
      let before = 0;
      for (let p = this.#words[base + HEAD]!; p !== 0; p = dsqNext[p]!) {
        if (inQueue[p] !== 0) panic("checkSched: a task is on two dispatch queues", p, queue);
        inQueue[p] = queue + 1;
        if (dsqPrev[p] !== before) panic("checkSched: a dispatch queue's links disagree", p, queue);
        before = p;
        count++;
      }
      if (this.#words[base + TAIL] !== before) panic("checkSched: a dispatch queue's tail is not its last", queue);
      const heap = this.#heaps[queue];
      if (heap !== undefined) {
        checkHeap(heap);
        if (count > 0 && heap.size > 0) panic("checkSched: a queue holds tasks of both kinds", queue);
        for (let at = 1; at <= heap.size; at++) inQueue[heap.items[heap.base + at]!] = queue + 1;
        count += heap.size;
      }
      if (this.#words[base + COUNT] !== count) panic("checkSched: a dispatch queue's count is wrong", queue, count);
    }
    return inQueue;
  }

  #firstInHeap(heap: KeyedHeap, cpu: number): number {
    const first = heap.first();
    if (this.#tasks.mayUse(first, cpu)) return first;
    let best = 0;
    for (let at = 1; at <= heap.size; at++) {
      const p = heap.items[heap.base + at]!;
      if (!this.#tasks.mayUse(p, cpu)) continue;
      const earlier =
        heap.key[p]! < heap.key[best]! || (heap.key[p] === heap.key[best] && heap.tie[p]! < heap.tie[best]!);
      if (best === 0 || earlier) best = p;
    }
    return best;
  }

  #unlink(base: number, p: number, heap: KeyedHeap | undefined): void {
    const words = this.#words;
    const { dsqNext, dsqPrev } = this.#tasks;
    if (this.#pos[p]! > 0) heap!.remove(p);
    else {
      const before = dsqPrev[p]!;
      const after = dsqNext[p]!;
      if (before === 0) words[base + HEAD] = after;
      else dsqNext[before] = after;
      if (after === 0) words[base + TAIL] = before;
      else dsqPrev[after] = before;
    }
    words[base + COUNT]!--;
  }
}

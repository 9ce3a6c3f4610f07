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

export interface DispatchQueues {
  /** Every instance of a machine makes the same queues in the same order. */
  readonly create: () => number;
  readonly full: () => boolean;
  readonly exists: (queue: number) => boolean;
  readonly hasVtime: (queue: number) => boolean;
  readonly count: (queue: number) => number;
  /** False when the queue holds tasks of the other kind. */
  readonly insertFifo: (queue: number, p: number, atHead: boolean) => boolean;
  readonly insertVtime: (queue: number, p: number, vtime: number) => boolean;
  /** Takes off the first task that may use `cpu`, which now owns it; 0 when there is none. */
  readonly takeFor: (queue: number, cpu: number) => number;
  /** Takes a task off the queue that its word `dsq` named; false when it is no longer there. */
  readonly remove: (p: number, dsq: number) => boolean;
  /** Panics unless every queue holds together; the `dsq` word each task should have, by row. */
  readonly check: () => Int32Array;
}

/** The first `fixed` of at most `max` queues are there from the start, and FIFO. */
export function dispatchQueues(
  arena: Arena,
  tasks: TaskTable,
  locks: LockOps,
  fixed: number,
  max: number,
): DispatchQueues {
  const { rows, dsq: dsqOf, dsqNext, dsqPrev, cpu: cpuOf, mayUse } = tasks;
  /** STRIDE words a queue: lock, head, tail, count. */
  const words = arena.i32(max * STRIDE);
  const serials = arena.f64(max);
  const key = arena.f64(rows);
  const tie = arena.f64(rows);
  const pos = arena.i32(rows);
  const heaps: (KeyedHeap | undefined)[] = Array.from({ length: fixed }, () => undefined);

  function create(): number {
    assert(heaps.length < max, "createDsq: more dispatch queues than DSQS_MAX");
    heaps.push(new KeyedHeap(key, tie, pos, arena.i32(rows + 1), 0, rows));
    return heaps.length - 1;
  }

  function insertFifo(queue: number, p: number, atHead: boolean): boolean {
    const base = queue * STRIDE;
    locks.lock(words, base);
    const mixed = queue >= fixed && heaps[queue]!.size > 0;
    if (!mixed) {
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
      dsqOf[p] = queue + 1;
    }
    locks.unlock(words, base);
    return !mixed;
  }

  function insertVtime(queue: number, p: number, vtime: number): boolean {
    const base = queue * STRIDE;
    const heap = heaps[queue]!;
    locks.lock(words, base);
    const mixed = words[base + HEAD] !== 0;
    if (!mixed) {
      heap.set(p, vtime, serials[queue]!++);
      words[base + COUNT]!++;
      dsqOf[p] = queue + 1;
    }
    locks.unlock(words, base);
    return !mixed;
  }

  function takeFor(queue: number, cpu: number): number {
    const base = queue * STRIDE;
    return words[base + COUNT] === 0 ? 0 : takeFrom(queue, base, cpu);
  }

  function takeFrom(queue: number, base: number, cpu: number): number {
    locks.lock(words, base);
    let p = words[base + HEAD]!;
    while (p !== 0 && !mayUse(p, cpu)) p = dsqNext[p]!;
    const heap = heaps[queue];
    if (p === 0 && heap !== undefined && heap.size > 0) p = firstInHeap(heap, cpu);
    if (p !== 0) {
      unlink(base, p, heap);
      dsqOf[p] = cpuOf[p] === cpu ? NO_DSQ : TAKEN;
    }
    locks.unlock(words, base);
    return p;
  }

  function remove(p: number, dsq: number): boolean {
    if (dsq <= NO_DSQ) return false;
    const queue = dsq - 1;
    const base = queue * STRIDE;
    locks.lock(words, base);
    const here = dsqOf[p] === dsq;
    if (here) {
      unlink(base, p, heaps[queue]);
      dsqOf[p] = NO_DSQ;
    }
    locks.unlock(words, base);
    return here;
  }

  function check(): Int32Array {
    const inQueue = new Int32Array(rows);
    for (let queue = 0; queue < heaps.length; queue++) {
      const base = queue * STRIDE;
      let count = 0;
      let before = 0;
      for (let p = words[base + HEAD]!; p !== 0; p = dsqNext[p]!) {
        if (inQueue[p] !== 0) panic("checkSched: a task is on two dispatch queues", p, queue);
        inQueue[p] = queue + 1;
        if (dsqPrev[p] !== before) panic("checkSched: a dispatch queue's links disagree", p, queue);
        before = p;
        count++;
      }
      if (words[base + TAIL] !== before) panic("checkSched: a dispatch queue's tail is not its last", queue);
      const heap = heaps[queue];
      if (heap !== undefined) {
        checkHeap(heap);
        if (count > 0 && heap.size > 0) panic("checkSched: a queue holds tasks of both kinds", queue);
        for (let at = 1; at <= heap.size; at++) inQueue[heap.items[heap.base + at]!] = queue + 1;
        count += heap.size;
      }
      if (words[base + COUNT] !== count) panic("checkSched: a dispatch queue's count is wrong", queue, count);
    }
    return inQueue;
  }

  function firstInHeap(heap: KeyedHeap, cpu: number): number {
    const first = heap.first();
    if (mayUse(first, cpu)) return first;
    let best = 0;
    for (let at = 1; at <= heap.size; at++) {
      const p = heap.items[heap.base + at]!;
      if (!mayUse(p, cpu)) continue;
      const earlier = key[p]! < key[best]! || (key[p] === key[best] && tie[p]! < tie[best]!);
      if (best === 0 || earlier) best = p;
    }
    return best;
  }

  function unlink(base: number, p: number, heap: KeyedHeap | undefined): void {
    if (pos[p]! > 0) heap!.remove(p);
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

  return {
    create,
    full: () => heaps.length === max,
    exists: (queue) => Number.isInteger(queue) && queue >= 0 && queue < heaps.length,
    hasVtime: (queue) => queue >= fixed && heaps[queue] !== undefined,
    count: (queue) => words[queue * STRIDE + COUNT]!,
    insertFifo,
    insertVtime,
    takeFor,
    remove,
    check,
  };
}

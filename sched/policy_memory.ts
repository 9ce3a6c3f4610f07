/**
 * The shared memory and dispatch queues that a policy was given while it came up. A policy that comes to rule again comes
 * up anew, and is given the same again, zeroed, in the same order: nothing can be taken later, and nothing is lost.
 *
 * - begin(), end()           around the policy's coming up
 * - f64, i32, dsq            the next of its kind; other than the first time is the policy's error
 */
import { DSQS_MAX } from "../kernel/abi/limits.ts";
import type { Arena } from "../kernel/lib/arena.ts";
import type { DispatchQueues } from "./dsq.ts";
import { fail } from "./policy_error.ts";

/** What the arena may lose to alignment. */
const LINE_BYTES = 64;

export class PolicyMemory {
  readonly #arena: Arena;
  readonly #dsqs: DispatchQueues;
  /** Bytes that a dispatch queue takes. */
  readonly #dsqBytes: number;
  readonly #arrays: (Float64Array | Int32Array)[] = [];
  readonly #queues: number[] = [];
  #array = 0;
  #queue = 0;
  #isFirst = true;

  constructor(arena: Arena, dsqs: DispatchQueues, dsqBytes: number) {
    this.#arena = arena;
    this.#dsqs = dsqs;
    this.#dsqBytes = dsqBytes;
  }

  begin(): void {
    for (const array of this.#arrays) array.fill(0);
    this.#array = this.#queue = 0;
  }

  end(): void {
    this.#isFirst = false;
  }

  f64(length: number): Float64Array {
    if (!this.#isFirst) {
      const array = this.#arrays[this.#array++];
      return array instanceof Float64Array && array.length === length ? array : differs();
    }
    this.#mayTake(length * 8);
    const array = this.#arena.f64(length);
    this.#arrays.push(array);
    return array;
  }

  i32(length: number): Int32Array {
    if (!this.#isFirst) {
      const array = this.#arrays[this.#array++];
      return array instanceof Int32Array && array.length === length ? array : differs();
    }
    this.#mayTake(length * 4);
    const array = this.#arena.i32(length);
    this.#arrays.push(array);
    return array;
  }

  dsq(): number {
    if (!this.#isFirst) return this.#queues[this.#queue++] ?? differs();
    if (this.#dsqs.full()) fail(`createDsq: a machine has at most ${DSQS_MAX} dispatch queues`);
    this.#mayTake(this.#dsqBytes);
    const queue = this.#dsqs.create();
    this.#queues.push(queue);
    return queue;
  }

  #mayTake(bytes: number): void {
    const left = this.#arena.buffer.byteLength - this.#arena.usedBytes - LINE_BYTES;
    if (!(bytes >= 0 && bytes <= left)) fail(`the policy asks for ${bytes} bytes of shared memory, ${left} are left`);
  }
}

const differs = (): never => fail("the policy asks for other memory or queues than when it first came up");

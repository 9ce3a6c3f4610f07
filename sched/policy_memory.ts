/**
 * The shared memory and dispatch queues that a policy was given while it came up. A policy that comes to rule again comes
 * up anew, and is given the same again, zeroed, in the same order: nothing can be taken later, and nothing is lost.
 *
 * - begin(), end()           around the policy's coming up
 * - f64, i32, dsq            the next of its kind; other than the first time is the policy's error
 * - tunable                  likewise, but it is not zeroed: what was set stays
 * - tunables                 all of those
 */
import { DSQS_MAX } from "../kernel/abi/limits.ts";
import type { Arena } from "../kernel/lib/arena.ts";
import type { DispatchQueues } from "./dsq.ts";
import { fail } from "./policy_error.ts";

/** What the arena may lose to alignment. */
const LINE_BYTES = 64;

/** A number of a policy that can be set; it stands in value[0]. */
export interface PolicyTunable {
  readonly name: string;
  readonly least: number;
  readonly most: number;
  readonly value: Float64Array;
}

export class PolicyMemory {
  readonly tunables: PolicyTunable[] = [];
  readonly #arena: Arena;
  readonly #dsqs: DispatchQueues;
  /** Bytes that a dispatch queue takes. */
  readonly #dsqBytes: number;
  readonly #arrays: (Float64Array | Int32Array)[] = [];
  readonly #queues: number[] = [];
  #array = 0;
  #queue = 0;
  #tunable = 0;
  #isFirst = true;

  constructor(arena: Arena, dsqs: DispatchQueues, dsqBytes: number) {
    this.#arena = arena;
    this.#dsqs = dsqs;
    this.#dsqBytes = dsqBytes;
  }

  begin(): void {
    for (const array of this.#arrays) array.fill(0);
    this.#array = this.#queue = this.#tunable = 0;
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

  tunable(name: string, value: number, least: number, most: number): Float64Array {
    if (!this.#isFirst) {
      const known = this.tunables[this.#tunable++];
      return known?.name === name ? known.value : differs();
    }
    if (!/^[a-z][a-z0-9_]*$/.test(name) || this.tunables.some((other) => other.name === name))
      fail(`tunable: "${name}" is no name, or is there twice`);
    if (!(Number.isInteger(value) && least <= value && value <= most))
      fail(`tunable: ${name} is ${value}, which is no whole number from ${least} to ${most}`);
    this.#mayTake(8);
    const tunable = { name, least, most, value: this.#arena.f64(1) };
    tunable.value[0] = value;
    this.tunables.push(tunable);
    return tunable.value;
  }

  #mayTake(bytes: number): void {
    const left = this.#arena.buffer.byteLength - this.#arena.usedBytes - LINE_BYTES;
    if (!(bytes >= 0 && bytes <= left)) fail(`the policy asks for ${bytes} bytes of shared memory, ${left} are left`);
  }
}

const differs = (): never => fail("the policy asks for other memory or queues than when it first came up");

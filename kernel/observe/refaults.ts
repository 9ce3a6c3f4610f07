/**
 * Pages that come back to the page cache soon after they were thrown out (Linux: refaults), from the stream of events.
 *
 * - take(...)          an event sink
 * - caller(cpu, p)     the call of task p is worked on there from now on; SchedSwitch says the same
 * - count              reads of pages that were evicted before and are remembered (as many as the cache has pages)
 * - thrashes(p)        task p's call has met such a page
 */
import { Ev, SysEv } from "../abi/events.ts";
import { CPUS_MAX } from "../abi/limits.ts";

const EVICTED = 1;

export class Refaults {
  count = 0;
  readonly #thrashes: Uint8Array;
  /** By CPU: the task in a system call. */
  readonly #caller: Int32Array = new Int32Array(CPUS_MAX + 1);
  /** Pages that were evicted, by a hash of file and index. */
  readonly #shadows: Float64Array;

  /** @param pages of the page cache. */
  constructor(rows: number, pages: number) {
    this.#thrashes = new Uint8Array(rows);
    this.#shadows = new Float64Array(2 ** Math.ceil(Math.log2(Math.max(2, pages)))).fill(-1);
  }

  readonly take = (type: number, cpu: number, a: number, b: number, _c: number, d: number): void => {
    switch (type) {
      case SysEv.Enter:
        this.#thrashes[a] = 0;
        return;
      case Ev.SchedSwitch:
        this.#caller[cpu] = b;
        return;
      case Ev.FilemapAdd: {
        const at = this.#shadowAt(a, b);
        if (this.#shadows[at] !== a * 2 ** 32 + (b >>> 0)) return;
        this.#shadows[at] = -1;
        this.count++;
        this.#thrashes[this.#caller[cpu]!] = 1;
        return;
      }
      case Ev.FilemapDelete:
        if (d === EVICTED) this.#shadows[this.#shadowAt(a, b)] = a * 2 ** 32 + (b >>> 0);
        return;
      default:
    }
  };

  caller(cpu: number, p: number): void {
    this.#caller[cpu] = p;
  }

  /** Its call is over. */
  calm(p: number): void {
    this.#thrashes[p] = 0;
  }

  thrashes(p: number): boolean {
    return this.#thrashes[p] === 1;
  }

  #shadowAt(file: number, index: number): number {
    const mixed = Math.imul(file ^ Math.imul(index, 0x9e3779b1), 0x85ebca6b);
    return (mixed ^ (mixed >>> 15)) & (this.#shadows.length - 1);
  }
}

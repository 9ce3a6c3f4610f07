/**
 * A holder of movable blocks, as processes hold their memory: a slot for each, found both ways in one step.
 *
 * - hold(pfn, slot), drop(slot)     slot now stands at that frame; no longer
 * - frameOf(slot)                   -1: the slot is empty
 */
import type { MovablePages } from "../../kernel/abi/reclaim.ts";
import type { Pfn } from "../../kernel/abi/units.ts";

export class Holder implements MovablePages {
  /** Frames moved in all. */
  moved = 0;
  readonly #slotAt: Int32Array;
  readonly #frameOf: Int32Array;

  constructor(frames: number, slots: number) {
    this.#slotAt = new Int32Array(frames).fill(-1);
    this.#frameOf = new Int32Array(slots).fill(-1);
  }

  hold(pfn: Pfn, slot: number): void {
    this.#slotAt[pfn] = slot;
    this.#frameOf[slot] = pfn;
  }

  drop(slot: number): void {
    this.#slotAt[this.#frameOf[slot]!] = -1;
    this.#frameOf[slot] = -1;
  }

  frameOf(slot: number): Pfn {
    return this.#frameOf[slot]! as Pfn;
  }

  migrate(from: Pfn, to: Pfn, order: number): boolean {
    const slot = this.#slotAt[from]!;
    if (slot === -1) return false;
    this.#slotAt[from] = -1;
    this.hold(to, slot);
    this.moved += 1 << order;
    return true;
  }
}

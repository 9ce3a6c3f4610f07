/** Blocks that count which ones were changed: how the credits of a call are held to what it does. */
import type { EditBlocks } from "../../../../kernel/fs/blocks.ts";

export class CountingBlocks implements EditBlocks {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly blockSize: number;
  readonly count: number;
  readonly #inner: EditBlocks;
  readonly changed = new Set<number>();
  forgotten: number[] = [];

  constructor(inner: EditBlocks) {
    this.#inner = inner;
    this.bytes = inner.bytes;
    this.view = inner.view;
    this.blockSize = inner.blockSize;
    this.count = inner.count;
  }

  at(block: number): number {
    return this.#inner.at(block);
  }

  writable(block: number): number {
    this.changed.add(block);
    return this.#inner.writable(block);
  }

  fresh(block: number): number {
    this.changed.add(block);
    return this.#inner.fresh(block);
  }

  forget(block: number): void {
    this.forgotten.push(block);
    this.#inner.forget(block);
  }

  /** Starts a call. */
  reset(): void {
    this.changed.clear();
    this.forgotten = [];
  }
}

/**
 * The obvious model of a disk, a flat array, and random requests that are run on both: the contract of every
 * BlockDevice of the harness.
 */
import { expect } from "vitest";
import { BlockOp, REQ_FUA, REQ_PREFLUSH, SECTOR_SIZE } from "../../../kernel/abi/block.ts";
import type { BlockDevice, BlockRequest } from "../../../kernel/abi/block.ts";
import { next32, nextBelow, prng } from "../../../kernel/lib/prng.ts";

export const blockRequest = (
  op: BlockOp,
  sector: number,
  sectors: number,
  data?: Uint8Array,
  flags = 0,
): BlockRequest => ({ op, flags, sector, sectors, data, task: 0, result: undefined });

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Runs a batch to its end, offering the rest again when the queue is full. */
export async function runBatch(disk: BlockDevice, batch: readonly BlockRequest[]): Promise<void> {
  let taken = 0;
  for (let ended = 0; ended < batch.length;) {
    if (taken < batch.length) taken += disk.submit(batch.slice(taken));
    ended += disk.poll().length;
    if (ended < batch.length) await turn();
  }
}

/** Batches of requests that do not overlap each other, each read compared with the model. */
export async function checkAgainstModel(disk: BlockDevice, seed: number, batches: number): Promise<Uint8Array> {
  const state = prng(seed);
  const { sectors, sectorsMax } = disk.limits;
  const model = new Uint8Array(sectors * SECTOR_SIZE);
  for (let round = 0; round < batches; round++) {
    const taken = new Set<number>();
    const batch: BlockRequest[] = [];
    const expected: (Uint8Array | undefined)[] = [];
    for (let i = nextBelow(state, 48); i >= 0; i--) {
      const length = 1 + nextBelow(state, nextBelow(state, 8) === 0 ? Math.min(sectorsMax, 300) : 16);
      const sector = nextBelow(state, sectors - length);
      const range = Array.from({ length }, (_, at) => sector + at);
      if (range.some((at) => taken.has(at))) continue;
      for (const at of range) taken.add(at);
      const part = model.subarray(sector * SECTOR_SIZE, (sector + length) * SECTOR_SIZE);
      const kind = nextBelow(state, 10);
      const flags = [0, REQ_FUA, REQ_PREFLUSH, 0][nextBelow(state, 4)]!;
      if (kind < 4) {
        expected[batch.length] = part.slice();
        batch.push(blockRequest(BlockOp.Read, sector, length, new Uint8Array(part.length)));
      } else if (kind < 8) {
        const data = new Uint8Array(part.length).fill(next32(state));
        part.set(data);
        batch.push(blockRequest(BlockOp.Write, sector, length, data, flags));
      } else if (kind === 8) {
        part.fill(0);
        batch.push(blockRequest(BlockOp.WriteZeroes, sector, length));
      } else {
        batch.push(blockRequest(BlockOp.Flush, 0, 0));
      }
    }
    await runBatch(disk, batch);
    for (const [i, request] of batch.entries()) {
      expect(request.result).toBe(0);
      if (expected[i] !== undefined) expect(Buffer.compare(request.data!, expected[i])).toBe(0);
    }
  }
  return model;
}

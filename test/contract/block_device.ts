/**
 * The contract of a BlockDevice (kernel/abi/block.ts): call it for each. `open` gives a fresh device of at least 2048
 * zeroed sectors and a way to let its world go on.
 */
import { describe, expect, it } from "vitest";
import { blockRequest, pollUntilEnded } from "../../drivers/index.ts";
import { BlockOp, REQ_FUA, REQ_PREFLUSH, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockDevice, BlockRequest } from "../../kernel/abi/block.ts";
import { EINVAL, EIO, EOPNOTSUPP } from "../../kernel/abi/errno.ts";

export interface Opened {
  readonly device: BlockDevice;
  idle(): void;
  /** The bytes that would be there after a power cut now that loses all it may; undefined: cannot be known. */
  afterPowerCut?(): Uint8Array;
  close?(): void;
}

const filled = (sectors: number, byte: number): Uint8Array => new Uint8Array(sectors * SECTOR_SIZE).fill(byte);

function run(opened: Opened, ...requests: BlockRequest[]): (number | undefined)[] {
  expect(pollUntilEnded(opened.device, requests, () => opened.idle())).toBe(0);
  return requests.map((request) => request.result);
}

const unitOf = (opened: Opened): number => opened.device.limits.logicalBlockSize / SECTOR_SIZE;

export function blockDeviceContract(name: string, open: () => Opened): void {
  describe(`BlockDevice ${name}`, () => {
    it("submit() and poll() carry out what was asked: reads see writes", () => {
      const opened = open();
      const unit = unitOf(opened);
      const data = filled(2 * unit, 7);
      const read = blockRequest(BlockOp.Read, unit, filled(3 * unit, 1));
      expect(run(opened, blockRequest(BlockOp.Write, 2 * unit, data))).toEqual([0]);
      expect(run(opened, read)).toEqual([0]);
      expect(read.data).toEqual(new Uint8Array([...filled(unit, 0), ...data]));
      opened.close?.();
    });

    it("poll() returns each request once", () => {
      const opened = open();
      const unit = unitOf(opened);
      const batch = Array.from({ length: 40 }, (_, i) => blockRequest(BlockOp.Write, i * unit, filled(unit, i)));
      const seen = new Map<BlockRequest, number>();
      let next = 0;
      for (let spin = 0; seen.size < batch.length && spin < 100_000; spin++) {
        next += opened.device.submit(batch.slice(next));
        for (const ended of opened.device.poll()) seen.set(ended, (seen.get(ended) ?? 0) + 1);
        opened.idle();
      }
      expect(opened.device.poll()).toEqual([]);
      expect([...seen.values()]).toEqual(batch.map(() => 1));
      expect(new Set(seen.keys())).toEqual(new Set(batch));
      opened.close?.();
    });

    it("a request that no device could carry out ends with EINVAL, one beyond the end with EIO", () => {
      const opened = open();
      const { limits } = opened.device;
      const unit = unitOf(opened);
      const bad = [
        blockRequest(BlockOp.Read, 0, filled(unit, 0), { sectors: 2 * unit }),
        blockRequest(BlockOp.Read, 0, new Uint8Array(0)),
        blockRequest(BlockOp.Write, -unit, filled(unit, 0)),
        blockRequest(BlockOp.Write, 0.5, filled(unit, 0)),
        blockRequest(BlockOp.Read, 0, filled(limits.sectorsMax + unit, 0)),
      ];
      expect(run(opened, ...bad)).toEqual(bad.map(() => EINVAL));
      const beyond = [
        blockRequest(BlockOp.Read, limits.sectors, filled(unit, 0)),
        blockRequest(BlockOp.Write, limits.sectors - unit, filled(2 * unit, 0)),
      ];
      expect(run(opened, ...beyond)).toEqual([EIO, EIO]);
      if (unit > 1) expect(run(opened, blockRequest(BlockOp.Read, 1, filled(unit, 0)))).toEqual([EINVAL]);
      opened.close?.();
    });

    it("write zeroes and discard do what limits say", () => {
      const opened = open();
      const unit = unitOf(opened);
      const { writeZeroes, discard } = opened.device.limits;
      run(opened, blockRequest(BlockOp.Write, 0, filled(4 * unit, 9)));
      const zero = blockRequest(BlockOp.WriteZeroes, unit, undefined, { sectors: unit });
      expect(run(opened, zero)).toEqual([writeZeroes ? 0 : EOPNOTSUPP]);
      const drop = blockRequest(BlockOp.Discard, 2 * unit, undefined, { sectors: unit });
      expect(run(opened, drop)).toEqual([discard ? 0 : EOPNOTSUPP]);
      const read = blockRequest(BlockOp.Read, 0, filled(4 * unit, 1));
      expect(run(opened, read)).toEqual([0]);
      expect(read.data!.subarray(0, unit * SECTOR_SIZE)).toEqual(filled(unit, 9));
      const zeroed = read.data!.subarray(unit * SECTOR_SIZE, 2 * unit * SECTOR_SIZE);
      expect(zeroed).toEqual(filled(unit, writeZeroes ? 0 : 9));
      expect(read.data!.subarray(3 * unit * SECTOR_SIZE)).toEqual(filled(unit, 9));
      opened.close?.();
    });

    it("a write is durable once a later flush, or itself with FUA, has ended", () => {
      const opened = open();
      const unit = unitOf(opened);
      const bytes = unit * SECTOR_SIZE;
      run(opened, blockRequest(BlockOp.Write, 0, filled(unit, 1)));
      expect(run(opened, blockRequest(BlockOp.Flush, 0, undefined))).toEqual([0]);
      run(opened, blockRequest(BlockOp.Write, 2 * unit, filled(unit, 2), { flags: REQ_FUA }));
      run(opened, blockRequest(BlockOp.Write, 4 * unit, filled(unit, 3)));
      const first = opened.afterPowerCut?.();
      if (first !== undefined) {
        expect(first.subarray(0, bytes)).toEqual(filled(unit, 1));
        expect(first.subarray(2 * bytes, 3 * bytes)).toEqual(filled(unit, 2));
      }
      run(opened, blockRequest(BlockOp.Write, 6 * unit, filled(unit, 4), { flags: REQ_PREFLUSH | REQ_FUA }));
      const second = opened.afterPowerCut?.();
      if (second !== undefined) {
        expect(second.subarray(4 * bytes, 5 * bytes)).toEqual(filled(unit, 3));
        expect(second.subarray(6 * bytes, 7 * bytes)).toEqual(filled(unit, 4));
      }
      opened.close?.();
    });
  });
}

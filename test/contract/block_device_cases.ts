/**
 * The contract of a BlockDevice (kernel/abi/block.ts) as data, for a fresh device of at least 2048 zeroed sectors. It knows
 * no test runner: a device in another program is driven from a worker, and a case ends well or throws.
 */
import { deepEqual } from "node:assert/strict";
import { blockRequest, pollUntilEnded } from "../../drivers/index.ts";
import { BlockOp, REQ_FUA, REQ_PREFLUSH, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockDevice, BlockRequest } from "../../kernel/abi/block.ts";
import { EINVAL, EIO, EOPNOTSUPP } from "../../kernel/abi/errno.ts";

export interface Opened {
  readonly device: BlockDevice;
  idle(): void;
  /** The bytes that would be there after a power cut now that loses all it may; undefined: cannot be known. */
  readonly afterPowerCut?: () => Uint8Array;
}

const filled = (sectors: number, byte: number): Uint8Array => new Uint8Array(sectors * SECTOR_SIZE).fill(byte);

function carryOut(opened: Opened, ...requests: BlockRequest[]): (number | undefined)[] {
  deepEqual(
    pollUntilEnded(opened.device, requests, () => opened.idle()),
    0,
  );
  return requests.map((request) => request.result);
}

const unitOf = (opened: Opened): number => opened.device.limits.logicalBlockSize / SECTOR_SIZE;

export interface ContractCase {
  readonly name: string;
  run(opened: Opened): void;
}

export const CONTRACT: readonly ContractCase[] = [
  {
    name: "submit() and poll() carry out what was asked: reads see writes",
    run(opened) {
      const unit = unitOf(opened);
      const data = filled(2 * unit, 7);
      const read = blockRequest(BlockOp.Read, unit, filled(3 * unit, 1));
      deepEqual(carryOut(opened, blockRequest(BlockOp.Write, 2 * unit, data)), [0]);
      deepEqual(carryOut(opened, read), [0]);
      deepEqual(read.data, new Uint8Array([...filled(unit, 0), ...data]));
    },
  },

  {
    name: "poll() returns each request once",
    run(opened) {
      const unit = unitOf(opened);
      const batch = Array.from({ length: 40 }, (_, i) => blockRequest(BlockOp.Write, i * unit, filled(unit, i)));
      const seen = new Map<BlockRequest, number>();
      let next = 0;
      for (let spin = 0; seen.size < batch.length && spin < 100_000; spin++) {
        next += opened.device.submit(batch.slice(next));
        for (const ended of opened.device.poll()) seen.set(ended, (seen.get(ended) ?? 0) + 1);
        opened.idle();
      }
      deepEqual(opened.device.poll(), []);
      deepEqual(
        [...seen.values()],
        batch.map(() => 1),
      );
      deepEqual(new Set(seen.keys()), new Set(batch));
    },
  },

  {
    name: "a request that no device could carry out ends with EINVAL, one beyond the end with EIO",
    run(opened) {
      const { limits } = opened.device;
      const unit = unitOf(opened);
      const bad = [
        blockRequest(BlockOp.Read, 0, filled(unit, 0), { sectors: 2 * unit }),
        blockRequest(BlockOp.Read, 0, new Uint8Array(0)),
        blockRequest(BlockOp.Write, -unit, filled(unit, 0)),
        blockRequest(BlockOp.Write, 0.5, filled(unit, 0)),
        blockRequest(BlockOp.Read, 0, filled(limits.sectorsMax + unit, 0)),
      ];
      deepEqual(
        carryOut(opened, ...bad),
        bad.map(() => EINVAL),
      );
      const beyond = [
        blockRequest(BlockOp.Read, limits.sectors, filled(unit, 0)),
        blockRequest(BlockOp.Write, limits.sectors - unit, filled(2 * unit, 0)),
      ];
      deepEqual(carryOut(opened, ...beyond), [EIO, EIO]);
      if (unit > 1) deepEqual(carryOut(opened, blockRequest(BlockOp.Read, 1, filled(unit, 0))), [EINVAL]);
    },
  },

  {
    name: "write zeroes and discard do what limits say",
    run(opened) {
      const unit = unitOf(opened);
      const { writeZeroes, discard } = opened.device.limits;
      carryOut(opened, blockRequest(BlockOp.Write, 0, filled(4 * unit, 9)));
      const zero = blockRequest(BlockOp.WriteZeroes, unit, undefined, { sectors: unit });
      deepEqual(carryOut(opened, zero), [writeZeroes ? 0 : EOPNOTSUPP]);
      const drop = blockRequest(BlockOp.Discard, 2 * unit, undefined, { sectors: unit });
      deepEqual(carryOut(opened, drop), [discard ? 0 : EOPNOTSUPP]);
      const read = blockRequest(BlockOp.Read, 0, filled(4 * unit, 1));
      deepEqual(carryOut(opened, read), [0]);
      deepEqual(read.data!.subarray(0, unit * SECTOR_SIZE), filled(unit, 9));
      const zeroed = read.data!.subarray(unit * SECTOR_SIZE, 2 * unit * SECTOR_SIZE);
      deepEqual(zeroed, filled(unit, writeZeroes ? 0 : 9));
      deepEqual(read.data!.subarray(3 * unit * SECTOR_SIZE), filled(unit, 9));
    },
  },

  {
    name: "a write is durable once a later flush, or itself with FUA, has ended",
    run(opened) {
      const unit = unitOf(opened);
      const bytes = unit * SECTOR_SIZE;
      carryOut(opened, blockRequest(BlockOp.Write, 0, filled(unit, 1)));
      deepEqual(carryOut(opened, blockRequest(BlockOp.Flush, 0, undefined)), [0]);
      carryOut(opened, blockRequest(BlockOp.Write, 2 * unit, filled(unit, 2), { flags: REQ_FUA }));
      carryOut(opened, blockRequest(BlockOp.Write, 4 * unit, filled(unit, 3)));
      const first = opened.afterPowerCut?.();
      if (first !== undefined) {
        deepEqual(first.subarray(0, bytes), filled(unit, 1));
        deepEqual(first.subarray(2 * bytes, 3 * bytes), filled(unit, 2));
      }
      carryOut(opened, blockRequest(BlockOp.Write, 6 * unit, filled(unit, 4), { flags: REQ_PREFLUSH | REQ_FUA }));
      const second = opened.afterPowerCut?.();
      if (second !== undefined) {
        deepEqual(second.subarray(4 * bytes, 5 * bytes), filled(unit, 3));
        deepEqual(second.subarray(6 * bytes, 7 * bytes), filled(unit, 4));
      }
    },
  },
];

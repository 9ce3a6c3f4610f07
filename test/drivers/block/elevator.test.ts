import { describe, expect, it } from "vitest";
import { BlockQueue, ELEVATORS, HDD, SimDisk, blockRequest } from "../../../drivers/index.ts";
import { BATCH, READ_EXPIRE_NS, STARVED, WRITE_EXPIRE_NS, deadline } from "../../../drivers/block/elevator/deadline.ts";
import { fair } from "../../../drivers/block/elevator/fair.ts";
import { kyber } from "../../../drivers/block/elevator/kyber.ts";
import { target } from "../../../fuzz/elevator.ts";
import { BlockOp } from "../../../kernel/abi/block.ts";
import type { BlockRequest } from "../../../kernel/abi/block.ts";
import type { Elevator, ElevatorTable } from "../../../kernel/abi/elevator.ts";
import { nanos } from "../../../kernel/abi/units.ts";
import { nextBelow, prng } from "../../../kernel/lib/prng.ts";
import { elevatorContract } from "../../contract/elevator.ts";

for (const elevator of ELEVATORS) elevatorContract(elevator);

it("the elevator fuzzer's canary fails", () => {
  expect(target.run(1, 40, () => {}).failure).toBeUndefined();
  expect(target.canary(1).failure?.message).toContain("waiting");
});

const tableOf = (rows: number): ElevatorTable => ({
  op: new Uint8Array(rows),
  flags: new Uint8Array(rows),
  sector: new Float64Array(rows),
  sectors: new Int32Array(rows).fill(8),
  task: new Int32Array(rows),
  arrivedNs: new Float64Array(rows),
  issuedNs: new Float64Array(rows),
});

describe("mq-deadline", () => {
  /** The obvious way: everything in one list, searched at each step. */
  class SlowDeadline {
    #waiting: number[] = [];
    #direction = 0;
    #batch = BATCH;
    #starved = 0;
    readonly #next = [0, 0];
    readonly #table: ElevatorTable;

    constructor(table: ElevatorTable) {
      this.#table = table;
    }

    insert(row: number): void {
      this.#waiting.push(row);
    }

    #of(direction: number): number[] {
      return this.#waiting.filter((row) => (this.#table.op[row] === BlockOp.Read ? 0 : 1) === direction);
    }

    #following(direction: number): number | undefined {
      const after = this.#of(direction).filter((row) => this.#table.sector[row]! >= this.#next[direction]!);
      return after.sort((a, b) => this.#table.sector[a]! - this.#table.sector[b]!)[0];
    }

    dispatch(nowNs: number): number {
      let row = this.#batch < BATCH ? this.#following(this.#direction) : undefined;
      if (row === undefined) {
        if (this.#waiting.length === 0) return -1;
        const isMixed = this.#of(0).length > 0 && this.#of(1).length > 0;
        this.#direction = this.#of(0).length > 0 ? 0 : 1;
        if (isMixed && this.#starved++ >= STARVED) this.#direction = 1;
        if (this.#direction === 1) this.#starved = 0;
        this.#batch = 0;
        const oldest = this.#of(this.#direction)[0]!;
        const limit = this.#direction === 0 ? READ_EXPIRE_NS : WRITE_EXPIRE_NS;
        const isExpired = nowNs - this.#table.arrivedNs[oldest]! >= limit;
        row = isExpired ? oldest : (this.#following(this.#direction) ?? oldest);
      }
      const direction = this.#table.op[row] === BlockOp.Read ? 0 : 1;
      this.#waiting = this.#waiting.filter((one) => one !== row);
      this.#batch++;
      this.#next[direction] = this.#table.sector[row]! + this.#table.sectors[row]!;
      return row;
    }
  }

  it("dispatches what the slow model dispatches", () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = prng(seed);
      const rows = 400;
      const table = tableOf(rows);
      const queue = deadline.create({ table, rows, depth: 8, weightOf: () => 100 });
      const slow = new SlowDeadline(table);
      let next = 0;
      for (let nowNs = 0; next < rows || queue.waiting > 0; nowNs += nextBelow(random, 4e8)) {
        if (next < rows && nextBelow(random, 2) === 0) {
          table.op[next] = nextBelow(random, 2) === 0 ? BlockOp.Read : BlockOp.Write;
          table.sector[next] = next * 8 + nextBelow(random, 4) * 10_000;
          table.arrivedNs[next] = nowNs;
          queue.insert(next);
          slow.insert(next++);
        } else expect(queue.dispatch(nowNs), `seed ${seed}`).toBe(slow.dispatch(nowNs));
      }
    }
  });
});

/** Keeps `depth` requests of each task waiting for `ms` of virtual time; returns bytes by task and the worst read latency. */
function compete(
  elevator: Elevator,
  tasks: readonly { op: BlockOp; depth: number; sequential: boolean; weight: number }[],
  ms: number,
): { bytes: number[]; readMaxNs: number; readMeanNs: number } {
  let now = 0;
  const clock = (): ReturnType<typeof nanos> => nanos(now);
  const disk = new SimDisk({ sectors: 2 ** 18, now: clock, service: HDD, queueDepth: 4 });
  const queue = new BlockQueue(disk, { elevator, now: clock, weightOf: (task) => tasks[task]!.weight });
  const random = prng(5);
  const cursors = tasks.map((_, task) => task * 2 ** 16);
  const bornNs = new Map<BlockRequest, number>();
  const bytes = tasks.map(() => 0);
  let readMaxNs = 0;
  let readSumNs = 0;
  let reads = 0;
  const send = (task: number): void => {
    const { op, sequential } = tasks[task]!;
    const sector = sequential ? cursors[task]! : task * 2 ** 16 + nextBelow(random, 2 ** 13) * 8;
    cursors[task] = (sector + 8) % (2 ** 18 - 8);
    const request = blockRequest(op, sector, new Uint8Array(4096), { task });
    bornNs.set(request, now);
    queue.submit([request]);
  };
  for (const [task, { depth }] of tasks.entries()) for (let i = 0; i < depth; i++) send(task);
  while (now < ms * 1e6) {
    const next = Math.min(disk.nextAtNs, queue.wakeAtNs);
    expect(next).toBeLessThan(Infinity);
    now = Math.max(now, next);
    for (const ended of queue.poll()) {
      bytes[ended.task]! += 4096;
      if (ended.op === BlockOp.Read) {
        const latencyNs = now - bornNs.get(ended)!;
        readMaxNs = Math.max(readMaxNs, latencyNs);
        readSumNs += latencyNs;
        reads++;
      }
      bornNs.delete(ended);
      send(ended.task);
    }
  }
  return { bytes, readMaxNs, readMeanNs: readSumNs / Math.max(reads, 1) };
}

const reader = { op: BlockOp.Read, depth: 4, sequential: false, weight: 100 } as const;

describe("fair", () => {
  it("gives equal tasks equal shares, whatever their queue depths", () => {
    const { bytes } = compete(
      fair,
      [
        { ...reader, depth: 1 },
        { ...reader, depth: 16 },
      ],
      30_000,
    );
    expect(bytes[0]! / bytes[1]!).toBeGreaterThan(0.6);
    expect(bytes[0]! / bytes[1]!).toBeLessThan(1.6);
    const without = compete(
      ELEVATORS[0]!,
      [
        { ...reader, depth: 1 },
        { ...reader, depth: 16 },
      ],
      30_000,
    );
    expect(without.bytes[0]! / without.bytes[1]!).toBeLessThan(0.3);
  });

  it("gives shares by weight", () => {
    const { bytes } = compete(
      fair,
      [
        { ...reader, weight: 300 },
        { ...reader, weight: 100 },
      ],
      40_000,
    );
    expect(bytes[0]! / bytes[1]!).toBeGreaterThan(2);
    expect(bytes[0]! / bytes[1]!).toBeLessThan(4.5);
  });
});

it("mq-deadline seeks less than none on a hard disk", () => {
  const tasks = [{ ...reader, depth: 64 }];
  expect(compete(deadline, tasks, 4_000).bytes[0]!).toBeGreaterThan(
    1.2 * compete(ELEVATORS[0]!, tasks, 4_000).bytes[0]!,
  );
});

it("kyber takes tokens from writes while reads are late, and gives them back", () => {
  const rows = 64;
  const table = tableOf(rows);
  const queue = kyber.create({ table, rows, depth: 64, weightOf: () => 100 });
  const full = queue.depths[1]!;
  let nowNs = 0;
  const reads = (latencyNs: number): void => {
    for (let i = 0; i < 40; i++) {
      table.op[0] = BlockOp.Read;
      table.arrivedNs[0] = nowNs;
      queue.insert(0);
      expect(queue.dispatch()).toBe(0);
      nowNs += latencyNs;
      queue.completed(0, nowNs);
    }
  };
  for (let i = 0; i < 3; i++) reads(20e6);
  const throttled = queue.depths[1]!;
  expect(throttled).toBeLessThan(full / 4);
  for (let i = 0; i < 60; i++) reads(1e6);
  expect(queue.depths[1]!).toBeGreaterThan(throttled + 10);
});

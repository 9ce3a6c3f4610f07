/**
 * mq-deadline: requests in sector order, in batches of one direction, with a deadline for each direction and a bound on
 * how long reads may starve writes. After Linux block/mq-deadline.c, without I/O priorities and zones.
 *
 * A batch goes on along the sectors until BATCH requests are issued or none follows; then the direction is chosen anew:
 * reads, unless writes have been passed over STARVED times. A new batch begins at the oldest request when that has
 * expired, or when nothing follows the last sector; else where the last one stopped.
 */
import { BlockOp } from "../../../kernel/abi/block.ts";
import type { Elevator, ElevatorQueue, ElevatorSetup, ElevatorTable } from "../../../kernel/abi/elevator.ts";
import { RowFifo, RowsBySector } from "./rows.ts";

export const READ_EXPIRE_NS = 500e6;
export const WRITE_EXPIRE_NS = 5e9;
export const BATCH = 16;
export const STARVED = 2;

const READ = 0;
const WRITE = 1;
const NONE = -1;

class DeadlineQueue implements ElevatorQueue {
  readonly wakeAtNs = Infinity;
  readonly #table: ElevatorTable;
  /** By direction. */
  readonly #fifo: readonly [RowFifo, RowFifo];
  readonly #sorted: readonly [RowsBySector, RowsBySector];
  readonly #nextSector = new Float64Array(2);
  #direction = READ;
  #batch = BATCH;
  #starved = 0;

  constructor(setup: ElevatorSetup) {
    const { rows, table } = setup;
    this.#table = table;
    this.#fifo = [new RowFifo(rows), new RowFifo(rows)];
    this.#sorted = [new RowsBySector(rows, table.sector), new RowsBySector(rows, table.sector)];
  }

  get waiting(): number {
    return this.#fifo[READ].count + this.#fifo[WRITE].count;
  }

  #directionOf(row: number): 0 | 1 {
    return this.#table.op[row] === BlockOp.Read ? READ : WRITE;
  }

  insert(row: number): void {
    const direction = this.#directionOf(row);
    this.#fifo[direction].push(row);
    this.#sorted[direction].insert(row);
  }

  dispatch(nowNs: number): number {
    let row =
      this.#batch < BATCH ? this.#sorted[this.#direction as 0 | 1].from(this.#nextSector[this.#direction]!) : NONE;
    if (row === NONE) row = this.#newBatch(nowNs);
    if (row === NONE) return NONE;
    const direction = this.#directionOf(row);
    this.#fifo[direction].remove(row);
    this.#sorted[direction].remove(row);
    this.#batch++;
    this.#nextSector[direction] = this.#table.sector[row]! + this.#table.sectors[row]!;
    return row;
  }

  #newBatch(nowNs: number): number {
    const reads = this.#fifo[READ].count;
    const writes = this.#fifo[WRITE].count;
    if (reads + writes === 0) return NONE;
    let direction: 0 | 1 = reads > 0 ? READ : WRITE;
    if (reads > 0 && writes > 0 && this.#starved++ >= STARVED) direction = WRITE;
    if (direction === WRITE) this.#starved = 0;
    this.#direction = direction;
    this.#batch = 0;
    const oldest = this.#fifo[direction].head;
    const expireNs = direction === READ ? READ_EXPIRE_NS : WRITE_EXPIRE_NS;
    const following = this.#sorted[direction].from(this.#nextSector[direction]!);
    const isExpired = nowNs - this.#table.arrivedNs[oldest]! >= expireNs;
    return isExpired || following === NONE ? oldest : following;
  }

  grown(row: number): void {
    this.#sorted[this.#directionOf(row)].resort(row);
  }

  completed(): void {}
}

export const deadline: Elevator = { name: "mq-deadline", create: (setup) => new DeadlineQueue(setup) };

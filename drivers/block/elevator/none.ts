/** No elevator: first come, first served. For devices that do not care for order. */
import type { Elevator, ElevatorQueue, ElevatorSetup } from "../../../kernel/abi/elevator.ts";
import { RowFifo } from "./rows.ts";

class NoneQueue implements ElevatorQueue {
  readonly wakeAtNs = Infinity;
  readonly #fifo: RowFifo;

  constructor(setup: ElevatorSetup) {
    this.#fifo = new RowFifo(setup.rows);
  }

  get waiting(): number {
    return this.#fifo.count;
  }

  insert(row: number): void {
    this.#fifo.push(row);
  }

  dispatch(): number {
    return this.#fifo.shift();
  }

  grown(): void {}

  completed(): void {}
}

export const none: Elevator = { name: "none", create: (setup) => new NoneQueue(setup) };

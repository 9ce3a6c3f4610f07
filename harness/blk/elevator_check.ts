/**
 * Drives one elevator with random requests in virtual time and checks its contract (kernel/abi/elevator.ts) after every
 * step: exactly once, never idle for long while something waits, nobody passed over without end.
 */
import { BlockOp } from "../../kernel/abi/block.ts";
import type { Elevator, ElevatorTable } from "../../kernel/abi/elevator.ts";
import { nextBelow, prng } from "../../kernel/lib/prng.ts";

const ROWS = 64;
const DEPTH = 8;
const TASKS = 4;
const SECTORS = 2 ** 20;
/** Times dispatch may be asked again, each time at its wakeAtNs, before it gives something with the device idle. */
const ASKS_MAX = 8;
/** Requests that may be dispatched while one waits. */
const PASSED_MAX = 4_000;

const weightOf = (task: number): number => 50 + 50 * task;

const State = { Free: 0, Waiting: 1, Issued: 2 } as const;

export function checkElevator(elevator: Elevator, seed: number, steps: number): string | undefined {
  const random = prng(seed);
  const table: ElevatorTable = {
    op: new Uint8Array(ROWS),
    flags: new Uint8Array(ROWS),
    sector: new Float64Array(ROWS),
    sectors: new Int32Array(ROWS),
    task: new Int32Array(ROWS),
    arrivedNs: new Float64Array(ROWS),
    issuedNs: new Float64Array(ROWS),
  };
  const queue = elevator.create({ table, rows: ROWS, depth: DEPTH, weightOf });
  const state = new Uint8Array(ROWS);
  const insertedAt = new Float64Array(ROWS);
  const issued: number[] = [];
  let waiting = 0;
  let dispatched = 0;
  let nowNs = 0;

  const insert = (): void => {
    const row = state.indexOf(State.Free);
    if (row < 0) return;
    const kind = nextBelow(random, 10);
    table.op[row] = kind < 5 ? BlockOp.Read : kind < 9 ? BlockOp.Write : BlockOp.Discard;
    table.sector[row] = nextBelow(random, SECTORS);
    table.sectors[row] = 1 + nextBelow(random, 256);
    table.task[row] = nextBelow(random, TASKS);
    table.arrivedNs[row] = nowNs;
    state[row] = State.Waiting;
    insertedAt[row] = dispatched;
    waiting++;
    queue.insert(row);
  };

  const dispatch = (): string | undefined => {
    if (issued.length >= DEPTH) return undefined;
    const mustGive = waiting > 0 && issued.length === 0;
    let row = queue.dispatch(nowNs);
    if (row < 0 && !mustGive) return undefined;
    for (let asks = 0; row < 0; asks++) {
      if (asks === ASKS_MAX || queue.wakeAtNs === Infinity) return "nothing is dispatched though something waits";
      if (queue.wakeAtNs < nowNs) return "wakeAtNs lies in the past";
      nowNs = queue.wakeAtNs;
      row = queue.dispatch(nowNs);
    }
    if (row >= ROWS || state[row] !== State.Waiting) return `row ${row} was dispatched and does not wait`;
    state[row] = State.Issued;
    table.issuedNs[row] = nowNs;
    waiting--;
    dispatched++;
    issued.push(row);
    return undefined;
  };

  const complete = (): void => {
    if (issued.length === 0) return;
    nowNs += 1 + nextBelow(random, 3_000_000);
    const at = nextBelow(random, issued.length);
    const row = issued[at]!;
    issued[at] = issued.at(-1)!;
    issued.pop();
    queue.completed(row, nowNs);
    state[row] = State.Free;
  };

  const grow = (): void => {
    const row = state.indexOf(State.Waiting);
    if (row < 0 || table.sector[row]! < 8) return;
    if (nextBelow(random, 2) === 0) table.sector[row]! -= 8;
    table.sectors[row]! += 8;
    queue.grown(row);
  };

  for (let step = 0; step < steps; step++) {
    const action = nextBelow(random, 16);
    if (action < 7) insert();
    else if (action < 8) grow();
    else if (action < 12) {
      const wrong = dispatch();
      if (wrong !== undefined) return wrong;
    } else complete();
    if (queue.waiting !== waiting) return `it counts ${queue.waiting} waiting, there are ${waiting}`;
    for (let row = 0; row < ROWS; row++)
      if (state[row] === State.Waiting && dispatched - insertedAt[row]! > PASSED_MAX) return "a request is passed over";
  }
  for (let left = waiting; left > 0; left = waiting) {
    while (issued.length > 0) complete();
    const wrong = dispatch();
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

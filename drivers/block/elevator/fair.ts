/**
 * Fair by task: each task gets device throughput (sectors) in proportion to its weight. After BFQ (Valente and Checconi
 * 2010; Linux block/bfq-iosched.c) in its core: budgets, virtual time, idling; without its heuristics for interactive
 * and soft real-time tasks, and without groups.
 *
 * One task is served at a time, in sector order, until its budget (BUDGET sectors) is used or it has nothing waiting;
 * then the one with the smallest virtual finish time is next. A task that reads and has run dry is waited for, IDLE_NS,
 * so that a task with one request at a time keeps its share.
 *
 * Virtual times of backlogged tasks differ by at most a budget over the smallest weight: that bounds unfairness.
 */
import { BlockOp } from "../../../kernel/abi/block.ts";
import type { Elevator, ElevatorQueue, ElevatorSetup, ElevatorTable } from "../../../kernel/abi/elevator.ts";
import { RowsBySector } from "./rows.ts";

export const BUDGET = 512;
export const IDLE_NS = 2e6;
const NONE = -1;

const Turn = { Serve: 0, Wait: 1, Over: 2 } as const;
type Turn = (typeof Turn)[keyof typeof Turn];

interface TaskQueue {
  readonly task: number;
  readonly rows: RowsBySector;
  /** Virtual time up to which it has been served. */
  served: number;
  inFlight: number;
}

class FairQueue implements ElevatorQueue {
  waiting = 0;
  wakeAtNs = Infinity;
  readonly #setup: ElevatorSetup;
  readonly #table: ElevatorTable;
  readonly #tasks = new Map<number, TaskQueue>();
  #current: TaskQueue | undefined;
  #budget = 0;
  #nextSector = 0;
  /** Virtual time of the queue: the least of all tasks that have something waiting or at the device. */
  #virtual = 0;
  #lastWasRead = false;
  /** When the last request of the task in service ended. */
  #idleSinceNs = 0;

  constructor(setup: ElevatorSetup) {
    this.#setup = setup;
    this.#table = setup.table;
  }

  #queueOf(task: number): TaskQueue {
    let queue = this.#tasks.get(task);
    if (queue === undefined) {
      queue = { task, rows: new RowsBySector(this.#setup.rows, this.#table.sector), served: 0, inFlight: 0 };
      this.#tasks.set(task, queue);
    }
    return queue;
  }

  insert(row: number): void {
    const queue = this.#queueOf(this.#table.task[row]!);
    // A task that was idle does not get back what it did not use.
    if (queue.rows.count === 0 && queue !== this.#current) queue.served = Math.max(queue.served, this.#virtual);
    queue.rows.insert(row);
    this.waiting++;
  }

  dispatch(nowNs: number): number {
    this.wakeAtNs = Infinity;
    if (this.waiting === 0) return NONE;
    const turn = this.#turn(nowNs);
    if (turn === Turn.Wait) return NONE;
    if (turn === Turn.Over) this.#choose();
    const current = this.#current!;
    let row = current.rows.from(this.#nextSector);
    if (row === NONE) row = current.rows.from(0);
    current.rows.remove(row);
    current.inFlight++;
    this.waiting--;
    const sectors = this.#table.sectors[row]!;
    this.#nextSector = this.#table.sector[row]! + sectors;
    this.#lastWasRead = this.#table.op[row] === BlockOp.Read;
    this.#budget -= sectors;
    current.served += sectors / this.#setup.weightOf(current.task);
    return row;
  }

  /** Does the task in service go on, is it waited for (until wakeAtNs, or its next completion), or is its turn over? */
  #turn(nowNs: number): Turn {
    const current = this.#current;
    if (current === undefined) return Turn.Over;
    if (this.#budget <= 0) {
      // Though all it has may be at the device: who is still furthest behind goes on, or shares would follow queue depths.
      if (this.#best(current) !== current) return Turn.Over;
      this.#budget = BUDGET;
    }
    if (current.rows.count > 0) return Turn.Serve;
    if (!this.#lastWasRead) return Turn.Over;
    // While the device works for it there is nothing to decide; idling begins when its last request has ended.
    if (current.inFlight > 0) return Turn.Wait;
    if (nowNs - this.#idleSinceNs >= IDLE_NS) return Turn.Over;
    this.wakeAtNs = this.#idleSinceNs + IDLE_NS;
    return Turn.Wait;
  }

  /** The task with the smallest virtual finish time among those with something waiting, and `also`. */
  #best(also?: TaskQueue): TaskQueue | undefined {
    let best: TaskQueue | undefined;
    let bestFinish = Infinity;
    for (const queue of this.#tasks.values()) {
      if (queue.rows.count === 0 && queue !== also) continue;
      const finish = queue.served + BUDGET / this.#setup.weightOf(queue.task);
      if (finish < bestFinish || (finish === bestFinish && queue.task < best!.task)) {
        best = queue;
        bestFinish = finish;
      }
    }
    return best;
  }

  #choose(): void {
    let virtual = Infinity;
    for (const queue of this.#tasks.values())
      if (queue.rows.count > 0 || queue.inFlight > 0) virtual = Math.min(virtual, queue.served);
    this.#virtual = Math.max(this.#virtual, virtual);
    this.#forgetIdle();
    this.#current = this.#best();
    this.#budget = BUDGET;
  }

  /** Tasks with nothing here, and no credit or debt left, are forgotten. */
  #forgetIdle(): void {
    for (const [task, queue] of this.#tasks)
      if (queue.rows.count === 0 && queue.inFlight === 0 && queue.served <= this.#virtual) this.#tasks.delete(task);
  }

  grown(row: number): void {
    this.#queueOf(this.#table.task[row]!).rows.resort(row);
  }

  completed(row: number, nowNs: number): void {
    const queue = this.#tasks.get(this.#table.task[row]!);
    if (queue === undefined) return;
    queue.inFlight--;
    if (queue === this.#current && queue.inFlight === 0) this.#idleSinceNs = nowNs;
  }
}

export const fair: Elevator = { name: "fair", create: (setup) => new FairQueue(setup) };

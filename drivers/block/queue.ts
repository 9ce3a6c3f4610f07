/**
 * The block queue: requests wait here, are merged, and go to the device in the order an elevator chooses. It is itself a
 * BlockDevice, so it can stand anywhere one is asked for.
 *
 * - submit(batch)            as the face says; on software queue `submitOn(cpu, batch)`, which is mapped to a hardware queue
 * - plug(), unplug()         between them requests are held back, so that neighbours meet; at most PLUG_REQUESTS_MAX
 * - poll()                   takes what the device ended, issues what there is room for
 * - switchTo(elevator)       another elevator from now on
 * - requestsMax, mergeLook   what may be set while it runs
 * - accounts                 block I/O by task
 * - wakeAtNs                 when poll() should be called though the device ends nothing (an elevator that idles)
 *
 * Flushes and writes with PREFLUSH do not wait for an elevator: what a flush covers has ended before it came. Requests
 * that overlap and are in flight together have no order, as in Linux.
 */
import { BlockOp, REQ_PREFLUSH } from "../../kernel/abi/block.ts";
import type { BlockDevice, BlockLimits, BlockRequest } from "../../kernel/abi/block.ts";
import type { Elevator, ElevatorQueue } from "../../kernel/abi/elevator.ts";
import { BLOCK_REQUESTS_MAX, PLUG_REQUESTS_MAX } from "../../kernel/abi/limits.ts";
import type { Nanos } from "../../kernel/abi/units.ts";
import { assert } from "../../kernel/lib/assert.ts";
import { TaskAccounts } from "./accounting.ts";
import { checkRequest } from "./request.ts";
import { RequestTable, Stage } from "./request_table.ts";

/** A device with hardware queues that can be named. */
export interface QueuedDevice extends BlockDevice {
  readonly queueCount?: number;
  submitTo?(queue: number, batch: readonly BlockRequest[]): number;
}

export interface BlockQueueOptions {
  readonly elevator: Elevator;
  readonly now: () => Nanos;
  /** Rows of the task accounts. */
  readonly tasks?: number;
  readonly weightOf?: (task: number) => number;
  /** Requests at the device at once; the device's own depth when missing. */
  readonly depth?: number;
  readonly merge?: boolean;
}

interface HardwareQueue {
  readonly table: RequestTable;
  elevator: ElevatorQueue;
  /** Rows that bypass the elevator, oldest first. */
  readonly direct: number[];
  /** The row issued last could not be taken by the device: it goes first. */
  held: Issued | undefined;
  issued: number;
}

/** What goes to the device for a row. */
interface Issued extends BlockRequest {
  readonly hardware: number;
  readonly row: number;
}

/** Rows looked at for a merge, newest first. */
export const MERGE_LOOK_MAX = 8;
const USUAL_WEIGHT = 100;
const TASKS = 1024;

export class BlockQueue implements BlockDevice {
  readonly accounts: TaskAccounts;
  /** Requests that were joined to another. */
  merges = 0;
  /** Of those that have ended, for which the disk saw no request of their own. */
  readMerges = 0;
  writeMerges = 0;
  readonly #device: QueuedDevice;
  readonly #now: () => number;
  readonly #depth: number;
  readonly #weightOf: (task: number) => number;
  /** Requests that may wait in or be issued by a hardware queue, 1 .. BLOCK_REQUESTS_MAX. */
  requestsMax = BLOCK_REQUESTS_MAX;
  /** Rows that a new request is compared with for a merge, 0 .. MERGE_LOOK_MAX. */
  mergeLook: number;
  #elevator: Elevator;
  readonly #hardware: readonly HardwareQueue[];
  /** Rows inserted last, by hardware queue: candidates for a merge. */
  readonly #recent: number[][];
  #isPlugged = false;
  /** Held back by the plug, or let go and without a row yet. */
  #held: [cpu: number, request: BlockRequest][] = [];
  #ended: BlockRequest[] = [];
  #wakeAtNs = Infinity;

  constructor(device: QueuedDevice, options: BlockQueueOptions) {
    this.#device = device;
    this.#now = options.now;
    this.mergeLook = options.merge === false ? 0 : MERGE_LOOK_MAX;
    const queues = device.submitTo === undefined ? 1 : (device.queueCount ?? 1);
    this.#depth = Math.max(Math.floor((options.depth ?? device.limits.queueDepth) / queues), 1);
    this.accounts = new TaskAccounts(options.tasks ?? TASKS);
    this.#weightOf = options.weightOf ?? (() => USUAL_WEIGHT);
    this.#elevator = options.elevator;
    this.#hardware = Array.from({ length: queues }, () => {
      const table = new RequestTable(BLOCK_REQUESTS_MAX);
      return { table, elevator: this.#create(table), direct: [], held: undefined, issued: 0 };
    });
    this.#recent = this.#hardware.map(() => []);
  }

  #create(table: RequestTable): ElevatorQueue {
    return this.#elevator.create({
      table,
      rows: BLOCK_REQUESTS_MAX,
      depth: this.#depth,
      weightOf: this.#weightOf,
    });
  }

  /** Name of the elevator. */
  get elevator(): string {
    return this.#elevator.name;
  }

  /**
   * What waits is handed over in order of arrival. The new elevator is not told the end of what another one has
   * dispatched, and begins with nothing learned.
   */
  switchTo(elevator: Elevator): void {
    this.#elevator = elevator;
    for (const queue of this.#hardware) {
      const { stage, serial } = queue.table;
      queue.elevator = this.#create(queue.table);
      const waiting: number[] = [];
      for (const [row, at] of stage.entries()) {
        if (at === Stage.Inside) waiting.push(row);
        stage[row] = at === Stage.Inside ? Stage.Inside : Stage.Apart;
      }
      for (const row of waiting.sort((a, b) => serial[a]! - serial[b]!)) queue.elevator.insert(row);
    }
    this.#run();
  }

  get limits(): BlockLimits {
    return { ...this.#device.limits, queueDepth: BLOCK_REQUESTS_MAX * this.#hardware.length };
  }

  get wakeAtNs(): number {
    return this.#wakeAtNs;
  }

  get waiting(): number {
    return this.#hardware.reduce(
      (sum, { elevator, direct }) => sum + elevator.waiting + direct.length,
      this.#held.length,
    );
  }

  /** Requests at the device. */
  get inFlight(): number {
    return this.#hardware.reduce((sum, { issued }) => sum + issued, 0);
  }

  submit(batch: readonly BlockRequest[]): number {
    return this.submitOn(0, batch);
  }

  submitOn(cpu: number, batch: readonly BlockRequest[]): number {
    let taken = 0;
    for (const request of batch) {
      if (this.#isPlugged && this.#held.length < PLUG_REQUESTS_MAX) {
        request.result = undefined;
        this.#held.push([cpu, request]);
        if (this.#held.length === PLUG_REQUESTS_MAX) this.#release();
      } else if (!this.#insert(cpu, request)) break;
      taken++;
    }
    if (!this.#isPlugged) this.#run();
    return taken;
  }

  plug(): void {
    this.#isPlugged = true;
  }

  unplug(): void {
    this.#isPlugged = false;
    // Most steps ask the disk for nothing.
    if (this.#held.length > 0) this.#release();
    else this.#run();
  }

  /** Lets go of what is held, in sector order; what finds no row stays. */
  #release(): void {
    const held = this.#held.sort(([, a], [, b]) => a.sector - b.sector);
    let done = 0;
    while (done < held.length && this.#insert(...held[done]!)) done++;
    this.#held = held.slice(done);
    this.#run();
  }

  #insert(cpu: number, request: BlockRequest): boolean {
    request.result = undefined;
    const verdict = checkRequest(this.#device.limits, request);
    if (verdict !== 0) {
      request.result = verdict;
      this.#ended.push(request);
      return true;
    }
    const index = cpu % this.#hardware.length;
    const queue = this.#hardware[index]!;
    if (this.#joined(index, queue, request)) return true;
    const row = queue.table.used < this.requestsMax ? queue.table.take(request, this.#now()) : -1;
    if (row < 0) return false;
    if (request.op === BlockOp.Flush || (request.flags & REQ_PREFLUSH) !== 0) queue.direct.push(row);
    else {
      queue.table.stage[row] = Stage.Inside;
      queue.elevator.insert(row);
      const recent = this.#recent[index]!;
      recent.push(row);
      if (recent.length > MERGE_LOOK_MAX) recent.shift();
    }
    return true;
  }

  #joined(index: number, queue: HardwareQueue, request: BlockRequest): boolean {
    const recent = this.#recent[index]!;
    const last = Math.max(recent.length - this.mergeLook, 0);
    for (let i = recent.length - 1; i >= last; i--) {
      const row = recent[i]!;
      const side = queue.table.joint(row, request, this.#device.limits.sectorsMax);
      if (side === 0) continue;
      queue.table.join(row, request, side);
      if (side === -1) queue.elevator.grown(row);
      this.merges++;
      return true;
    }
    return false;
  }

  /** Issues while the device has room and the elevators give. */
  #run(): void {
    this.#wakeAtNs = Infinity;
    for (const [index, queue] of this.#hardware.entries()) {
      while (queue.issued < this.#depth) {
        const issued = queue.held ?? this.#next(index, queue);
        if (issued === undefined) break;
        queue.held = undefined;
        if (!this.#issue(index, issued)) {
          queue.held = issued;
          break;
        }
        queue.issued++;
      }
      this.#wakeAtNs = Math.min(this.#wakeAtNs, queue.elevator.wakeAtNs);
    }
  }

  #next(hardware: number, queue: HardwareQueue): Issued | undefined {
    const { table } = queue;
    const nowNs = this.#now();
    const row = queue.direct.shift() ?? queue.elevator.dispatch(nowNs);
    if (row < 0) return undefined;
    const recent = this.#recent[hardware]!;
    const at = recent.indexOf(row);
    if (at >= 0) recent.splice(at, 1);
    table.issuedNs[row] = nowNs;
    if (table.stage[row] === Stage.Inside) table.stage[row] = Stage.Out;
    return {
      op: table.op[row] as BlockOp,
      flags: table.flags[row]!,
      sector: table.sector[row]!,
      sectors: table.sectors[row]!,
      data: table.buffer(row),
      task: table.task[row]!,
      result: undefined,
      hardware,
      row,
    };
  }

  #issue(hardware: number, issued: Issued): boolean {
    const device = this.#device;
    const taken = device.submitTo === undefined ? device.submit([issued]) : device.submitTo(hardware, [issued]);
    return taken === 1;
  }

  poll(): readonly BlockRequest[] {
    // Only our own requests are at the device: each of them is an Issued.
    for (const one of this.#device.poll() as readonly Issued[]) this.#finish(one);
    if (!this.#isPlugged && this.#held.length > 0) this.#release();
    this.#run();
    const ended = this.#ended;
    if (ended.length > 0) this.#ended = [];
    return ended;
  }

  #finish(issued: Issued): void {
    const { row, result } = issued;
    assert(result !== undefined, "BlockQueue.poll: the device returned a request that has not ended");
    const queue = this.#hardware[issued.hardware]!;
    const { table } = queue;
    const nowNs = this.#now();
    if (table.stage[row] === Stage.Out) queue.elevator.completed(row, nowNs);
    queue.issued--;
    const waitNs = table.issuedNs[row]! - table.arrivedNs[row]!;
    const serviceNs = nowNs - table.issuedNs[row]!;
    const parts = table.end(row, result, issued.data);
    if (issued.op === BlockOp.Read) this.readMerges += parts.length - 1;
    if (issued.op === BlockOp.Write) this.writeMerges += parts.length - 1;
    for (const part of parts) {
      this.accounts.ended(part.task, part.op, part.sectors, waitNs, serviceNs, result !== 0);
      this.#ended.push(part);
    }
    table.stage[row] = Stage.Apart;
    table.give(row);
  }
}

/**
 * Requests of a mounted file system on its device, in flight as rows of a table. It is the only one that submits to the
 * device and polls it: everybody who wants a transfer asks here, under a kind, and is told its end under that kind.
 *
 *   row | op | flags | block | count | at: address in the arena, or -1 - from | kind | arg | state | next in the queue |
 *
 * - start(op, flags, block, count, at, kind, arg)    a row, or -1 when all are taken: ask again after a poll(). Bytes lie
 *                                                    in the arena at `at`; 0 blocks for a flush
 * - startData(op, flags, block, count, data, kind, arg, from)   the same, of bytes that lie elsewhere: at `from` of
 *                                                    what the owner knows under `arg`
 * - poll()             offers what waits, in order, and tells the owners of what has ended; true when anything moved
 * - take(row)          ends a row at once if the device has already done so; undefined: it has not, poll() will tell
 * - restart()          after the tables were restored: whatever was in flight is offered again
 *
 * Reads and writes can be made again without harm, so a saved state with requests in flight is whole, beside a device that
 * has carried them out or dropped them when it was left. An answer to a request that this table does not know (of the time
 * before a restore) is dropped.
 */
import { BlockOp, SECTOR_SIZE } from "../abi/block.ts";
import type { BlockDevice, BlockLimits, BlockRequest } from "../abi/block.ts";
import { EINVAL } from "../abi/errno.ts";
import type { EvictMemory } from "../abi/evict.ts";
import type { Errno } from "../abi/units.ts";
import { assert } from "../lib/assert.ts";

/** Who is told. */
export const IoKind = {
  Read: 0,
  Log: 1,
  Home: 2,
  Super: 3,
  Flush: 4,
  Data: 5,
  Direct: 6,
  FastCommit: 7,
  kinds: 8,
} as const;

export interface IoOwner {
  /** 0, or a negative errno. The row is free when this is called. */
  ended(arg: number, result: number): void;
  /** After a restore: the bytes of a request of startData(). */
  data?(arg: number, from: number, bytes: number): Uint8Array;
}

const State = { Free: 0, Queued: 1, InFlight: 2 } as const;
const NONE = -1;
/** Rows offered to the device at once. */
const BATCH_MAX = 64;
/** Words of `scalars`. */
const S = { FreeHead: 0, QueueHead: 1, QueueTail: 2, Free: 3, InFlight: 4, words: 5 } as const;

/** A row as the device sees it: the same object again and again, until take() leaves the device with it. */
class Request implements BlockRequest {
  op: BlockOp = BlockOp.Flush;
  flags = 0;
  sector = 0;
  sectors = 0;
  data: Uint8Array | undefined = undefined;
  task = 0;
  result: number | Errno | undefined = undefined;
  readonly row: number;

  constructor(row: number) {
    this.row = row;
  }
}

export interface BlockIoOptions {
  readonly device: BlockDevice;
  readonly memory: EvictMemory;
  /** Addresses of start() lie in it. */
  readonly arena: Uint8Array;
  readonly blockSize: number;
  /** Requests in flight, those that the device has not taken yet among them. */
  readonly rows?: number;
}

/** 0, or EINVAL: a file system of such blocks cannot lie on the device. */
export function deviceFits(limits: BlockLimits, blockSize: number): 0 | Errno {
  const fits = blockSize % limits.logicalBlockSize === 0 && blockSize <= limits.sectorsMax * SECTOR_SIZE;
  return fits ? 0 : EINVAL;
}

export class BlockIo {
  readonly limits: BlockLimits;
  /** Row of the task on whose behalf requests are made from now on, for accounting; 0: the kernel's own. */
  task = 0;
  readonly rows: number;
  /** Blocks that one request may have. */
  readonly blocksMax: number;
  readonly #device: BlockDevice;
  readonly #arena: Uint8Array;
  readonly #blockSize: number;
  readonly #sectors: number;
  readonly #owners: (IoOwner | undefined)[] = Array.from({ length: IoKind.kinds }, () => undefined);
  readonly #requests: Request[];
  readonly #batch: Request[] = [];
  readonly #op: Uint8Array;
  readonly #flags: Uint8Array;
  readonly #block: Float64Array;
  readonly #count: Int32Array;
  readonly #at: Int32Array;
  readonly #kind: Uint8Array;
  readonly #arg: Float64Array;
  readonly #state: Uint8Array;
  /** Free rows, or rows that the device has not taken, in order. */
  readonly #next: Int32Array;
  readonly #scalars: Int32Array;

  constructor({ device, memory, arena, blockSize, rows = 256 }: BlockIoOptions) {
    assert(
      deviceFits(device.limits, blockSize) === 0,
      "BlockIo: the device's blocks are larger than the file system's",
    );
    this.limits = device.limits;
    this.rows = rows;
    this.#sectors = blockSize / SECTOR_SIZE;
    this.blocksMax = Math.floor(device.limits.sectorsMax / this.#sectors);
    this.#device = device;
    this.#arena = arena;
    this.#blockSize = blockSize;
    this.#requests = Array.from({ length: rows }, (_, row) => new Request(row));
    this.#op = memory.uint8(rows);
    this.#flags = memory.uint8(rows);
    this.#block = memory.float64(rows);
    this.#count = memory.int32(rows);
    this.#at = memory.int32(rows);
    this.#kind = memory.uint8(rows);
    this.#arg = memory.float64(rows);
    this.#state = memory.uint8(rows);
    this.#next = memory.int32(rows);
    this.#scalars = memory.int32(S.words);
  }

  reset(): void {
    const { rows } = this;
    this.#state.fill(State.Free);
    for (let row = 0; row < rows; row++) this.#next[row] = row + 1 < rows ? row + 1 : NONE;
    this.#scalars[S.FreeHead] = 0;
    this.#scalars[S.QueueHead] = NONE;
    this.#scalars[S.QueueTail] = NONE;
    this.#scalars[S.Free] = rows;
    this.#scalars[S.InFlight] = 0;
  }

  own(kind: number, owner: IoOwner): void {
    this.#owners[kind] = owner;
  }

  /** Rows that may still be started. */
  get free(): number {
    return this.#scalars[S.Free]!;
  }

  isBusy(row: number): boolean {
    return this.#state[row] !== State.Free;
  }

  start(op: BlockOp, flags: number, block: number, count: number, at: number, kind: number, arg: number): number {
    const row = this.#add(op, flags, block, count, at, kind, arg);
    if (row >= 0) this.#submit();
    return row;
  }

  startData(
    op: BlockOp,
    flags: number,
    block: number,
    count: number,
    data: Uint8Array,
    kind: number,
    arg: number,
    from: number,
  ): number {
    const row = this.#add(op, flags, block, count, NONE - from, kind, arg);
    if (row < 0) return row;
    this.#requests[row]!.data = data;
    this.#submit();
    return row;
  }

  #add(op: BlockOp, flags: number, block: number, count: number, at: number, kind: number, arg: number): number {
    assert(count <= this.blocksMax, "BlockIo: a request is longer than the device takes");
    const row = this.#scalars[S.FreeHead]!;
    if (row === NONE) return NONE;
    this.#scalars[S.FreeHead] = this.#next[row]!;
    this.#scalars[S.Free]!--;
    this.#op[row] = op;
    this.#flags[row] = flags;
    this.#block[row] = block;
    this.#count[row] = count;
    this.#at[row] = at;
    this.#kind[row] = kind;
    this.#arg[row] = arg;
    this.#fill(row);
    this.#enqueue(row);
    return row;
  }

  /** The device's view of a row. */
  #fill(row: number): void {
    const request = this.#requests[row]!;
    const at = this.#at[row]!;
    const op = this.#op[row] as BlockOp;
    const bytes = this.#count[row]! * this.#blockSize;
    request.op = op;
    request.task = this.task;
    request.flags = this.#flags[row]!;
    request.sector = this.#block[row]! * this.#sectors;
    request.sectors = this.#count[row]! * this.#sectors;
    request.result = undefined;
    request.data = at >= 0 && bytes > 0 ? this.#arena.subarray(at, at + bytes) : undefined;
  }

  #enqueue(row: number): void {
    const last = this.#scalars[S.QueueTail]!;
    this.#state[row] = State.Queued;
    this.#next[row] = NONE;
    if (last === NONE) this.#scalars[S.QueueHead] = row;
    else this.#next[last] = row;
    this.#scalars[S.QueueTail] = row;
  }

  /** Offers what waits, in order, until the device takes no more. */
  #submit(): boolean {
    const batch = this.#batch;
    let moved = false;
    while (this.#scalars[S.QueueHead] !== NONE) {
      batch.length = 0;
      for (let row = this.#scalars[S.QueueHead]!; row !== NONE && batch.length < BATCH_MAX; row = this.#next[row]!)
        batch.push(this.#requests[row]!);
      const taken = this.#device.submit(batch);
      for (let n = 0; n < taken; n++) {
        const row = this.#scalars[S.QueueHead]!;
        this.#scalars[S.QueueHead] = this.#next[row]!;
        this.#state[row] = State.InFlight;
      }
      this.#scalars[S.InFlight]! += taken;
      if (this.#scalars[S.QueueHead] === NONE) this.#scalars[S.QueueTail] = NONE;
      if (taken > 0) moved = true;
      if (taken < batch.length) break;
    }
    return moved;
  }

  poll(): boolean {
    let moved = this.#submit();
    for (const request of this.#device.poll()) {
      if (!(request instanceof Request) || this.#requests[request.row] !== request) continue;
      const { row, result } = request;
      assert(
        this.#state[row] === State.InFlight && result !== undefined,
        "BlockIo: the end of a request not in flight",
      );
      this.#free(row);
      this.#owners[this.#kind[row]!]!.ended(this.#arg[row]!, result);
      moved = true;
    }
    // Rows became free on the device, too.
    if (this.#scalars[S.QueueHead] !== NONE) moved = this.#submit() || moved;
    return moved;
  }

  take(row: number): number | undefined {
    const { result } = this.#requests[row]!;
    if (this.#state[row] !== State.InFlight || result === undefined) return undefined;
    // The device still has this object among those that ended: it is not ours any more.
    this.#requests[row] = new Request(row);
    this.#free(row);
    // Nothing else is to come: without this a disk that ends all at once would keep what nobody polls for.
    if (this.#scalars[S.InFlight] === 0) this.#device.poll();
    return result;
  }

  /** Of a request that has ended. */
  #free(row: number): void {
    this.#scalars[S.InFlight]!--;
    this.#requests[row]!.data = undefined;
    this.#state[row] = State.Free;
    this.#next[row] = this.#scalars[S.FreeHead]!;
    this.#scalars[S.FreeHead] = row;
    this.#scalars[S.Free]!++;
  }

  restart(): void {
    // Those in flight were taken before those that wait.
    const waiting: number[] = [];
    for (let row = this.#scalars[S.QueueHead]!; row !== NONE; row = this.#next[row]!) waiting.push(row);
    this.#scalars[S.QueueHead] = NONE;
    this.#scalars[S.QueueTail] = NONE;
    this.#scalars[S.InFlight] = 0;
    for (let row = 0; row < this.rows; row++) {
      this.#requests[row] = new Request(row);
      if (this.#state[row] === State.InFlight) this.#again(row);
    }
    for (const row of waiting) this.#again(row);
    this.#submit();
  }

  #again(row: number): void {
    this.#fill(row);
    const from = NONE - this.#at[row]!;
    const owner = this.#owners[this.#kind[row]!];
    if (from >= 0 && this.#count[row]! > 0 && this.#op[row] !== BlockOp.Discard)
      this.#requests[row]!.data = owner?.data?.(this.#arg[row]!, from, this.#count[row]! * this.#blockSize);
    this.#enqueue(row);
  }

  /** Panics when its structures disagree. */
  check(): void {
    let free = 0;
    for (let row = this.#scalars[S.FreeHead]!; row !== NONE; row = this.#next[row]!) {
      assert(this.#state[row] === State.Free && ++free <= this.rows, "BlockIo.check: the free list is broken");
    }
    assert(free === this.#scalars[S.Free], "BlockIo.check: free rows are miscounted");
    let queued = 0;
    for (let row = this.#scalars[S.QueueHead]!; row !== NONE; row = this.#next[row]!) {
      assert(this.#state[row] === State.Queued && ++queued <= this.rows, "BlockIo.check: the queue is broken");
    }
    let other = 0;
    for (let row = 0; row < this.rows; row++) if (this.#state[row] === State.InFlight) other++;
    assert(other === this.#scalars[S.InFlight], "BlockIo.check: requests in flight are miscounted");
    assert(free + queued + other === this.rows, "BlockIo.check: a row is in no list");
  }
}

/**
 * Rows of requests that wait in, or have been issued by, one block queue: what elevators see. A row is one request to
 * the device; by merging it may stand for several of the callers' (its parts, contiguous and in sector order).
 */
import { BlockOp, REQ_FUA, REQ_PREFLUSH, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockRequest } from "../../kernel/abi/block.ts";
import type { ElevatorTable } from "../../kernel/abi/elevator.ts";
import { assert } from "../../kernel/lib/assert.ts";

/** Apart: no elevator knows the row; Inside: it waits in one; Out: that one has dispatched it. */
export const Stage = { Apart: 0, Inside: 1, Out: 2 } as const;

export class RequestTable implements ElevatorTable {
  readonly rows: number;
  readonly op: Uint8Array;
  readonly flags: Uint8Array;
  readonly sector: Float64Array;
  readonly sectors: Int32Array;
  readonly task: Int32Array;
  readonly arrivedNs: Float64Array;
  readonly issuedNs: Float64Array;
  /** Order of arrival. */
  readonly serial: Float64Array;
  /** Stage, by row: where the queue has it. */
  readonly stage: Uint8Array;
  /** The callers' requests, in sector order. */
  readonly parts: BlockRequest[][];
  /** By row: where parts that are no neighbours are put together, the longest so far; used again. */
  readonly #gathered: (Uint8Array | undefined)[];
  readonly #free: Int32Array;
  #freeCount: number;
  #taken = 0;

  constructor(rows: number) {
    this.rows = rows;
    this.op = new Uint8Array(rows);
    this.flags = new Uint8Array(rows);
    this.sector = new Float64Array(rows);
    this.sectors = new Int32Array(rows);
    this.task = new Int32Array(rows);
    this.arrivedNs = new Float64Array(rows);
    this.issuedNs = new Float64Array(rows);
    this.serial = new Float64Array(rows);
    this.stage = new Uint8Array(rows);
    this.parts = Array.from({ length: rows }, () => []);
    this.#gathered = Array.from({ length: rows }, () => undefined);
    this.#free = Int32Array.from({ length: rows }, (_, i) => rows - 1 - i);
    this.#freeCount = rows;
  }

  get used(): number {
    return this.rows - this.#freeCount;
  }

  /** A row for the request, or -1: all are in use. */
  take(request: BlockRequest, nowNs: number): number {
    if (this.#freeCount === 0) return -1;
    const row = this.#free[--this.#freeCount]!;
    this.op[row] = request.op;
    this.flags[row] = request.flags;
    this.sector[row] = request.sector;
    this.sectors[row] = request.sectors;
    this.task[row] = request.task;
    this.arrivedNs[row] = nowNs;
    this.issuedNs[row] = 0;
    this.serial[row] = this.#taken++;
    this.stage[row] = Stage.Apart;
    this.parts[row] = [request];
    return row;
  }

  give(row: number): void {
    assert(this.parts[row]!.length > 0, "RequestTable.give: the row is free");
    this.parts[row] = [];
    this.#free[this.#freeCount++] = row;
  }

  /** Can the request be joined to the row: 1 at its end, -1 at its front, 0 not. */
  joint(row: number, request: BlockRequest, sectorsMax: number): -1 | 0 | 1 {
    const isTransfer = request.op === BlockOp.Read || request.op === BlockOp.Write;
    if (!isTransfer || request.op !== this.op[row] || request.task !== this.task[row]) return 0;
    if (((request.flags | this.flags[row]!) & (REQ_FUA | REQ_PREFLUSH)) !== 0) return 0;
    if (this.sectors[row]! + request.sectors > sectorsMax) return 0;
    const end = this.sector[row]! + this.sectors[row]!;
    if (end === request.sector) return 1;
    return request.sector + request.sectors === this.sector[row] ? -1 : 0;
  }

  /** Joins the request to the row on the side that joint() gave. */
  join(row: number, request: BlockRequest, side: -1 | 1): void {
    if (side === 1) this.parts[row]!.push(request);
    else {
      this.parts[row]!.unshift(request);
      this.sector[row] = request.sector;
    }
    this.sectors[row]! += request.sectors;
  }

  /** The row's bytes in one piece: the callers' own where they are neighbours, else a buffer (filled for a write). */
  buffer(row: number): Uint8Array | undefined {
    const parts = this.parts[row]!;
    if (parts.length === 1) return parts[0]!.data;
    const length = this.sectors[row]! * SECTOR_SIZE;
    const first = parts[0]!.data!;
    if (areNeighbours(parts)) return new Uint8Array(first.buffer, first.byteOffset, length);
    let gathered = this.#gathered[row];
    if (gathered === undefined || gathered.length < length) this.#gathered[row] = gathered = new Uint8Array(length);
    if (this.op[row] === BlockOp.Write) {
      let at = 0;
      for (const { data } of parts) {
        gathered.set(data!, at);
        at += data!.length;
      }
    }
    return gathered.subarray(0, length);
  }

  /** Ends the parts: results, and for a read that was merged each its bytes, where they are not there already. */
  end(row: number, result: number, buffer: Uint8Array | undefined): readonly BlockRequest[] {
    const parts = this.parts[row]!;
    const isGathered = parts.length > 1 && buffer!.buffer !== parts[0]!.data!.buffer;
    let at = 0;
    for (const part of parts) {
      if (result === 0 && isGathered && part.op === BlockOp.Read)
        part.data!.set(buffer!.subarray(at, at + part.data!.length));
      at += part.data?.length ?? 0;
      part.result = result;
    }
    return parts;
  }
}

/** Does each part's memory begin where that of the one before ends? */
function areNeighbours(parts: readonly BlockRequest[]): boolean {
  const { buffer } = parts[0]!.data!;
  let { byteOffset } = parts[0]!.data!;
  for (const { data } of parts) {
    if (data!.buffer !== buffer || data!.byteOffset !== byteOffset) return false;
    byteOffset += data!.length;
  }
  return true;
}

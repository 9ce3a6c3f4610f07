/**
 * A simulated disk as a BlockDevice: bytes in memory, and as wanted service times in virtual time, a volatile cache that
 * a power cut empties, and faults.
 *
 * - new SimDisk({ sectors, ... })   without a service model everything ends within submit
 * - image                           what reads see
 * - cache                           the volatile set; undefined: every write is durable as it ends
 * - crash(survives)                 the image after a power cut
 * - nextAtNs                        when the next request in flight ends
 *
 * Bytes of a write enter the volatile set when the disk takes the request. A flush covers the writes that had ended when
 * the disk took it, and makes them durable when it ends; FUA makes that one write durable when it ends.
 */
import { BlockOp, REQ_FUA, REQ_PREFLUSH, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockDevice, BlockLimits, BlockRequest } from "../../kernel/abi/block.ts";
import { EIO } from "../../kernel/abi/errno.ts";
import type { Nanos } from "../../kernel/abi/units.ts";
import { assert } from "../../kernel/lib/assert.ts";
import { checkRequest } from "../block/request.ts";
import { DiskCache } from "./disk_cache.ts";
import { serviceEnd, serviceState } from "./disk_service.ts";
import type { ServiceModel } from "./disk_service.ts";
import type { Fault, FaultPlan } from "./faults.ts";

export interface SimDiskOptions {
  readonly sectors: number;
  /** Its content; `sectors` long. Zeroes when missing. */
  readonly image?: Uint8Array;
  readonly logicalBlockSize?: number;
  readonly queueDepth?: number;
  readonly sectorsMax?: number;
  /** A volatile cache with this atomic sector; missing: writes are durable as they end. */
  readonly atomicBytes?: number;
  readonly service?: ServiceModel;
  readonly now?: () => Nanos;
  readonly faults?: FaultPlan;
  /** With a volatile cache: told of sectors as they become durable. */
  readonly durable?: (sector: number, bytes: Uint8Array) => void;
}

interface InFlight {
  readonly request: BlockRequest;
  readonly endNs: number;
  readonly result: number;
  /** Serial of its write in the cache; 0: none. */
  readonly serial: number;
  /** Flush, or a write with PREFLUSH: writes up to this serial that had ended are covered. */
  readonly covers: number;
  /** Writes that had not ended when it was taken: a flush promises nothing about them. */
  readonly uncovered: ReadonlySet<number> | undefined;
  readonly fault: Fault | undefined;
}

export class SimDisk implements BlockDevice {
  readonly limits: BlockLimits;
  readonly image: Uint8Array;
  readonly cache: DiskCache | undefined;
  readonly faults: FaultPlan | undefined;
  readonly #service: ServiceModel | undefined;
  readonly #serviceState: Float64Array;
  readonly #now: () => number;
  #inFlight: InFlight[] = [];
  #ended: BlockRequest[] = [];
  /** Serials of writes taken and not ended. */
  readonly #open = new Set<number>();
  /** What each sector held before its last write; kept while stale reads may come. */
  readonly #before: Uint8Array | undefined;

  constructor(options: SimDiskOptions) {
    const { sectors, faults, service } = options;
    this.limits = {
      sectors,
      logicalBlockSize: options.logicalBlockSize ?? 512,
      queueDepth: options.queueDepth ?? 128,
      sectorsMax: options.sectorsMax ?? 2048,
      writeCache: options.atomicBytes !== undefined,
      discard: true,
      writeZeroes: true,
    };
    this.image = options.image ?? new Uint8Array(sectors * SECTOR_SIZE);
    assert(this.image.length === sectors * SECTOR_SIZE, "SimDisk: the image has the disk's size");
    if (options.atomicBytes !== undefined) this.cache = new DiskCache(this.image, options.atomicBytes, options.durable);
    this.faults = faults;
    if (faults?.has("stale-read") === true) this.#before = this.image.slice();
    this.#service = service;
    this.#serviceState = service === undefined ? new Float64Array(0) : serviceState(service);
    assert(service === undefined || options.now !== undefined, "SimDisk: a service model needs a clock");
    this.#now = options.now ?? (() => 0);
  }

  get nextAtNs(): number {
    let next = Infinity;
    for (const { endNs } of this.#inFlight) next = Math.min(next, endNs);
    return next;
  }

  submit(batch: readonly BlockRequest[]): number {
    let taken = 0;
    for (const request of batch) {
      if (this.#inFlight.length >= this.limits.queueDepth) break;
      this.#take(request);
      taken++;
    }
    return taken;
  }

  #take(request: BlockRequest): void {
    request.result = undefined;
    const verdict = checkRequest(this.limits, request);
    if (verdict !== 0) {
      request.result = verdict;
      this.#ended.push(request);
      return;
    }
    const fault = this.faults?.strike(request);
    const isPreflush = request.op === BlockOp.Write && (request.flags & REQ_PREFLUSH) !== 0;
    const covers = request.op === BlockOp.Flush || isPreflush ? (this.cache?.serial ?? 0) : 0;
    const uncovered = covers > 0 && this.#open.size > 0 ? new Set(this.#open) : undefined;
    const isEio = fault?.kind === "eio-read" || fault?.kind === "eio-write";
    const serial = isEio ? 0 : this.#transfer(request, fault);
    if (serial > 0) this.#open.add(serial);
    const endNs = this.#endNs(request, fault);
    const flight = { request, endNs, result: isEio ? EIO : 0, serial, covers, uncovered, fault };
    if (this.#service === undefined) this.#end(flight);
    else this.#inFlight.push(flight);
  }

  #endNs(request: BlockRequest, fault: Fault | undefined): number {
    if (this.#service === undefined) return 0;
    const { op, sector, sectors } = request;
    const endNs = serviceEnd(this.#service, this.#serviceState, this.#now(), op, sector, sectors);
    return endNs + (fault?.kind === "latency" ? fault.addNs : 0);
  }

  /** Moves the bytes; returns the serial of the write in the cache. */
  #transfer(request: BlockRequest, fault: Fault | undefined): number {
    const start = request.sector * SECTOR_SIZE;
    const bytes = request.sectors * SECTOR_SIZE;
    if (request.op === BlockOp.Read) {
      const from = fault?.kind === "stale-read" ? this.#before! : this.image;
      request.data!.set(from.subarray(start, start + bytes));
      return 0;
    }
    if (request.op === BlockOp.Flush || fault?.kind === "lost-write") return 0;
    // A discarded range reads as zeroes here, as most devices give; VirtIO promises nothing.
    const data = request.op === BlockOp.Write ? request.data! : new Uint8Array(bytes);
    if (fault?.kind === "torn-write") return this.#put(request.sector, this.#torn(data, fault));
    if (fault?.kind === "misdirected-write") return this.#put(this.#elsewhere(request, fault), data);
    return this.#put(request.sector, data);
  }

  #put(sector: number, data: Uint8Array): number {
    const start = sector * SECTOR_SIZE;
    this.#before?.set(this.image.subarray(start, start + data.length), start);
    const serial = data.length === 0 ? 0 : (this.cache?.note(sector, data.length) ?? 0);
    this.image.set(data, start);
    return serial;
  }

  /** At least one atomic unit of it is missing. */
  #torn(data: Uint8Array, fault: Fault): Uint8Array {
    const unit = this.cache?.atomicBytes ?? SECTOR_SIZE;
    const units = Math.ceil(data.length / unit);
    return data.subarray(0, (fault.draw % units) * unit);
  }

  #elsewhere(request: BlockRequest, fault: Fault): number {
    const unit = this.limits.logicalBlockSize / SECTOR_SIZE;
    const places = Math.floor((this.limits.sectors - request.sectors) / unit) + 1;
    const place = (fault.draw % places) * unit;
    return place === request.sector ? (place + unit) % (places * unit) : place;
  }

  poll(): readonly BlockRequest[] {
    if (this.#inFlight.length > 0) this.#endDue();
    const ended = this.#ended;
    if (ended.length > 0) this.#ended = [];
    return ended;
  }

  /** Ends what is due, in the order of end times: durability follows them. */
  #endDue(): void {
    const nowNs = this.#now();
    const due = this.#inFlight.filter(({ endNs }) => endNs <= nowNs);
    if (due.length === 0) return;
    this.#inFlight = this.#inFlight.filter(({ endNs }) => endNs > nowNs);
    due.sort((a, b) => a.endNs - b.endNs);
    for (const flight of due) this.#end(flight);
  }

  #end(flight: InFlight): void {
    const { request, serial, fault } = flight;
    if (serial > 0) this.#open.delete(serial);
    if (this.cache !== undefined) {
      if (flight.covers > 0 && fault?.kind !== "dropped-flush") this.#settle(this.cache, flight);
      const isFua = (request.flags & REQ_FUA) !== 0 && fault?.kind !== "dropped-fua";
      if (serial > 0 && isFua) this.cache.settle(serial);
    }
    request.result = flight.result;
    this.#ended.push(request);
  }

  #settle(cache: DiskCache, { covers, uncovered, fault }: InFlight): void {
    const isReordered = fault?.kind === "reordered-flush";
    cache.settleAll(covers, (serial) => {
      if (uncovered?.has(serial) === true) return false;
      // The draw's bits say which of the writes stay behind.
      return !isReordered || ((fault.draw >>> (serial % 30)) & 1) === 0;
    });
  }

  /** The medium after a power cut, with the atomic units of volatile writes that `survives` picks. */
  crash(survives: (serial: number, unit: number) => boolean): Uint8Array {
    return this.cache === undefined ? this.image.slice() : this.cache.crash(survives);
  }
}

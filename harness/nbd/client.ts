/**
 * A disk that an NBD server has, as a BlockDevice. Its face is synchronous; the socket lives in a worker of its own and
 * moves on while the caller computes or blocks.
 *
 * - openNbd(address, timeoutMs)   connects and negotiates; UserError when nobody answers or it is no NBD server
 * - disk.wait(timeoutMs)          blocks until something ended since the last poll (for callers that have nothing else to do)
 * - disk.close()                  says goodbye
 *
 * A connection that breaks, a server that answers nonsense, or one that leaves a request unanswered for `timeoutMs`:
 * every request in flight and every later one ends with EIO.
 */
import { Worker } from "node:worker_threads";
import { BlockOp, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockDevice, BlockLimits, BlockRequest } from "../../kernel/abi/block.ts";
import { EINVAL, EIO } from "../../kernel/abi/errno.ts";
import type { Errno } from "../../kernel/abi/units.ts";
import { modulePath } from "../../kernel/lib/module_path.ts";
import { UserError } from "../cli/exit.ts";
import { Bell, ClientState, Phase, SLOT, SLOTS, SLOT_BYTES, clientRing } from "./client_ring.ts";
import type { ClientRing } from "./client_ring.ts";
import type { NbdAddress } from "./server.ts";
import { Flag } from "./wire.ts";

export const NBD_TIMEOUT_MS = 30_000;

export interface ClientStart {
  readonly ring: ClientRing;
  readonly address: NbdAddress;
  readonly timeoutMs: number;
}

/** What the worker says once it is through the handshake, or why it is not. */
export type ClientHello =
  | { readonly bytes: number; readonly bytesMin: number; readonly bytesMax: number; readonly flags: number }
  | { readonly failure: string };

export class NbdDisk implements BlockDevice {
  readonly limits: BlockLimits;
  readonly #ring: ClientRing;
  readonly #worker: Worker;
  readonly #requests: (BlockRequest | undefined)[] = Array.from({ length: SLOTS }, () => undefined);
  #refused: BlockRequest[] = [];
  #endedSeen = 0;

  constructor(ring: ClientRing, worker: Worker, limits: BlockLimits) {
    this.#ring = ring;
    this.#worker = worker;
    this.limits = limits;
  }

  submit(batch: readonly BlockRequest[]): number {
    let taken = 0;
    let posted = 0;
    for (const request of batch) {
      if (!this.#fits(request)) {
        request.result = EINVAL;
        this.#refused.push(request);
      } else if (Atomics.load(this.#ring.control, Bell.STATE) !== ClientState.Open) {
        request.result = EIO;
        this.#refused.push(request);
      } else {
        const slot = this.#requests.indexOf(undefined);
        if (slot < 0) break;
        this.#post(slot, request);
        posted++;
      }
      taken++;
    }
    if (posted > 0) {
      Atomics.add(this.#ring.control, Bell.POSTED, posted);
      Atomics.notify(this.#ring.control, Bell.POSTED);
    }
    return taken;
  }

  poll(): readonly BlockRequest[] {
    this.#endedSeen = Atomics.load(this.#ring.control, Bell.ENDED);
    const ended = this.#refused;
    this.#refused = [];
    const { slots, bytes } = this.#ring;
    for (const [slot, request] of this.#requests.entries()) {
      const base = slot * SLOT.words;
      if (request === undefined || Atomics.load(slots, base + SLOT.phase) !== Phase.Ended) continue;
      request.result = slots[base + SLOT.result]! as Errno | 0;
      const from = slot * SLOT_BYTES;
      if (request.op === BlockOp.Read && request.result === 0)
        request.data!.set(bytes.subarray(from, from + request.data!.length));
      Atomics.store(slots, base + SLOT.phase, Phase.Free);
      this.#requests[slot] = undefined;
      ended.push(request);
    }
    return ended;
  }

  wait(timeoutMs: number): void {
    if (this.#refused.length === 0) Atomics.wait(this.#ring.control, Bell.ENDED, this.#endedSeen, timeoutMs);
  }

  async close(): Promise<void> {
    Atomics.store(this.#ring.control, Bell.STATE, ClientState.Closing);
    Atomics.add(this.#ring.control, Bell.POSTED, 1);
    Atomics.notify(this.#ring.control, Bell.POSTED);
    await new Promise((resolve) => this.#worker.once("exit", resolve));
  }

  #fits({ op, sector, sectors, data }: BlockRequest): boolean {
    if (op === BlockOp.Flush) return true;
    const align = this.limits.logicalBlockSize / SECTOR_SIZE;
    if (!(sector >= 0 && sectors > 0 && sector + sectors <= this.limits.sectors)) return false;
    if (sector % align !== 0 || sectors % align !== 0) return false;
    if (op === BlockOp.Discard) return this.limits.discard;
    if (op === BlockOp.WriteZeroes) return this.limits.writeZeroes;
    return sectors <= this.limits.sectorsMax && data?.length === sectors * SECTOR_SIZE;
  }

  #post(slot: number, request: BlockRequest): void {
    const { slots, bytes } = this.#ring;
    const base = slot * SLOT.words;
    slots[base + SLOT.op] = request.op;
    slots[base + SLOT.flags] = request.flags;
    slots[base + SLOT.sectorLow] = (request.sector % 2 ** 32) | 0;
    slots[base + SLOT.sectorHigh] = Math.floor(request.sector / 2 ** 32);
    slots[base + SLOT.sectors] = request.sectors;
    if (request.op === BlockOp.Write) bytes.set(request.data!, slot * SLOT_BYTES);
    this.#requests[slot] = request;
    request.result = undefined;
    Atomics.store(slots, base + SLOT.phase, Phase.Posted);
  }
}

export async function openNbd(address: NbdAddress, timeoutMs = NBD_TIMEOUT_MS): Promise<NbdDisk> {
  const ring = clientRing();
  const start: ClientStart = { ring, address, timeoutMs };
  const worker = new Worker(modulePath("./client_worker.ts", import.meta.url), { workerData: start });
  const hello = await new Promise<ClientHello>((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  const where = address.path ?? `127.0.0.1:${address.port}`;
  if ("failure" in hello) throw new UserError(`cannot use ${where} as a disk: ${hello.failure}`);
  const { bytes, bytesMin, bytesMax, flags } = hello;
  return new NbdDisk(ring, worker, {
    sectors: Math.floor(bytes / SECTOR_SIZE),
    logicalBlockSize: Math.max(SECTOR_SIZE, bytesMin),
    queueDepth: SLOTS,
    sectorsMax: Math.min(SLOT_BYTES, bytesMax) / SECTOR_SIZE,
    writeCache: (flags & Flag.SendFlush) !== 0,
    discard: (flags & Flag.SendTrim) !== 0,
    writeZeroes: (flags & Flag.SendWriteZeroes) !== 0,
  });
}

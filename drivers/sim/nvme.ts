/**
 * Our NVMe controller (NVMe 1.4) over any BlockDevice as its one namespace: admin queue, up to QUEUES pairs, PRP lists
 * (chained ones too), read, write, flush, FUA, write zeroes, dataset management.
 *
 * A driver that breaks a rule gets the status the specification names; a doorbell out of range is ignored and noted in
 * `fault`. A queue whose memory lies outside RAM makes the controller fatal.
 */
import { BlockOp, REQ_FUA, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockDevice, BlockRequest } from "../../kernel/abi/block.ts";
import type { Width } from "../../kernel/abi/bus.ts";
import type { PhysAddr } from "../../kernel/abi/units.ts";
import {
  Admin,
  CC_ENABLE,
  CQE_BYTES,
  CSTS_FATAL,
  CSTS_READY,
  Cns,
  DSM_DEALLOCATE,
  DSM_RANGE_BYTES,
  Feature,
  IDENTIFY_BYTES,
  IdCtrl,
  IdNs,
  Io,
  NVME_CLASS,
  NVME_PAGE,
  NvmeStatus,
  ONCS_DATASET,
  ONCS_WRITE_ZEROES,
  PRPS_PER_PAGE,
  RW_FUA,
  Reg,
  SQE_BYTES,
} from "../nvme/nvme_layout.ts";
import type { GuestMemory } from "../virtio/device_chain.ts";
import type { RegisterWindow, SimBus, SimLine, Stepped } from "./bus.ts";
import { SimPciFunction } from "./pci_function.ts";

/** Pairs of I/O queues. */
const QUEUES = 4;
const ENTRIES_MAX = 1024;
const VENDOR = 0x1b36;
const DEVICE = 0x0010;
/** Largest transfer: 2^MDTS pages. */
const MDTS = 7;

interface SubmissionQueue {
  readonly id: number;
  readonly addr: number;
  readonly size: number;
  readonly cq: number;
  head: number;
  tail: number;
}

interface CompletionQueue {
  readonly addr: number;
  readonly size: number;
  readonly interrupts: boolean;
  head: number;
  tail: number;
  phase: number;
  /** Commands under way that will complete here. */
  owed: number;
}

/** A command at the disk. */
interface InFlight extends BlockRequest {
  readonly sq: SubmissionQueue;
  readonly commandId: number;
  /** Where a read's bytes go: pieces of memory. */
  readonly pieces: readonly Piece[];
  readonly generation: number;
  /** Requests its command became (a discard's ranges), and the worst status so far. */
  readonly group: { left: number; status: number };
}

interface Piece {
  readonly addr: number;
  readonly bytes: number;
}

export class NvmeDevice implements RegisterWindow, Stepped {
  /** What the driver did that the specification forbids and no status reports. */
  fault: string | undefined;
  readonly #memory: GuestMemory;
  readonly #disk: BlockDevice;
  readonly #line: SimLine;
  readonly #blockShift: number;
  readonly #registers = new DataView(new ArrayBuffer(0x40));
  readonly #entry = new DataView(new ArrayBuffer(SQE_BYTES));
  readonly #submissions = new Map<number, SubmissionQueue>();
  readonly #completions = new Map<number, CompletionQueue>();
  #waiting: InFlight[] = [];
  #writeCache = true;
  /** Counts resets: what was in flight before one is dropped. */
  #generation = 0;

  constructor(memory: GuestMemory, disk: BlockDevice, line: SimLine) {
    this.#memory = memory;
    this.#disk = disk;
    this.#line = line;
    this.#blockShift = Math.log2(disk.limits.logicalBlockSize);
    this.#registers.setUint32(Reg.Cap, (ENTRIES_MAX - 1) | (1 << 16) | (4 << 24), true);
    this.#registers.setUint32(Reg.Cap + 4, 1 << 5, true);
    this.#registers.setUint32(Reg.Version, 0x00010400, true);
  }

  get nextAtNs(): number {
    return (this.#disk as BlockDevice & { readonly nextAtNs?: number }).nextAtNs ?? Infinity;
  }

  read(offset: number, width: Width): number {
    if (offset + width > this.#registers.byteLength) return 0;
    const low = this.#registers.getUint32(offset & ~3, true);
    if (width === 8) return low + this.#registers.getUint32((offset & ~3) + 4, true) * 2 ** 32;
    return Math.floor(low / 2 ** (8 * (offset & 3))) % 2 ** (8 * width);
  }

  write(offset: number, width: Width, value: number): void {
    if (offset >= Reg.Doorbells) {
      this.#doorbell((offset - Reg.Doorbells) >> 2, value);
      return;
    }
    if (width === 8) {
      this.write(offset, 4, value % 2 ** 32);
      this.write(offset + 4, 4, Math.floor(value / 2 ** 32));
    } else if (offset === Reg.Cc) this.#configure(value);
    else if (offset >= Reg.Aqa && offset + width <= this.#registers.byteLength)
      this.#registers.setUint32(offset & ~3, value, true);
  }

  #configure(value: number): void {
    const wasOn = (this.#registers.getUint32(Reg.Cc, true) & CC_ENABLE) !== 0;
    const isOn = (value & CC_ENABLE) !== 0;
    this.#registers.setUint32(Reg.Cc, value, true);
    if (wasOn === isOn) return;
    if (!isOn) {
      this.#generation++;
      this.#submissions.clear();
      this.#completions.clear();
      this.#waiting = [];
      this.#writeCache = true;
      this.fault = undefined;
      this.#registers.setUint32(Reg.Csts, 0, true);
      return;
    }
    const sizes = this.#registers.getUint32(Reg.Aqa, true);
    const asq = this.#address(Reg.Asq);
    const acq = this.#address(Reg.Acq);
    const sq = { id: 0, addr: asq, size: (sizes & 0xfff) + 1, cq: 0, head: 0, tail: 0 };
    const cq = { addr: acq, size: ((sizes >>> 16) & 0xfff) + 1, interrupts: true, head: 0, tail: 0, phase: 1, owed: 0 };
    const fits = asq + sq.size * SQE_BYTES <= this.#memory.bytes && acq + cq.size * CQE_BYTES <= this.#memory.bytes;
    this.#submissions.set(0, sq);
    this.#completions.set(0, cq);
    this.#registers.setUint32(Reg.Csts, fits ? CSTS_READY : CSTS_FATAL, true);
  }

  #address(register: number): number {
    const low = this.#registers.getUint32(register, true);
    return low - (low % NVME_PAGE) + this.#registers.getUint32(register + 4, true) * 2 ** 32;
  }

  get #isReady(): boolean {
    return (this.#registers.getUint32(Reg.Csts, true) & (CSTS_READY | CSTS_FATAL)) === CSTS_READY;
  }

  #doorbell(index: number, value: number): void {
    if (!this.#isReady) return;
    const id = index >> 1;
    if ((index & 1) === 1) {
      const cq = this.#completions.get(id);
      if (cq === undefined || value >= cq.size) this.fault ??= "a completion doorbell out of range";
      else cq.head = value;
      this.step();
      return;
    }
    const sq = this.#submissions.get(id);
    if (sq === undefined || value >= sq.size) {
      this.fault ??= "a submission doorbell out of range";
      return;
    }
    sq.tail = value;
    this.step();
  }

  step(): void {
    if (!this.#isReady) return;
    this.#complete();
    for (const sq of this.#submissions.values()) this.#drain(sq);
    this.#submit();
    this.#complete();
  }

  #drain(sq: SubmissionQueue): void {
    while (sq.head !== sq.tail && this.#hasRoom(sq)) {
      const at = (sq.addr + sq.head * SQE_BYTES) as PhysAddr;
      this.#memory.dma.read(at, new Uint8Array(this.#entry.buffer));
      sq.head = sq.head + 1 === sq.size ? 0 : sq.head + 1;
      const opcode = this.#entry.getUint8(0);
      if (sq.id === 0) this.#admin(sq, opcode);
      else this.#io(sq, opcode);
    }
  }

  /** A full completion queue stops the submission queues that feed it. */
  #hasRoom(sq: SubmissionQueue): boolean {
    const cq = this.#completions.get(sq.cq)!;
    return ((cq.tail - cq.head + cq.size) % cq.size) + cq.owed < cq.size - 1;
  }

  #dword(index: number): number {
    return this.#entry.getUint32(4 * index, true);
  }

  #prp(index: 1 | 2): number {
    const at = index === 1 ? 24 : 32;
    return this.#entry.getUint32(at, true) + this.#entry.getUint32(at + 4, true) * 2 ** 32;
  }

  #finish(sq: SubmissionQueue, commandId: number, status: number, result = 0): void {
    const cq = this.#completions.get(sq.cq);
    if (cq === undefined) return;
    const entry = new DataView(new ArrayBuffer(CQE_BYTES));
    entry.setUint32(0, result, true);
    entry.setUint16(8, sq.head, true);
    entry.setUint16(10, sq.id, true);
    entry.setUint16(12, commandId, true);
    const at = cq.addr + cq.tail * CQE_BYTES;
    this.#memory.dma.write(at as PhysAddr, new Uint8Array(entry.buffer, 0, 14));
    // The phase last: it is what says that the entry is whole.
    this.#memory.dma.publish16((at + 14) as PhysAddr, (status << 1) | cq.phase);
    if (++cq.tail === cq.size) {
      cq.tail = 0;
      cq.phase ^= 1;
    }
    if (cq.interrupts) this.#line.raise();
  }

  #admin(sq: SubmissionQueue, opcode: number): void {
    const commandId = this.#entry.getUint16(2, true);
    let result = 0;
    let status: number;
    switch (opcode) {
      case Admin.Identify:
        status = this.#identify();
        break;
      case Admin.CreateCq:
        status = this.#createCq();
        break;
      case Admin.CreateSq:
        status = this.#createSq();
        break;
      case Admin.DeleteSq:
        status = this.#submissions.delete(this.#queueId() || -1) ? NvmeStatus.Ok : NvmeStatus.InvalidQueueId;
        break;
      case Admin.DeleteCq:
        status = this.#completions.delete(this.#queueId() || -1) ? NvmeStatus.Ok : NvmeStatus.InvalidQueueId;
        break;
      case Admin.SetFeatures:
      case Admin.GetFeatures: {
        const feature = this.#dword(10) & 0xff;
        status = NvmeStatus.Ok;
        if (feature === Feature.Queues) result = (QUEUES - 1) | ((QUEUES - 1) << 16);
        else if (feature !== Feature.WriteCache) status = NvmeStatus.InvalidField;
        else if (opcode === Admin.GetFeatures) result = this.#writeCache ? 1 : 0;
        else this.#writeCache = (this.#dword(11) & 1) === 1;
        break;
      }
      default:
        status = NvmeStatus.InvalidOpcode;
    }
    this.#finish(sq, commandId, status, result);
  }

  #queueId(): number {
    return this.#dword(10) & 0xffff;
  }

  #createCq(): number {
    const id = this.#queueId();
    const size = (this.#dword(10) >>> 16) + 1;
    const addr = this.#prp(1);
    if (id === 0 || id > QUEUES || this.#completions.has(id)) return NvmeStatus.InvalidQueueId;
    if (size < 2 || size > ENTRIES_MAX) return NvmeStatus.InvalidQueueSize;
    if ((this.#dword(11) & 1) === 0 || addr % NVME_PAGE !== 0) return NvmeStatus.InvalidField;
    if (addr + size * CQE_BYTES > this.#memory.bytes) return NvmeStatus.InvalidField;
    const interrupts = (this.#dword(11) & 2) !== 0;
    this.#completions.set(id, { addr, size, interrupts, head: 0, tail: 0, phase: 1, owed: 0 });
    return NvmeStatus.Ok;
  }

  #createSq(): number {
    const id = this.#queueId();
    const size = (this.#dword(10) >>> 16) + 1;
    const addr = this.#prp(1);
    const cq = this.#dword(11) >>> 16;
    if (id === 0 || id > QUEUES || this.#submissions.has(id)) return NvmeStatus.InvalidQueueId;
    if (cq === 0 || !this.#completions.has(cq)) return NvmeStatus.InvalidCq;
    if (size < 2 || size > ENTRIES_MAX) return NvmeStatus.InvalidQueueSize;
    if ((this.#dword(11) & 1) === 0 || addr % NVME_PAGE !== 0) return NvmeStatus.InvalidField;
    if (addr + size * SQE_BYTES > this.#memory.bytes) return NvmeStatus.InvalidField;
    this.#submissions.set(id, { id, addr, size, cq, head: 0, tail: 0 });
    return NvmeStatus.Ok;
  }

  #identify(): number {
    const page = new DataView(new ArrayBuffer(IDENTIFY_BYTES));
    const cns = this.#dword(10) & 0xff;
    const text = (at: number, length: number, value: string): void => {
      for (let i = 0; i < length; i++) page.setUint8(at + i, i < value.length ? value.charCodeAt(i) : 0x20);
    };
    if (cns === Cns.Controller) {
      page.setUint16(0, VENDOR, true);
      text(IdCtrl.Serial, 20, "orrery-sim");
      text(IdCtrl.Model, 40, "Orrery simulated NVMe");
      page.setUint8(IdCtrl.Mdts, MDTS);
      page.setUint32(IdCtrl.Namespaces, 1, true);
      page.setUint16(IdCtrl.Oncs, ONCS_DATASET | ONCS_WRITE_ZEROES, true);
      page.setUint8(IdCtrl.Vwc, 1);
    } else if (cns === Cns.Namespace) {
      if (this.#dword(1) !== 1) return NvmeStatus.InvalidNamespace;
      const blocks = BigInt(Math.floor(this.#disk.limits.sectors / 2 ** (this.#blockShift - 9)));
      for (const at of [0, 8, 16]) page.setBigUint64(IdNs.Size + at, blocks, true);
      page.setUint8(IdNs.Format0 + 2, this.#blockShift);
    } else return NvmeStatus.InvalidField;
    const pieces = this.#gather(IDENTIFY_BYTES);
    if (typeof pieces === "number") return pieces;
    this.#scatter(pieces, new Uint8Array(page.buffer));
    return NvmeStatus.Ok;
  }

  /** The memory that PRP 1 and 2 describe for `bytes`, or why they do not. */
  #gather(bytes: number): Piece[] | number {
    const pieces: Piece[] = [];
    let left = bytes;
    const put = (addr: number, most: number): number => {
      const take = Math.min(left, most);
      if (addr + take > this.#memory.bytes) return NvmeStatus.DataTransfer;
      pieces.push({ addr, bytes: take });
      left -= take;
      return 0;
    };
    const first = this.#prp(1);
    if (first % 4 !== 0) return NvmeStatus.InvalidPrpOffset;
    const wrong = put(first, NVME_PAGE - (first % NVME_PAGE));
    if (wrong !== 0 || left === 0) return wrong === 0 ? pieces : wrong;
    const second = this.#prp(2);
    if (left <= NVME_PAGE) {
      if (second % NVME_PAGE !== 0) return NvmeStatus.InvalidPrpOffset;
      return put(second, NVME_PAGE) || pieces;
    }
    return this.#gatherList(second, () => left, put) || pieces;
  }

  /** Walks a PRP list; its last entry points to the next page of the list when more is to come. */
  #gatherList(list: number, left: () => number, put: (addr: number, most: number) => number): number {
    const entry = new DataView(new ArrayBuffer(8));
    let at = list;
    if (at % 8 !== 0) return NvmeStatus.InvalidPrpOffset;
    while (left() > 0) {
      if (at + 8 > this.#memory.bytes) return NvmeStatus.DataTransfer;
      this.#memory.dma.read(at as PhysAddr, new Uint8Array(entry.buffer));
      const addr = entry.getUint32(0, true) + entry.getUint32(4, true) * 2 ** 32;
      if (addr % NVME_PAGE !== 0) return NvmeStatus.InvalidPrpOffset;
      const isLast = (at % NVME_PAGE) / 8 === PRPS_PER_PAGE - 1;
      if (isLast && left() > NVME_PAGE) {
        at = addr;
        continue;
      }
      const wrong = put(addr, NVME_PAGE);
      if (wrong !== 0) return wrong;
      at += 8;
    }
    return 0;
  }

  #scatter(pieces: readonly Piece[], from: Uint8Array): void {
    let at = 0;
    for (const { addr, bytes } of pieces) {
      this.#memory.dma.write(addr as PhysAddr, from.subarray(at, at + bytes));
      at += bytes;
    }
  }

  #collect(pieces: readonly Piece[], into: Uint8Array): void {
    let at = 0;
    for (const { addr, bytes } of pieces) {
      this.#memory.dma.read(addr as PhysAddr, into.subarray(at, at + bytes));
      at += bytes;
    }
  }

  #io(sq: SubmissionQueue, opcode: number): void {
    const commandId = this.#entry.getUint16(2, true);
    const status = this.#dword(1) === 1 ? this.#start(sq, commandId, opcode) : NvmeStatus.InvalidNamespace;
    if (status !== NvmeStatus.Ok) this.#finish(sq, commandId, status);
  }

  /** Puts a command on its way to the disk; anything but Ok ends it here. */
  #start(sq: SubmissionQueue, commandId: number, opcode: number): number {
    if (opcode === Io.Flush) return this.#launch(sq, commandId, BlockOp.Flush, 0, 0, 0, []);
    if (opcode === Io.Dataset) return this.#dataset(sq, commandId);
    const isKnown = opcode === Io.Read || opcode === Io.Write || opcode === Io.WriteZeroes;
    if (!isKnown) return NvmeStatus.InvalidOpcode;
    const unit = 2 ** (this.#blockShift - 9);
    const sector = (this.#dword(10) + this.#dword(11) * 2 ** 32) * unit;
    const sectors = ((this.#dword(12) & 0xffff) + 1) * unit;
    if (sector + sectors > this.#disk.limits.sectors) return NvmeStatus.LbaRange;
    const isFua = (this.#dword(12) & RW_FUA) !== 0 || !this.#writeCache;
    const flags = isFua && opcode !== Io.Read ? REQ_FUA : 0;
    if (opcode === Io.WriteZeroes) return this.#launch(sq, commandId, BlockOp.WriteZeroes, sector, sectors, flags, []);
    const bytes = sectors * SECTOR_SIZE;
    if (bytes > NVME_PAGE << MDTS) return NvmeStatus.InvalidField;
    const pieces = this.#gather(bytes);
    if (typeof pieces === "number") return pieces;
    const op = opcode === Io.Read ? BlockOp.Read : BlockOp.Write;
    return this.#launch(sq, commandId, op, sector, sectors, flags, pieces);
  }

  /** Ranges are advice but for deallocation; they go to the disk one by one, the last one carries the completion. */
  #dataset(sq: SubmissionQueue, commandId: number): number {
    const ranges = (this.#dword(10) & 0xff) + 1;
    const pieces = this.#gather(ranges * DSM_RANGE_BYTES);
    if (typeof pieces === "number") return pieces;
    if ((this.#dword(11) & DSM_DEALLOCATE) === 0) return this.#launch(sq, commandId, BlockOp.Flush, 0, 0, 0, []);
    const bytes = new DataView(new ArrayBuffer(ranges * DSM_RANGE_BYTES));
    this.#collect(pieces, new Uint8Array(bytes.buffer));
    const unit = 2 ** (this.#blockShift - 9);
    const found: [sector: number, sectors: number][] = [];
    for (let range = 0; range < ranges; range++) {
      const at = range * DSM_RANGE_BYTES;
      const sectors = bytes.getUint32(at + 4, true) * unit;
      const sector = (bytes.getUint32(at + 8, true) + bytes.getUint32(at + 12, true) * 2 ** 32) * unit;
      if (sector + sectors > this.#disk.limits.sectors) return NvmeStatus.LbaRange;
      if (sectors > 0) found.push([sector, sectors]);
    }
    if (found.length === 0) this.#finish(sq, commandId, NvmeStatus.Ok);
    const group: { left: number; status: number } = { left: found.length, status: NvmeStatus.Ok };
    for (const [sector, sectors] of found) this.#launch(sq, commandId, BlockOp.Discard, sector, sectors, 0, [], group);
    return NvmeStatus.Ok;
  }

  #launch(
    sq: SubmissionQueue,
    commandId: number,
    op: BlockOp,
    sector: number,
    sectors: number,
    flags: number,
    pieces: readonly Piece[],
    group: { left: number; status: number } = { left: 1, status: NvmeStatus.Ok },
  ): number {
    const isTransfer = op === BlockOp.Read || op === BlockOp.Write;
    const data = isTransfer ? new Uint8Array(sectors * SECTOR_SIZE) : undefined;
    if (op === BlockOp.Write) this.#collect(pieces, data!);
    const request = { op, flags, sector, sectors, data, task: 0, result: undefined };
    this.#waiting.push({ ...request, sq, commandId, pieces, generation: this.#generation, group });
    this.#completions.get(sq.cq)!.owed++;
    return NvmeStatus.Ok;
  }

  #submit(): void {
    if (this.#waiting.length === 0) return;
    this.#waiting = this.#waiting.slice(this.#disk.submit(this.#waiting));
  }

  #ended(flight: InFlight): void {
    const { sq, group } = flight;
    const cq = this.#completions.get(sq.cq);
    if (cq !== undefined) cq.owed--;
    const isRead = flight.op === BlockOp.Read;
    if (flight.result !== 0) group.status = isRead ? NvmeStatus.ReadError : NvmeStatus.WriteFault;
    else if (isRead) this.#scatter(flight.pieces, flight.data!);
    if (--group.left === 0) this.#finish(sq, flight.commandId, group.status);
  }

  #complete(): void {
    for (;;) {
      const ended = this.#disk.poll() as readonly InFlight[];
      for (const flight of ended) {
        if (flight.generation !== this.#generation) continue;
        this.#ended(flight);
      }
      if (ended.length === 0 || this.#waiting.length === 0) return;
      this.#submit();
    }
  }
}

/** Makes the function and puts it on the bus: BAR 0 is the registers, the line its INTx wire. */
export function attachNvme(bus: SimBus, bdf: number, device: NvmeDevice): SimPciFunction {
  const identity = { vendor: VENDOR, device: DEVICE, revision: 2, classCode: NVME_CLASS };
  const pciFunction = new SimPciFunction(bus, identity);
  pciFunction.addBar(0, 0x4000, true, device);
  bus.attachFunction(bdf, pciFunction);
  return pciFunction;
}

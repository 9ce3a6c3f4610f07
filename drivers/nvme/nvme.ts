/**
 * NVMe driver (NVMe 1.4), polled, as a BlockDevice: one namespace, one pair of I/O queues, PRP lists.
 *
 * - probeNvme(dma, host, bdf, window, line, options)   finds the registers, starts the controller; ENOSYS or EIO
 * - submit, poll, limits      the BlockDevice face. FUA is the command's own bit; PREFLUSH is a flush before
 * - wait(timeoutNs)           sleeps on the line, then looks at the controller's health
 * - setWriteCache, close
 *
 * As in virtio-blk nothing the device can change is trusted: completions are matched against private tables, lengths are
 * ours, and a controller that breaks a rule or reports a fatal status is Broken: all in flight ends with EIO.
 */
import { BlockOp, REQ_FUA, REQ_PREFLUSH, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockDevice, BlockLimits, BlockRequest } from "../../kernel/abi/block.ts";
import type { Dma, IrqLine, MmioBus, PciHost } from "../../kernel/abi/bus.ts";
import { EIO, ENOSYS, EOPNOTSUPP } from "../../kernel/abi/errno.ts";
import type { Errno, PhysAddr } from "../../kernel/abi/units.ts";
import { checkRequest } from "../block/request.ts";
import { pciMapBars } from "../pci/pci.ts";
import type { BarWindow } from "../pci/pci.ts";
import { Cfg } from "../pci/pci_layout.ts";
import { RingMemory } from "../virtio/ring_memory.ts";
import {
  Admin,
  CC_ENABLE,
  CC_ENTRY_SIZES,
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
  ONCS_DATASET,
  ONCS_WRITE_ZEROES,
  PRPS_PER_PAGE,
  RW_FUA,
  Reg,
} from "./nvme_layout.ts";
import { NvmeQueue } from "./nvme_queue.ts";

export interface NvmeOptions {
  readonly queueSize: number;
  /** Largest request, bytes. */
  readonly dataBytes: number;
}

export const NVME_DEFAULTS: NvmeOptions = { queueSize: 128, dataBytes: 65_536 };

const NAMESPACE = 1;
const ADMIN_SIZE = 16;
/** Looks at a register or an admin completion, each after a wait, before the controller is given up: two seconds. */
const POLLS_MAX = 20_000;
const POLL_NS = 100_000;
/** Dataset management and write zeroes: blocks in one command (write zeroes counts in 16 bits). */
const RANGE_BLOCKS_MAX = 65_536;

const Step = { PreFlush: 0, Main: 1 } as const;

export function probeNvme(
  dma: Dma,
  host: PciHost,
  bdf: number,
  window: BarWindow,
  line: IrqLine,
  options: Partial<NvmeOptions> = {},
): Nvme | Errno {
  const classCode = host.configRead(bdf, Cfg.RevisionId, 4) >>> 8;
  if (classCode !== NVME_CLASS) return ENOSYS;
  const base = pciMapBars(host, bdf, window).get(0);
  if (base === undefined) return EIO;
  const driver = new Nvme(dma, host.mmio, base, line, { ...NVME_DEFAULTS, ...options });
  const started = driver.restart();
  if (started === 0) return driver;
  driver.close();
  return started;
}

export class Nvme implements BlockDevice {
  limits: BlockLimits;
  broken: string | undefined = "not started";
  serial = "";
  model = "";

  readonly #dma: Dma;
  readonly #bus: MmioBus;
  readonly #base: PhysAddr;
  readonly #line: IrqLine;
  readonly #options: NvmeOptions;
  #stride = 4;
  #admin: NvmeQueue | undefined;
  #io: NvmeQueue | undefined;
  /** By slot: a page of PRPs (or the range of a discard), then the bounce buffers. */
  #lists: RingMemory | undefined;
  #data = 0 as PhysAddr;
  #blockShift = 9;
  #hasCache = false;
  readonly #free: number[] = [];
  readonly #requests: (BlockRequest | undefined)[] = [];
  readonly #steps: Uint8Array;
  readonly #inPlace: Uint8Array;
  #ended: BlockRequest[] = [];
  readonly #dwords = [0, 0, 0];

  constructor(dma: Dma, bus: MmioBus, base: PhysAddr, line: IrqLine, options: NvmeOptions) {
    this.#dma = dma;
    this.#bus = bus;
    this.#base = base;
    this.#line = line;
    this.#options = options;
    this.#steps = new Uint8Array(options.queueSize);
    this.#inPlace = new Uint8Array(options.queueSize);
    const none = { sectors: 0, logicalBlockSize: 512, queueDepth: 0, sectorsMax: 0 };
    this.limits = { ...none, writeCache: false, discard: false, writeZeroes: false };
  }

  #read32(offset: number): number {
    return this.#bus.read(4, (this.#base + offset) as PhysAddr);
  }

  #write32(offset: number, value: number): void {
    this.#bus.write(4, (this.#base + offset) as PhysAddr, value);
  }

  #write64(offset: number, value: number): void {
    this.#write32(offset, value % 2 ** 32);
    this.#write32(offset + 4, Math.floor(value / 2 ** 32));
  }

  /** Resets the controller, ends what was in flight with EIO, and starts again (7.6.1). */
  restart(): 0 | Errno {
    this.#cancelAll();
    this.#freeMemory();
    this.broken = "not started";
    const capLow = this.#read32(Reg.Cap);
    const capHigh = this.#read32(Reg.Cap + 4);
    // CAP.MPSMIN is the smallest page, as a power of two from 4 KiB.
    if (capLow === 0xffffffff || ((capHigh >>> 16) & 0xf) !== 0)
      return this.#fail("the controller cannot use 4 KiB pages");
    this.#stride = 4 << (capHigh & 0xf);
    if (!this.#setEnabled(false)) return this.#fail("the controller does not reset");
    const admin = new NvmeQueue(this.#dma, 0, ADMIN_SIZE);
    this.#admin = admin;
    this.#write32(Reg.Aqa, ((ADMIN_SIZE - 1) << 16) | (ADMIN_SIZE - 1));
    this.#write64(Reg.Asq, admin.sqAddr);
    this.#write64(Reg.Acq, admin.cqAddr);
    if (!this.#setEnabled(true)) return this.#fail("the controller does not start");
    const size = Math.min(this.#options.queueSize, (capLow & 0xffff) + 1);
    const wrong = this.#identify(size) ?? this.#createQueues(size);
    if (wrong !== undefined) return this.#fail(wrong);
    this.broken = undefined;
    return 0;
  }

  #fail(reason: string): Errno {
    this.broken = reason;
    return EIO;
  }

  #setEnabled(on: boolean): boolean {
    this.#write32(Reg.Cc, on ? CC_ENABLE | CC_ENTRY_SIZES : 0);
    for (let poll = 0; poll < POLLS_MAX; poll++) {
      const status = this.#read32(Reg.Csts);
      if (on && (status & CSTS_FATAL) !== 0) return false;
      if ((status & CSTS_READY) === (on ? CSTS_READY : 0)) return true;
      this.#line.wait(POLL_NS);
    }
    return false;
  }

  /** One admin command, waited for; its status, or -1 when it never ended. */
  #command(opcode: number, namespace: number, prp1: number, ...dwords: readonly number[]): number {
    const admin = this.#admin!;
    admin.add(0, opcode, namespace, prp1, 0, dwords);
    this.#ring(admin);
    for (let poll = 0; poll < POLLS_MAX; poll++) {
      if (admin.take() === 0) {
        this.#write32(Reg.Doorbells + this.#stride, admin.head);
        return admin.status;
      }
      if (admin.broken !== undefined) return -1;
      this.#line.wait(POLL_NS);
    }
    return -1;
  }

  #ring(queue: NvmeQueue): void {
    const tail = queue.push();
    if (tail >= 0) this.#write32(Reg.Doorbells + 2 * queue.id * this.#stride, tail);
  }

  /** Reads controller and namespace; returns what is wrong with them. */
  #identify(size: number): string | undefined {
    const page = this.#dma.alloc(IDENTIFY_BYTES, NVME_PAGE);
    const bytes = new Uint8Array(IDENTIFY_BYTES);
    const view = new DataView(bytes.buffer);
    const ask = (namespace: number, cns: number): boolean => {
      const isOk = this.#command(Admin.Identify, namespace, page, cns) === 0;
      this.#dma.read(page, bytes);
      return isOk;
    };
    try {
      if (!ask(0, Cns.Controller)) return "identify controller failed";
      const text = (at: number, length: number): string =>
        String.fromCharCode(...bytes.subarray(at, at + length)).trim();
      this.serial = text(IdCtrl.Serial, 20);
      this.model = text(IdCtrl.Model, 40);
      this.#hasCache = (bytes[IdCtrl.Vwc]! & 1) === 1;
      const oncs = view.getUint16(IdCtrl.Oncs, true);
      const mdts = bytes[IdCtrl.Mdts]!;
      const transferMax = mdts === 0 || mdts > 20 ? Infinity : NVME_PAGE << mdts;
      if (!ask(NAMESPACE, Cns.Namespace)) return "identify namespace failed";
      const blocks = view.getUint32(IdNs.Size, true) + view.getUint32(IdNs.Size + 4, true) * 2 ** 32;
      const format = IdNs.Format0 + 4 * (bytes[IdNs.Formatted]! & 0xf);
      this.#blockShift = bytes[format + 2]!;
      if (this.#blockShift < 9 || this.#blockShift > 12) return "the namespace's block size is not 512 to 4096";
      if (view.getUint16(format, true) !== 0) return "the namespace has metadata";
      if (blocks === 0 || blocks > 2 ** 41) return "the namespace's size makes no sense";
      const unit = 2 ** (this.#blockShift - 9);
      const bytesMax = Math.min(this.#options.dataBytes, transferMax, (PRPS_PER_PAGE + 1) * NVME_PAGE);
      this.limits = {
        sectors: blocks * unit,
        logicalBlockSize: 2 ** this.#blockShift,
        queueDepth: size - 1,
        sectorsMax: Math.floor(bytesMax / (unit * SECTOR_SIZE)) * unit,
        writeCache: this.#hasCache,
        discard: (oncs & ONCS_DATASET) !== 0,
        writeZeroes: (oncs & ONCS_WRITE_ZEROES) !== 0,
      };
      return undefined;
    } finally {
      this.#dma.free(page);
    }
  }

  #createQueues(size: number): string | undefined {
    if (this.#command(Admin.SetFeatures, 0, 0, Feature.Queues, 0) !== 0) return "the queue count was refused";
    const io = new NvmeQueue(this.#dma, 1, size);
    this.#io = io;
    const shape = ((size - 1) << 16) | io.id;
    // Physically contiguous, interrupts on: the line may be waited for.
    if (this.#command(Admin.CreateCq, 0, io.cqAddr, shape >>> 0, 3) !== 0) return "the completion queue was refused";
    if (this.#command(Admin.CreateSq, 0, io.sqAddr, shape >>> 0, (io.id << 16) | 1) !== 0)
      return "the submission queue was refused";
    const slots = size - 1;
    this.#lists = new RingMemory(this.#dma, slots * NVME_PAGE, NVME_PAGE);
    this.#data = this.#dma.alloc(slots * this.#options.dataBytes, NVME_PAGE);
    this.#free.length = 0;
    for (let slot = slots - 1; slot >= 0; slot--) this.#free.push(slot);
    return undefined;
  }

  submit(batch: readonly BlockRequest[]): number {
    if (this.broken !== undefined) {
      for (const request of batch) this.#end(request, EIO);
      return batch.length;
    }
    let taken = 0;
    for (const request of batch) {
      if (!this.#accept(request)) break;
      taken++;
    }
    this.#ring(this.#io!);
    return taken;
  }

  #accept(request: BlockRequest): boolean {
    request.result = undefined;
    const verdict = this.#check(request);
    if (verdict !== 0 || (request.op === BlockOp.Flush && !this.limits.writeCache)) {
      this.#end(request, verdict);
      return true;
    }
    const slot = this.#free.pop();
    if (slot === undefined) return false;
    const isPreflush = request.op === BlockOp.Write && (request.flags & REQ_PREFLUSH) !== 0 && this.limits.writeCache;
    this.#requests[slot] = request;
    this.#steps[slot] = isPreflush ? Step.PreFlush : Step.Main;
    this.#post(slot, request);
    return true;
  }

  #check(request: BlockRequest): 0 | Errno {
    const verdict = checkRequest(this.limits, request);
    if (verdict !== 0) return verdict;
    const isRange = request.op === BlockOp.Discard || request.op === BlockOp.WriteZeroes;
    if (isRange && request.sectors * SECTOR_SIZE > RANGE_BLOCKS_MAX * 2 ** this.#blockShift) return EOPNOTSUPP;
    return 0;
  }

  #post(slot: number, request: BlockRequest): void {
    const io = this.#io!;
    const dwords = this.#dwords;
    if (this.#steps[slot] === Step.PreFlush || request.op === BlockOp.Flush) {
      io.add(slot, Io.Flush, NAMESPACE, 0, 0, []);
      return;
    }
    const shift = this.#blockShift - 9;
    const block = request.sector / 2 ** shift;
    const blocks = request.sectors / 2 ** shift;
    if (request.op === BlockOp.Discard) {
      this.#writeRange(slot, block, blocks);
      dwords[0] = 0;
      dwords[1] = DSM_DEALLOCATE;
      dwords[2] = 0;
      io.add(slot, Io.Dataset, NAMESPACE, this.#listAddr(slot), 0, dwords);
      return;
    }
    dwords[0] = block % 2 ** 32;
    dwords[1] = Math.floor(block / 2 ** 32);
    dwords[2] = blocks - 1;
    const isFua = (request.flags & REQ_FUA) !== 0 && request.op !== BlockOp.Read;
    if (isFua && this.limits.writeCache) dwords[2] |= RW_FUA;
    if (request.op === BlockOp.WriteZeroes) {
      io.add(slot, Io.WriteZeroes, NAMESPACE, 0, 0, dwords);
      return;
    }
    const data = request.data!;
    const direct = this.#dma.addrOf?.(data);
    // PRPs after the first start at page borders; the first is aligned to a dword.
    const isDirect = direct !== undefined && direct % 4 === 0;
    this.#inPlace[slot] = isDirect ? 1 : 0;
    const start = isDirect ? direct : this.#dataAddr(slot);
    if (request.op === BlockOp.Write && !isDirect) this.#dma.write(start, data);
    const second = this.#prps(slot, start, data.length);
    io.add(slot, request.op === BlockOp.Write ? Io.Write : Io.Read, NAMESPACE, start, second, dwords);
  }

  #listAddr(slot: number): PhysAddr {
    return this.#lists!.addr(slot * NVME_PAGE);
  }

  #dataAddr(slot: number): PhysAddr {
    return (this.#data + slot * this.#options.dataBytes) as PhysAddr;
  }

  /** PRP 2: nothing, the second page, or the slot's list of all pages after the first. */
  #prps(slot: number, start: number, bytes: number): number {
    const first = NVME_PAGE - (start % NVME_PAGE);
    if (bytes <= first) return 0;
    const pages = Math.ceil((bytes - first) / NVME_PAGE);
    const next = start + first;
    if (pages === 1) return next;
    const word = (slot * NVME_PAGE) >> 2;
    const { u32 } = this.#lists!;
    for (let page = 0; page < pages; page++) {
      const addr = next + page * NVME_PAGE;
      u32[word + 2 * page] = addr;
      u32[word + 2 * page + 1] = Math.floor(addr / 2 ** 32);
    }
    this.#lists!.push(slot * NVME_PAGE, pages * 8);
    return this.#listAddr(slot);
  }

  #writeRange(slot: number, block: number, blocks: number): void {
    const word = (slot * NVME_PAGE) >> 2;
    const { u32 } = this.#lists!;
    u32[word] = 0;
    u32[word + 1] = blocks;
    u32[word + 2] = block;
    u32[word + 3] = Math.floor(block / 2 ** 32);
    this.#lists!.push(slot * NVME_PAGE, DSM_RANGE_BYTES);
  }

  poll(): readonly BlockRequest[] {
    if (this.broken === undefined) this.#pollQueue(this.#io!);
    const ended = this.#ended;
    if (ended.length > 0) this.#ended = [];
    return ended;
  }

  #pollQueue(io: NvmeQueue): void {
    let taken = 0;
    for (let slot = io.take(); slot >= 0; slot = io.take()) {
      this.#complete(slot, io.status);
      taken++;
    }
    if (io.broken !== undefined) {
      this.#break(io.broken);
      return;
    }
    if (taken === 0) return;
    this.#write32(Reg.Doorbells + (2 * io.id + 1) * this.#stride, io.head);
    this.#ring(io);
  }

  #complete(slot: number, status: number): void {
    const request = this.#requests[slot]!;
    if (status === 0 && this.#steps[slot] === Step.PreFlush) {
      this.#steps[slot] = Step.Main;
      this.#post(slot, request);
      return;
    }
    if (status === 0 && request.op === BlockOp.Read && this.#inPlace[slot] === 0)
      this.#dma.read(this.#dataAddr(slot), request.data!);
    this.#requests[slot] = undefined;
    this.#free.push(slot);
    this.#end(request, status === 0 ? 0 : EIO);
  }

  #end(request: BlockRequest, result: number): void {
    request.result = result;
    this.#ended.push(request);
  }

  /** Sleeps on the line unless something ended; a controller that died meanwhile is seen here. */
  wait(timeoutNs: number): boolean {
    if (this.#ended.length > 0 || this.broken !== undefined) return true;
    if (this.#line.wait(timeoutNs)) return true;
    // All ones: the function is gone from the bus.
    if ((this.#read32(Reg.Csts) & CSTS_FATAL) !== 0) {
      this.#break("the controller reports a fatal status");
      return true;
    }
    return this.#io!.inFlight === 0;
  }

  /** Turns the volatile write cache on or off. */
  setWriteCache(on: boolean): 0 | Errno {
    if (!this.#hasCache) return EOPNOTSUPP;
    if (this.broken !== undefined) return EIO;
    if (this.#command(Admin.SetFeatures, 0, 0, Feature.WriteCache, on ? 1 : 0) !== 0) return EIO;
    this.limits = { ...this.limits, writeCache: on };
    return 0;
  }

  #break(reason: string): void {
    this.broken = reason;
    // Disabled first: a controller that still ran could write into buffers that are handed back here.
    this.#write32(Reg.Cc, 0);
    this.#cancelAll();
  }

  #cancelAll(): void {
    for (const [slot, request] of this.#requests.entries()) {
      if (request === undefined) continue;
      this.#requests[slot] = undefined;
      this.#end(request, EIO);
    }
  }

  #freeMemory(): void {
    this.#admin?.free();
    this.#io?.free();
    if (this.#lists !== undefined) {
      this.#lists.free();
      this.#dma.free(this.#data);
    }
    this.#admin = undefined;
    this.#io = undefined;
    this.#lists = undefined;
  }

  close(): void {
    this.#setEnabled(false);
    this.#cancelAll();
    this.#freeMemory();
    this.broken = "closed";
  }
}

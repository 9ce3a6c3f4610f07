/**
 * Random verified operations on a block device: everything the device answers is compared with a model in memory, and at
 * the end the medium behind the device with the model. Pure of any world: it needs a BlockDevice and a way to wait.
 *
 * A round is a batch of requests on ranges that do not overlap (what overlapping requests in flight do is undefined),
 * submitted in random portions, so that the queue is sometimes full and sometimes empty.
 */
import { BlockOp, REQ_FUA, REQ_PREFLUSH, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockRequest } from "../../kernel/abi/block.ts";
import { blockRequest } from "../../drivers/index.ts";
import { next32, nextBelow, prng } from "../../kernel/lib/prng.ts";
import type { OpenedDevice } from "./devices.ts";

export interface VerifyJob {
  readonly device: string;
  readonly ops: number;
  readonly seed: number;
  readonly sectors: number;
  readonly driver: Readonly<Record<string, number | boolean>>;
  readonly unmapped: boolean;
  /** How long a QEMU may be silent; undefined: its default. */
  readonly qemuTimeoutMs?: number;
}

export interface VerifyReport {
  readonly schema: 1;
  readonly device: string;
  readonly seed: number;
  readonly ops: number;
  /** Requests whose result or bytes were not the model's. */
  readonly mismatches: number;
  /** The first of them, in words. */
  readonly firstMismatch: string | null;
  readonly imageEqual: boolean;
  readonly reads: number;
  readonly writes: number;
  readonly flushes: number;
  readonly discards: number;
  readonly zeroes: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly iops: number;
}

const BATCH_MAX = 48;
const WAIT_NS = 50e6;
/** Waits without any completion before the device counts as hung. */
const IDLE_WAITS_MAX = 100;
const IMAGE_CHUNK = 256;

/** Share of each operation, of 16. */
const MIX: readonly BlockOp[] = [
  ...Array.from({ length: 7 }, () => BlockOp.Write),
  ...Array.from({ length: 6 }, () => BlockOp.Read),
  BlockOp.Flush,
  BlockOp.Discard,
  BlockOp.WriteZeroes,
];

class Verifier {
  readonly counts = new Float64Array(5);
  mismatches = 0;
  firstMismatch: string | null = null;
  bytes = 0;
  readonly #opened: OpenedDevice;
  readonly #random: Int32Array;
  readonly #model: Uint8Array;
  /** What a discard left is not promised: these sectors are known again once written. */
  readonly #unknown: Uint8Array;
  readonly #busy: Int32Array;
  #round = 0;

  constructor(opened: OpenedDevice, seed: number) {
    this.#opened = opened;
    this.#random = prng(seed);
    const { sectors } = opened.device.limits;
    this.#model = new Uint8Array(sectors * SECTOR_SIZE);
    this.#unknown = new Uint8Array(sectors);
    this.#busy = new Int32Array(sectors);
    for (let sector = 0; sector < sectors; sector += IMAGE_CHUNK) {
      const end = Math.min(sector + IMAGE_CHUNK, sectors);
      opened.readMedium(sector, this.#model.subarray(sector * SECTOR_SIZE, end * SECTOR_SIZE));
    }
  }

  /** Makes, submits, waits for and checks one batch of at most `most` requests. */
  round(most: number): number {
    this.#round++;
    const batch: BlockRequest[] = [];
    const wanted = Math.min(1 + nextBelow(this.#random, BATCH_MAX), most);
    for (let i = 0; i < wanted; i++) {
      const request = this.#make();
      if (request !== undefined) batch.push(request);
    }
    this.#carryOut(batch);
    for (const request of batch) this.#judge(request);
    return batch.length;
  }

  #make(): BlockRequest | undefined {
    const { limits } = this.#opened.device;
    const random = this.#random;
    let op = MIX[nextBelow(random, MIX.length)]!;
    if (op === BlockOp.Discard && !limits.discard) op = BlockOp.Read;
    if (op === BlockOp.WriteZeroes && !limits.writeZeroes) op = BlockOp.Write;
    if (op === BlockOp.Flush) return blockRequest(op, 0, undefined);
    const unit = limits.logicalBlockSize / SECTOR_SIZE;
    const unitsMax = Math.min(limits.sectorsMax, 64) / unit;
    const sectors = (1 + nextBelow(random, unitsMax)) * unit;
    const sector = nextBelow(random, Math.floor((limits.sectors - sectors) / unit) + 1) * unit;
    for (let i = sector; i < sector + sectors; i++) if (this.#busy[i] === this.#round) return undefined;
    this.#busy.fill(this.#round, sector, sector + sectors);
    if (op === BlockOp.Discard || op === BlockOp.WriteZeroes) return blockRequest(op, sector, undefined, { sectors });
    const data = new Uint8Array(sectors * SECTOR_SIZE);
    if (op === BlockOp.Write) this.#fill(data);
    const flags = nextBelow(random, 8) === 0 ? REQ_FUA | REQ_PREFLUSH : 0;
    return blockRequest(op, sector, data, { flags: op === BlockOp.Write ? flags : 0 });
  }

  #fill(data: Uint8Array): void {
    const words = new Uint32Array(data.buffer);
    let x = next32(this.#random);
    for (let i = 0; i < words.length; i++) words[i] = x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
  }

  #carryOut(batch: readonly BlockRequest[]): void {
    const { device } = this.#opened;
    let next = 0;
    let ended = 0;
    let idle = 0;
    while (ended < batch.length) {
      const portion = batch.slice(next, next + 1 + nextBelow(this.#random, BATCH_MAX));
      if (portion.length > 0) next += device.submit(portion);
      const done = device.poll().length;
      ended += done;
      if (done > 0) idle = 0;
      else if (!device.wait(WAIT_NS) && ++idle > IDLE_WAITS_MAX) {
        this.#miss(`${batch.length - ended} requests never ended (${device.broken ?? "device up"})`);
        return;
      }
    }
  }

  #judge(request: BlockRequest): void {
    const { op, sector, sectors, data, result } = request;
    this.counts[op]!++;
    this.bytes += data?.length ?? 0;
    if (result !== 0) {
      this.#miss(`op ${op} at ${sector}+${sectors} ended with ${result ?? "nothing"}`);
      return;
    }
    const start = sector * SECTOR_SIZE;
    if (op === BlockOp.Write) this.#model.set(data!, start);
    else if (op === BlockOp.WriteZeroes) this.#model.fill(0, start, start + sectors * SECTOR_SIZE);
    if (op === BlockOp.Write || op === BlockOp.WriteZeroes) this.#unknown.fill(0, sector, sector + sectors);
    else if (op === BlockOp.Discard) this.#unknown.fill(1, sector, sector + sectors);
    else if (op === BlockOp.Read && !this.#equal(sector, data!)) this.#miss(`read at ${sector}+${sectors} differs`);
  }

  #equal(sector: number, data: Uint8Array): boolean {
    for (let i = 0; i < data.length; i += SECTOR_SIZE) {
      const at = sector + i / SECTOR_SIZE;
      if (this.#unknown[at] !== 0) continue;
      const model = this.#model.subarray(at * SECTOR_SIZE, (at + 1) * SECTOR_SIZE);
      for (let j = 0; j < SECTOR_SIZE; j++) if (data[i + j] !== model[j]) return false;
    }
    return true;
  }

  #miss(what: string): void {
    this.mismatches++;
    this.firstMismatch ??= what;
  }

  /** Flushes, then compares the medium with the model. */
  imageEqual(): boolean {
    this.#carryOut([blockRequest(BlockOp.Flush, 0, undefined)]);
    const { sectors } = this.#opened.device.limits;
    const chunk = new Uint8Array(IMAGE_CHUNK * SECTOR_SIZE);
    for (let sector = 0; sector < sectors; sector += IMAGE_CHUNK) {
      const part = chunk.subarray(0, Math.min(IMAGE_CHUNK, sectors - sector) * SECTOR_SIZE);
      this.#opened.readMedium(sector, part);
      if (!this.#equal(sector, part)) return false;
    }
    return true;
  }
}

/** Runs the job on an opened device. */
export function verify(
  opened: OpenedDevice,
  job: VerifyJob,
  progress: (done: number) => void = () => {},
): VerifyReport {
  const verifier = new Verifier(opened, job.seed);
  const startMs = performance.now();
  let ops = 0;
  while (ops < job.ops && opened.device.broken === undefined) {
    ops += verifier.round(job.ops - ops);
    progress(ops);
  }
  const seconds = (performance.now() - startMs) / 1e3;
  const [reads, writes, flushes, discards, zeroes] = verifier.counts as unknown as [
    number,
    number,
    number,
    number,
    number,
  ];
  return {
    schema: 1,
    device: job.device,
    seed: job.seed,
    ops,
    mismatches: verifier.mismatches,
    firstMismatch: verifier.firstMismatch ?? opened.device.broken ?? null,
    imageEqual: verifier.imageEqual(),
    reads,
    writes,
    flushes,
    discards,
    zeroes,
    bytes: verifier.bytes,
    seconds,
    iops: ops / seconds,
  };
}

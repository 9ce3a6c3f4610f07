/**
 * Kyber-like: latency targets for reads and writes, held by throttling how many requests of each kind are at the device.
 * After Linux block/kyber-iosched.c: domains with tokens, round robin in batches, depths adapted each WINDOW_NS to how
 * latencies lie to their targets. Reads are never throttled below their full depth by their own lateness.
 */
import { BlockOp } from "../../../kernel/abi/block.ts";
import type { Elevator, ElevatorQueue, ElevatorSetup, ElevatorTable } from "../../../kernel/abi/elevator.ts";
import { RowFifo } from "./rows.ts";

const DOMAINS = 3;
const READ = 0;
const WRITE = 1;
const OTHER = 2;
const NONE = -1;

export const TARGET_NS: readonly number[] = [2e6, 10e6, 5e9];
/** Requests of a domain issued in a row. */
const BATCHES: readonly number[] = [16, 8, 1];
export const WINDOW_NS = 100e6;
/** Completions in a window before it says anything. */
const SAMPLES_MIN = 16;
/** Windows more that are waited for them. */
const WINDOWS_MORE = 9;
/** Share of late requests that makes a domain bad. */
const LATE_SHARE = 0.1;

class KyberQueue implements ElevatorQueue {
  readonly wakeAtNs = Infinity;
  readonly #table: ElevatorTable;
  readonly #fifos: readonly RowFifo[];
  readonly #depthMax: Int32Array;
  /** Tokens of each domain, and how many are out. */
  readonly #depth: Int32Array;
  readonly #out = new Int32Array(DOMAINS);
  readonly #samples = new Int32Array(DOMAINS);
  readonly #late = new Int32Array(DOMAINS);
  #windowEndNs = WINDOW_NS;
  #domain = READ;
  #batch = 0;

  constructor(setup: ElevatorSetup) {
    this.#table = setup.table;
    this.#fifos = Array.from({ length: DOMAINS }, () => new RowFifo(setup.rows));
    this.#depthMax = Int32Array.from([1, 0.75, 0.25], (share) => Math.max(Math.floor(setup.depth * share), 1));
    this.#depth = this.#depthMax.slice();
  }

  get waiting(): number {
    return this.#fifos.reduce((sum, fifo) => sum + fifo.count, 0);
  }

  #domainOf(row: number): number {
    const op = this.#table.op[row]!;
    return op === BlockOp.Read ? READ : op === BlockOp.Write ? WRITE : OTHER;
  }

  insert(row: number): void {
    this.#fifos[this.#domainOf(row)]!.push(row);
  }

  dispatch(): number {
    if (this.#batch >= BATCHES[this.#domain]!) this.#turn();
    for (let tries = 0; tries < DOMAINS; tries++) {
      const fifo = this.#fifos[this.#domain]!;
      if (fifo.count > 0 && this.#out[this.#domain]! < this.#depth[this.#domain]!) {
        this.#batch++;
        this.#out[this.#domain]!++;
        return fifo.shift();
      }
      this.#turn();
    }
    return NONE;
  }

  #turn(): void {
    this.#domain = (this.#domain + 1) % DOMAINS;
    this.#batch = 0;
  }

  grown(): void {}

  completed(row: number, nowNs: number): void {
    const domain = this.#domainOf(row);
    this.#out[domain]!--;
    this.#samples[domain]!++;
    if (nowNs - this.#table.arrivedNs[row]! > TARGET_NS[domain]!) this.#late[domain]!++;
    const isEnough = this.#samples[READ]! >= SAMPLES_MIN || this.#samples[WRITE]! >= SAMPLES_MIN;
    if (nowNs >= this.#windowEndNs + (isEnough ? 0 : WINDOWS_MORE * WINDOW_NS)) this.#adapt(nowNs);
  }

  /** Late reads halve the other domains' tokens; a domain on target, with reads on target, gets some back. */
  #adapt(nowNs: number): void {
    this.#windowEndNs = nowNs + WINDOW_NS;
    const isBad = (domain: number): boolean =>
      this.#samples[domain]! >= SAMPLES_MIN && this.#late[domain]! > this.#samples[domain]! * LATE_SHARE;
    const readsAreBad = isBad(READ);
    for (let domain = WRITE; domain < DOMAINS; domain++) {
      const depth = this.#depth[domain]!;
      const wanted = readsAreBad ? depth >> 1 : isBad(domain) ? depth + (depth >> 1) + 1 : depth + 1;
      this.#depth[domain] = Math.min(Math.max(wanted, 1), this.#depthMax[domain]!);
    }
    this.#samples.fill(0);
    this.#late.fill(0);
  }

  /** Tokens by domain: reads, writes, the rest. */
  get depths(): Int32Array {
    return this.#depth;
  }
}

export const kyber = {
  name: "kyber",
  create: (setup: ElevatorSetup): KyberQueue => new KyberQueue(setup),
} satisfies Elevator;

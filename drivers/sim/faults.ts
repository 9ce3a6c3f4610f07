/**
 * Faults of a disk: which go wrong, where, how often. A fault is decided when the device takes the request, by a rule
 * that counts or by a seeded draw, so a run is repeated by its seed.
 *
 *   eio-read, eio-write   the request ends with EIO; nothing is transferred
 *   torn-write            only the first atomic units are written; the request ends well
 *   misdirected-write     the bytes land on other sectors; ends well
 *   lost-write            the bytes land nowhere; ends well
 *   dropped-flush         ends well, nothing becomes durable
 *   dropped-fua           FUA is ignored
 *   reordered-flush       a flush leaves some of the writes before it volatile, though later ones may become durable
 *   stale-read            gives what the sectors held before their last write
 *   latency               the request takes longer
 */
import { BlockOp, REQ_FUA } from "../../kernel/abi/block.ts";
import type { BlockRequest } from "../../kernel/abi/block.ts";
import { nextBelow, prng } from "../../kernel/lib/prng.ts";

export const FAULT_KINDS = [
  "eio-read",
  "eio-write",
  "torn-write",
  "misdirected-write",
  "lost-write",
  "dropped-flush",
  "dropped-fua",
  "reordered-flush",
  "stale-read",
  "latency",
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

export interface FaultRule {
  readonly kind: FaultKind;
  /** Only requests that touch [from, to) sectors; all when missing. */
  readonly from?: number;
  readonly to?: number;
  /** Matching requests that pass unharmed before the first fault. */
  readonly after?: number;
  /** Faults at most; no bound when missing. */
  readonly times?: number;
  /** One in `oneIn` matching requests, drawn by the seed; 1 (all) when missing. */
  readonly oneIn?: number;
  /** latency: nanoseconds more. */
  readonly addNs?: number;
}

/** A fault that happened. */
export interface Fault {
  readonly kind: FaultKind;
  readonly sector: number;
  readonly addNs: number;
  /** A draw for the fault's own use: where a misdirected write goes, how much of a torn one is written. */
  readonly draw: number;
}

const DRAW_MAX = 2 ** 30;

const isWrite = (op: BlockOp): boolean => op === BlockOp.Write || op === BlockOp.WriteZeroes;

function applies(kind: FaultKind, request: BlockRequest): boolean {
  switch (kind) {
    case "eio-read":
    case "stale-read":
      return request.op === BlockOp.Read;
    case "eio-write":
    case "torn-write":
    case "misdirected-write":
    case "lost-write":
      return isWrite(request.op);
    case "dropped-flush":
    case "reordered-flush":
      return request.op === BlockOp.Flush;
    case "dropped-fua":
      return isWrite(request.op) && (request.flags & REQ_FUA) !== 0;
    default:
      return true;
  }
}

export class FaultPlan {
  readonly rules: readonly FaultRule[];
  /** Faults so far, in order. */
  readonly log: Fault[] = [];
  readonly #state: Int32Array;
  /** By rule: matching requests seen, faults made. */
  readonly #seen: Int32Array;
  readonly #made: Int32Array;

  constructor(rules: readonly FaultRule[], seed: number) {
    this.rules = rules;
    this.#state = prng(seed);
    this.#seen = new Int32Array(rules.length);
    this.#made = new Int32Array(rules.length);
  }

  has(kind: FaultKind): boolean {
    return this.rules.some((rule) => rule.kind === kind);
  }

  /** The fault this request meets: that of the first rule that strikes. */
  strike(request: BlockRequest): Fault | undefined {
    for (const [index, rule] of this.rules.entries()) {
      if (!applies(rule.kind, request) || !touches(rule, request)) continue;
      const seen = this.#seen[index]!++;
      if (seen < (rule.after ?? 0) || this.#made[index]! >= (rule.times ?? Infinity)) continue;
      if (rule.oneIn !== undefined && nextBelow(this.#state, rule.oneIn) !== 0) continue;
      this.#made[index]!++;
      const draw = nextBelow(this.#state, DRAW_MAX);
      const fault = { kind: rule.kind, sector: request.sector, addNs: rule.addNs ?? 0, draw };
      this.log.push(fault);
      return fault;
    }
    return undefined;
  }
}

function touches(rule: FaultRule, request: BlockRequest): boolean {
  if (request.op === BlockOp.Flush) return true;
  return request.sector + request.sectors > (rule.from ?? 0) && request.sector < (rule.to ?? Infinity);
}

/**
 * The only door for nondeterminism. Whatever may differ between two runs of one machine enters through here: the clock,
 * chance, and (going out) the stream of events. Nothing below harness reads a host clock or Math.random.
 */
import type { Nanos } from "./units.ts";

export interface Machine {
  /** Time since boot. Lockstep: virtual, moved only by the event loop. Parallel: the host's monotonic clock. */
  readonly now: () => Nanos;
  /** A whole number from 0 to bound - 1, each as likely; 1 <= bound <= 2^32. */
  readonly below: (bound: number) => number;
  /** One event of kernel/abi/events.ts; a to d are 32-bit integers whose meaning the event's row gives. */
  readonly trace: EventSink;
}

/** Takes one event at emission. Arguments are int32; a missing one is 0. */
export type EventSink = (type: number, cpu: number, a: number, b: number, c: number, d: number) => void;

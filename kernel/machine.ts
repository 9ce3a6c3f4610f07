/**
 * The machine of the lockstep world: a clock that only the event loop moves, chance from a seed, and the event sinks that
 * were asked for. The same seed and the same workload give the same stream of events.
 *
 * - time[0]   virtual time since boot, ns; written by the event loop alone
 */
import type { Machine } from "./abi/machine.ts";
import { nanos } from "./abi/units.ts";
import { nextBelow, prng } from "./lib/prng.ts";
import type { EventHash } from "./observe/hash.ts";
import type { EventLog } from "./observe/event_log.ts";
import { createTracer } from "./observe/tracer.ts";

export interface VirtualMachine extends Machine {
  readonly time: Float64Array;
  readonly log: EventLog | undefined;
  readonly hash: EventHash | undefined;
}

export interface Observers {
  readonly log: EventLog | undefined;
  readonly hash: EventHash | undefined;
}

export function virtualMachine(seed: number, observers: Observers): VirtualMachine {
  // In a buffer of its own: small arrays lie in the collector's heap, which may move them.
  const time = new Float64Array(new SharedArrayBuffer(8));
  const chance = prng(seed);
  return {
    time,
    now: () => nanos(time[0]!),
    below: (bound) => nextBelow(chance, bound),
    trace: createTracer({ now: time, ...observers }),
    ...observers,
  };
}

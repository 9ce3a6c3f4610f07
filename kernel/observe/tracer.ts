/**
 * Puts a machine's event sink together from what is wanted. Each combination is a function of its own, so that what is
 * off costs nothing; with nothing on it is the one empty function.
 *
 * - createTracer({ now, hash?, log?, rings? })   the EventSink for Machine.trace
 * - now    time of the next event: word 0 of a Float64Array that the event loop moves (lockstep), or a function
 */
import type { EventSink } from "../abi/machine.ts";
import type { EventHash } from "./hash.ts";
import type { EventLog } from "./event_log.ts";
import { ringWrite } from "./ring.ts";
import type { EventRings } from "./ring.ts";

export interface TracerParts {
  readonly now: Float64Array | (() => number);
  readonly hash?: EventHash | undefined;
  readonly log?: EventLog | undefined;
  readonly rings?: EventRings | undefined;
}

export const noTrace: EventSink = () => {};

export function createTracer(parts: TracerParts): EventSink {
  const { now, hash, log, rings } = parts;
  const clock = typeof now === "function" ? undefined : now;
  const ask = typeof now === "function" ? now : (): number => now[0]!;
  if (hash === undefined && log === undefined && rings === undefined) return noTrace;
  if (rings === undefined && log === undefined)
    return (type, cpu, a, b, c, d) => hash!.take(clock === undefined ? ask() : clock[0]!, type, cpu, a, b, c, d);
  if (rings === undefined && hash === undefined)
    return (type, cpu, a, b, c, d) => log!.append(clock === undefined ? ask() : clock[0]!, type, cpu, a, b, c, d);
  if (rings === undefined)
    return (type, cpu, a, b, c, d) => {
      const at = clock === undefined ? ask() : clock[0]!;
      log!.append(at, type, cpu, a, b, c, d);
      hash!.take(at, type, cpu, a, b, c, d);
    };
  return (type, cpu, a, b, c, d) => {
    const at = clock === undefined ? ask() : clock[0]!;
    ringWrite(rings.rings[cpu]!, at, type, a, b, c, d);
    log?.append(at, type, cpu, a, b, c, d);
    hash?.take(at, type, cpu, a, b, c, d);
  };
}

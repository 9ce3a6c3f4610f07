/**
 * A limit for synchronous work that may never end: what was cut off leaves its data in any state, and must not be used
 * again.
 *
 * - withinMs(ms, work)    the work's result; throws CutOff
 */
import { Script } from "node:vm";
import { assert } from "../../kernel/lib/assert.ts";

export class CutOff extends Error {}

const WORK = Symbol.for("orrery.withinMs");
/** Node only limits a script: it is given the work by a name that nobody else has. */
const script = new Script(`globalThis[Symbol.for("orrery.withinMs")]()`);

export function withinMs<T>(ms: number, work: () => T): T {
  const place = globalThis as { [WORK]?: () => void };
  assert(place[WORK] === undefined, "withinMs: the work limits work of its own");
  let result: T | undefined;
  place[WORK] = () => void (result = work());
  try {
    script.runInThisContext({ timeout: ms });
    return result as T;
  } catch (error) {
    if ((error as { readonly code?: string }).code === "ERR_SCRIPT_EXECUTION_TIMEOUT")
      throw new CutOff(`it goes on and on: it was cut off after ${ms / 1000} s`);
    throw error;
  } finally {
    delete place[WORK];
  }
}

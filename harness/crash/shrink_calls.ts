/**
 * The smallest workload that still shows something: the fewest calls, and of these as few as possible while the disk is
 * recorded. A call that could as well have been made before, on a disk that was then unmounted, only sets the stage.
 *
 * - smallestWorkload(calls, shows)   `shows` must be true of all calls with nothing before them
 * - operationsIn(calls)              calls that change something: ACE counts neither points of persistence nor time
 */
import type { AceCall } from "./ace.ts";
import { fewest } from "./fewest.ts";

export interface SmallWorkload {
  /** Carried out before the recording begins. */
  readonly before: readonly AceCall[];
  readonly calls: readonly AceCall[];
}

export type Shows = (calls: readonly AceCall[], before: readonly AceCall[]) => boolean;

const NO_OPERATIONS: ReadonlySet<string> = new Set(["sync", "fsync", "fdatasync", "idle"]);
const isOperation = ({ op }: AceCall): boolean => !NO_OPERATIONS.has(op);
/** A file that is held open cannot be unmounted. */
const isMovable = (call: AceCall): boolean => isOperation(call) && call.op !== "hold";

export const operationsIn = (calls: readonly AceCall[]): number => calls.filter(isOperation).length;

export function smallestWorkload(all: readonly AceCall[], asked: Shows): SmallWorkload {
  const known = new Map<string, boolean>();
  const shows: Shows = (calls, before) => {
    const key = [before, calls].map((list) => list.map((call) => all.indexOf(call)).join()).join(" | ");
    let answer = known.get(key);
    if (answer === undefined) known.set(key, (answer = asked(calls, before)));
    return answer;
  };
  // Either way may get stuck where the other does not.
  const ways = [
    () => withoutNeedless(moved({ before: [], calls: fewest(all, (some) => shows(some, [])) }, shows), shows),
    () => withoutNeedless(moved({ before: [], calls: all }, shows), shows),
  ];
  return ways.map((way) => way()).reduce((best, other) => (isSmaller(other, best) ? other : best));
}

function isSmaller(one: SmallWorkload, other: SmallWorkload): boolean {
  const less = operationsIn(one.calls) - operationsIn(other.calls) || one.calls.length - other.calls.length;
  return less < 0 || (less === 0 && one.before.length < other.before.length);
}

/** Each call that can be made before the recording begins. */
function moved(from: SmallWorkload, shows: Shows): SmallWorkload {
  let { calls, before } = from;
  for (const call of from.calls.filter(isMovable)) {
    const [rest, earlier] = [calls.filter((one) => one !== call), [...before, call]];
    if (rest.length > 0 && shows(rest, earlier)) [calls, before] = [rest, earlier];
  }
  return { calls, before };
}

function withoutNeedless(from: SmallWorkload, shows: Shows): SmallWorkload {
  let best = from;
  for (let count = Infinity; best.calls.length < count;) {
    count = best.calls.length;
    const { before } = best;
    best = moved({ before, calls: fewest(best.calls, (some) => shows(some, before)) }, shows);
  }
  const { calls, before } = best;
  if (before.length === 0) return best;
  return { calls, before: shows(calls, []) ? [] : fewest(before, (some) => shows(calls, some)) };
}

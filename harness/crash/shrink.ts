/**
 * From a broken crash state to the one with the fewest lost writes that is still broken: earliest cut first, then each
 * lost write put back that need not be lost, until none can be.
 *
 * - shrinkState(explorer, segment, text)    undefined when the state is not broken
 * - shrinking(set)                          the same for judges that do not answer at once
 */
import type { Explorer } from "./explore.ts";
import type { Segment } from "./recorded.ts";
import { lossText, parseSet } from "./state_set.ts";
import type { StateSet, Tear } from "./state_set.ts";
import { isFlagged } from "./verdict.ts";

export interface Shrunk {
  readonly set: string;
  /** States that were judged on the way. */
  readonly tried: number;
}

interface Loss {
  readonly end: number;
  readonly lost: readonly number[];
  readonly tear: Tear | undefined;
}

export function shrinkState({ disk, judge }: Explorer, segment: Segment, text: string): Shrunk | undefined {
  const free = segment.free.length;
  disk.enter(segment);
  const search = shrinking(parseSet(text, free));
  let step = search.next();
  while (step.done !== true) {
    const set = parseSet(step.value, free);
    disk.state(set);
    step = search.next(isFlagged(judge.verdict(set.tear !== undefined, segment.markers[set.cut]!)));
  }
  disk.undo();
  return step.value;
}

/** The search alone, for judges that take their time: yields the text of a state, and is told whether it is broken. */
export function* shrinking(first: StateSet): Generator<string, Shrunk | undefined, boolean> {
  // A crash at the end of the epoch has lost the writes at its end, too.
  const end = first.cut;
  const lost = [...first.kept.subarray(0, end).entries()].flatMap(([n, kept]) => (kept === 1 ? [] : [n]));
  let best: Loss = { end, lost, tear: first.tear };
  let tried = 1;
  if (!(yield textOf(best))) return undefined;
  function* better(next: Loss): Generator<string, boolean, boolean> {
    tried++;
    if (!(yield textOf(next))) return false;
    best = next;
    return true;
  }
  if (best.tear !== undefined) yield* better({ ...best, tear: undefined });
  for (let again = true; again;) {
    again = false;
    for (const one of best.lost) {
      again = (yield* better({ ...best, lost: best.lost.filter((other) => other !== one) })) || again;
    }
    // An earlier crash: the writes behind it need not have happened.
    for (let cut = Math.max(0, ...best.lost.map((n) => n + 1)); cut < best.end; cut++) {
      if (best.tear !== undefined && best.tear.write >= cut) continue;
      if (yield* better({ ...best, end: cut })) {
        again = true;
        break;
      }
    }
  }
  return { set: textOf(best), tried };
}

const textOf = ({ end, lost, tear }: Loss): string => lossText(end, lost, tear);

/**
 * From a broken crash state to the one with the fewest lost writes that is still broken: earliest cut first, then each
 * lost write put back that need not be lost, until none can be.
 *
 * - shrinkState(explorer, segment, text)    undefined when the state is not broken
 */
import type { Explorer } from "./explore.ts";
import type { Segment } from "./recorded.ts";
import { lossText, parseSet } from "./state_set.ts";
import type { Tear } from "./state_set.ts";
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
  let tried = 0;
  const isBroken = ({ end, lost, tear }: Loss): boolean => {
    const set = parseSet(lossText(end, lost, tear), free);
    tried++;
    disk.state(set);
    return isFlagged(judge.verdict(tear !== undefined, segment.markers[set.cut]!));
  };
  const first = parseSet(text, free);
  // A crash at the end of the epoch has lost the writes at its end, too.
  const end = first.cut;
  const lost = [...first.kept.subarray(0, end).entries()].flatMap(([n, kept]) => (kept === 1 ? [] : [n]));
  let best: Loss = { end, lost, tear: first.tear };
  if (!isBroken(best)) return undefined;
  const better = (next: Loss): boolean => {
    if (!isBroken(next)) return false;
    best = next;
    return true;
  };
  if (best.tear !== undefined) better({ ...best, tear: undefined });
  for (let again = true; again;) {
    again = false;
    for (const one of best.lost) {
      again = better({ ...best, lost: best.lost.filter((other) => other !== one) }) || again;
    }
    // An earlier crash: the writes behind it need not have happened.
    for (let cut = Math.max(0, ...best.lost.map((n) => n + 1)); cut < best.end; cut++) {
      if (best.tear !== undefined && best.tear.write >= cut) continue;
      if (better({ ...best, end: cut })) {
        again = true;
        break;
      }
    }
  }
  disk.undo();
  return { set: lossText(best.end, best.lost, best.tear), tried };
}

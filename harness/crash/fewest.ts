/**
 * The fewest items of a list that still show something: halves, quarters, ... single ones are left out, from the end on,
 * and at last pairs, since a call and its undoing go only together (Zeller and Hildebrandt 2002, and a step more).
 *
 * - fewest(items, shows)    `shows` is asked of sublists in order; it must be true of the whole
 */

/** Pairs are tried of so few. */
const PAIRS_OF = 16;

export function fewest<T>(items: readonly T[], shows: (some: readonly T[]) => boolean): T[] {
  let best = [...items];
  const without = (drop: (n: number) => boolean): boolean => {
    const fewer = best.filter((_, n) => !drop(n));
    if (fewer.length === 0 || fewer.length === best.length || !shows(fewer)) return false;
    best = fewer;
    return true;
  };
  for (let size = Math.ceil(best.length / 2), gone = false; ; size = Math.ceil(size / 2), gone = false) {
    for (let end = best.length; end > 0; end -= size) gone = without((n) => n >= end - size && n < end) || gone;
    if (size > 1 || gone) continue;
    if (best.length > PAIRS_OF || !somePair(best.length, (one, other) => without((n) => n === one || n === other)))
      return best;
  }
}

/** True at the first pair for which `goes` is. */
function somePair(count: number, goes: (one: number, other: number) => boolean): boolean {
  for (let other = count - 1; other > 0; other--)
    for (let one = other - 1; one >= 0; one--) if (goes(one, other)) return true;
  return false;
}

/** What `orrery crash shrink` prints, whoever judged: the state with the fewest lost writes, what they were, how to see it. */
import { lostOf } from "../crash/timeline.ts";
import type { TimelineRow } from "../crash/timeline.ts";
import type { Verdict } from "../crash/verdict.ts";
import type { JudgeOptions } from "./crash_options.ts";
import { emit } from "./output.ts";

export interface Shrunk {
  /** The state that was given, and the smaller one. */
  readonly id: string;
  readonly small: string;
  /** States judged on the way. */
  readonly tried: number;
  readonly verdict: Verdict;
  readonly timeline: readonly TimelineRow[];
  /** A file system that is not ours to read: what a write was to it is not known. */
  readonly fs?: string;
}

export function emitShrunk(
  { id, small, tried, verdict, timeline, fs }: Shrunk,
  options: JudgeOptions,
  write?: (text: string) => void,
): void {
  const lost = lostOf(timeline);
  const foreign = fs === undefined ? {} : { fs };
  emit(
    options.format,
    {
      document: {
        schema: 1,
        id,
        ...foreign,
        shrunk: small,
        tried,
        class: verdict.class,
        why: verdict.why,
        lost,
        timeline,
      },
      title: `${small}: ${verdict.class}: ${verdict.why}`,
      rows: fs === undefined ? lost : lost.map(({ what: _what, ...row }) => row),
      notes: [
        `orrery crash show ${small}${fs === undefined ? "" : ` --fs ${fs}`} --base ${options.base} --log ${options.log}`,
      ],
    },
    write,
  );
}

/** `orrery crash show` and `shrink` with `--fs NAME`: a state of a file system that a guest and its own checker judge, not we. */
import { openForeign } from "../crash/foreign/judge.ts";
import type { Foreign } from "../crash/foreign/judge.ts";
import { factsBeside } from "../crash/guest_runs.ts";
import { GUEST_FS } from "../crash/guest_fs.ts";
import type { ForeignName } from "../crash/guest_fs.ts";
import { guestTemplate } from "../crash/guest_template.ts";
import { loadRecorded } from "../crash/recorded.ts";
import type { Segment } from "../crash/recorded.ts";
import { storeState } from "../crash/referee.ts";
import { shrinking } from "../crash/shrink.ts";
import { parseSet, parseStateId, stateId } from "../crash/state_set.ts";
import type { StateSet } from "../crash/state_set.ts";
import { beforeCrash, lostOf, timelineOf } from "../crash/timeline.ts";
import { isFlagged } from "../crash/verdict.ts";
import type { JudgeOptions } from "./crash_options.ts";
import { emitShrunk } from "./crash_shrunk.ts";
import { EXIT, UserError } from "./exit.ts";
import { emit } from "./output.ts";
import { progressLine } from "./progress.ts";

export interface ForeignStateOptions extends JudgeOptions {
  readonly fs: ForeignName;
  readonly image?: string;
}

interface Opened extends Foreign {
  /** Whether the promises of the run are known. */
  readonly owes: boolean;
  readonly place: number;
  readonly segment: Segment;
  readonly set: StateSet;
}

const BOUNDS = { maxSubset: 0, random: 0, sector: 512, tears: false, seed: 1, dropSpan: 0 };

async function withState(
  id: string,
  { fs, base, log }: ForeignStateOptions,
  work: (opened: Opened) => Promise<void>,
): Promise<void> {
  const recorded = loadRecorded(base, log);
  const parsed = parseStateId(id);
  if (!recorded.hash.startsWith(parsed.hash))
    throw new UserError(
      `${id} is a state of another recording: this one is ${recorded.hash.slice(0, parsed.hash.length)}`,
    );
  const facts = factsBeside(log);
  const template = guestTemplate(GUEST_FS[fs], recorded.base.length, { accel: "tcg" });
  const foreign = openForeign(recorded, facts, { template, bounds: BOUNDS, seats: 1 });
  try {
    const { epoch, fuas } = parsed;
    const place = foreign.segments.findIndex(({ segment }) => segment.epoch === epoch && segment.fuas === fuas);
    const states = foreign.segments[place];
    if (states === undefined) throw new UserError(`${id}: the recording has no epoch ${epoch} like that`);
    const { segment } = states;
    const set = parseSet(parsed.set, segment.free.length);
    await work({ ...foreign, owes: facts !== undefined, place, segment, set });
  } finally {
    await foreign.close();
    await template.close();
  }
}

/** We cannot tell what a write is to the file system. */
const rowsOf = (timeline: ReturnType<typeof timelineOf>) => timeline.map(({ what: _what, ...row }) => row);

export const showForeign = (id: string, options: ForeignStateOptions): Promise<void> =>
  withState(id, options, async ({ disk, recorded, judge, owes, place, segment, set }) => {
    const timeline = timelineOf(disk, segment, set);
    if (options.image !== undefined) storeState(disk.state(set), options.image, recorded.base.length);
    disk.undo();
    const verdict = await judge(0, place, set);
    const markers = recorded.markers.slice(0, segment.markers[set.cut]).map(({ text }) => text);
    const before = beforeCrash(timeline);
    emit(options.format, {
      document: {
        schema: 1,
        id,
        fs: options.fs,
        class: verdict.class,
        why: verdict.why,
        expected: verdict.expected,
        markersPassed: markers,
        lost: lostOf(timeline).length,
        timeline,
      },
      title: `${id}: ${verdict.class}${verdict.why === "" ? "" : `: ${verdict.why}`}`,
      rows: rowsOf(before),
      notes: [
        `promised by then: ${markers.length === 0 ? "nothing" : markers.join(", ")}`,
        ...(verdict.expected.length === 0
          ? []
          : [`damage that is no bug without a journal: ${verdict.expected.join(", ")}`]),
        ...(owes ? [] : ["no facts of a run lie beside the log: only the structure was judged"]),
        ...(before.length < timeline.length ? [`${timeline.length - before.length} writes came after the crash`] : []),
      ],
    });
    if (isFlagged(verdict)) process.exitCode = EXIT.invariant;
  });

export const shrinkForeign = (id: string, options: ForeignStateOptions): Promise<void> =>
  withState(id, options, async ({ disk, recorded, judge, place, segment, set }) => {
    const free = segment.free.length;
    const line = progressLine("crash shrink");
    const search = shrinking(set);
    let step = search.next();
    for (let tried = 1; step.done !== true; tried++) {
      line.update(`${tried} states judged, now ${step.value}`);
      step = search.next(isFlagged(await judge(0, place, parseSet(step.value, free))));
    }
    line.end();
    const shrunk = step.value;
    if (shrunk === undefined) throw new UserError(`${id} breaks nothing: there is nothing to shrink`, EXIT.missed);
    const smallest = parseSet(shrunk.set, free);
    const timeline = timelineOf(disk, segment, smallest);
    disk.undo();
    const verdict = await judge(0, place, smallest);
    const small = stateId(recorded.hash, segment.epoch, segment.fuas, shrunk.set);
    emitShrunk({ id, small, tried: shrunk.tried, verdict, timeline, fs: options.fs }, options);
  });

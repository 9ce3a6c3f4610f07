/** `orrery crash show STATE --fs NAME`: a state of a file system that a guest and its own checker judge, not we. */
import { openForeign } from "../crash/foreign/judge.ts";
import { factsBeside } from "../crash/guest_runs.ts";
import { GUEST_FS } from "../crash/guest_fs.ts";
import type { ForeignName } from "../crash/guest_fs.ts";
import { guestTemplate } from "../crash/guest_template.ts";
import { loadRecorded } from "../crash/recorded.ts";
import { storeState } from "../crash/referee.ts";
import { parseSet, parseStateId } from "../crash/state_set.ts";
import { beforeCrash, lostOf, timelineOf } from "../crash/timeline.ts";
import { isFlagged } from "../crash/verdict.ts";
import type { JudgeOptions } from "./crash_options.ts";
import { EXIT, UserError } from "./exit.ts";
import { emit } from "./output.ts";

export interface ShowForeignOptions extends JudgeOptions {
  readonly fs: ForeignName;
  readonly image?: string;
}

const BOUNDS = { maxSubset: 0, random: 0, sector: 512, tears: false, seed: 1, dropSpan: 0 };

export async function showForeign(id: string, options: ShowForeignOptions): Promise<void> {
  const { fs, base, log } = options;
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
    const { disk, segments } = foreign;
    const place = segments.findIndex(({ segment }) => segment.epoch === parsed.epoch && segment.fuas === parsed.fuas);
    const states = segments[place];
    if (states === undefined) throw new UserError(`${id}: the recording has no epoch ${parsed.epoch} like that`);
    const { segment } = states;
    const set = parseSet(parsed.set, segment.free.length);
    const timeline = timelineOf(disk, segment, set);
    if (options.image !== undefined) storeState(disk.state(set), options.image, recorded.base.length);
    disk.undo();
    const verdict = await foreign.judge(0, place, set);
    const markers = recorded.markers.slice(0, segment.markers[set.cut]).map(({ text }) => text);
    const before = beforeCrash(timeline).map(({ what: _what, ...row }) => row);
    emit(options.format, {
      document: {
        schema: 1,
        id,
        fs,
        class: verdict.class,
        why: verdict.why,
        expected: verdict.expected,
        markersPassed: markers,
        lost: lostOf(timeline).length,
        timeline,
      },
      title: `${id}: ${verdict.class}${verdict.why === "" ? "" : `: ${verdict.why}`}`,
      rows: before,
      notes: [
        `promised by then: ${markers.length === 0 ? "nothing" : markers.join(", ")}`,
        ...(verdict.expected.length === 0
          ? []
          : [`damage that is no bug without a journal: ${verdict.expected.join(", ")}`]),
        ...(facts === undefined ? ["no facts of a run lie beside the log: only the structure was judged"] : []),
        ...(before.length < timeline.length ? [`${timeline.length - before.length} writes came after the crash`] : []),
      ],
    });
    if (isFlagged(verdict)) process.exitCode = EXIT.invariant;
  } finally {
    await foreign.close();
    await template.close();
  }
}

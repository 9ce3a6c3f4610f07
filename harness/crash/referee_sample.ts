/**
 * Which states of a campaign go to the referees. To e2fsck: every one that is flagged for its structure, by name, and a sample of
 * those that were called clean. States that are flagged for broken promises are not asked: e2fsck knows of none. To a
 * real kernel: the same, fewer of them.
 */
import { nextBelow, prng } from "../../kernel/lib/prng.ts";
import type { ProgressLine } from "../cli/progress.ts";
import type { ChunkOutcome, Explorer } from "./explore.ts";
import type { Case, Refereed } from "./referee.ts";
import { parseSet, parseStateId, stateId } from "./state_set.ts";

/** Draws for each clean state that is wanted: some hit flagged ones. */
const DRAWS_MAX = 20;
const AT_ONCE = 2;

export async function refereeSample(
  explorer: Explorer,
  outcomes: readonly ChunkOutcome[],
  sample: number,
  seed: number,
  line: ProgressLine,
  stop: AbortSignal,
): Promise<Refereed | undefined> {
  if (sample === 0) return undefined;
  const { refereeStates } = await import("./referee.ts");
  const cases = [...flaggedCases(explorer, outcomes), ...cleanCases(explorer, sample, seed)];
  return refereeStates(explorer.disk, cases, AT_ONCE, (done) => line.count(done, cases.length), stop);
}

/** A state that a real kernel did not take as we do, or that it left damaged. */
export interface KernelFinding {
  readonly id: string;
  readonly ours: string;
  readonly kernel: string;
  readonly left: string;
}

export interface KernelSample {
  readonly judged: number;
  /** Its word on mounting is not ours. */
  readonly disagreements: readonly KernelFinding[];
  /** It mounted, read and unmounted, and e2fsck finds damage: its own doing. */
  readonly leftDamaged: readonly KernelFinding[];
}

export async function kernelSample(
  explorer: Explorer,
  outcomes: readonly ChunkOutcome[],
  sample: number,
  seed: number,
  line: ProgressLine,
  stop: AbortSignal,
): Promise<KernelSample | undefined> {
  if (sample === 0) return undefined;
  const { openKernelReferee } = await import("./kernel_referee.ts");
  const sizeBytes = explorer.recorded.base.length;
  const refused = outcomes.flatMap(({ flagged }) => flagged).filter(({ class: found }) => found === "refused");
  const cases: Case[] = [
    ...refused.slice(0, sample).map(({ id, why }) => ({ id, clean: false, why, show: () => showState(explorer, id) })),
    ...cleanCases(explorer, sample, seed),
  ];
  line.update("booting the referee");
  const referee = await openKernelReferee(sizeBytes);
  const disagreements: KernelFinding[] = [];
  const leftDamaged: KernelFinding[] = [];
  let judged = 0;
  try {
    for (const { id, clean, why, show } of cases) {
      if (stop.aborted) break;
      show();
      const { kernel, left } = await referee.judge(explorer.disk.image, sizeBytes);
      const finding = { id, ours: clean ? "clean" : why, kernel: kernel ?? "mounted", left: left ?? "clean" };
      if ((kernel === undefined) !== clean) disagreements.push(finding);
      else if (left !== undefined) leftDamaged.push(finding);
      line.count(++judged, cases.length);
    }
  } finally {
    await referee.close();
  }
  return { judged, disagreements, leftDamaged };
}

function flaggedCases(explorer: Explorer, outcomes: readonly ChunkOutcome[]): Case[] {
  const structural = outcomes.flatMap(({ flagged }) => flagged).filter(({ class: found }) => found === "structure");
  return structural.map(({ id, why }) => ({ id, clean: false, why, show: () => showState(explorer, id) }));
}

function showState({ segments, disk }: Explorer, id: string): void {
  const { epoch, fuas, set } = parseStateId(id);
  const { segment } = segments.find((one) => one.segment.epoch === epoch && one.segment.fuas === fuas)!;
  disk.enter(segment);
  disk.state(parseSet(set, segment.free.length));
}

/** Drawn from all states alike; each content once. */
function cleanCases(explorer: Explorer, sample: number, seed: number): Case[] {
  const { segments, disk, judge, recorded } = explorer;
  const total = segments.reduce((sum, { count }) => sum + count, 0);
  const random = prng(seed);
  const cases: Case[] = [];
  const seen = new Set<number>();
  const drawn = Array.from({ length: sample * DRAWS_MAX }, () => nextBelow(random, total)).slice(0, total * DRAWS_MAX);
  for (const draw of drawn) {
    if (cases.length >= sample) break;
    let left = draw;
    const states = segments.find(({ count }) => left < count || ((left -= count), false))!;
    const { set } = states.at(left);
    const { segment } = states;
    disk.enter(segment);
    disk.state(set);
    const key = disk.rawKey();
    if (seen.has(key)) continue;
    seen.add(key);
    const verdict = judge.verdict(set.tear !== undefined, segment.markers[set.cut]!);
    if (verdict.class !== "clean") continue;
    const id = stateId(recorded.hash, segment.epoch, segment.fuas, set.text);
    cases.push({ id, clean: true, why: "", show: () => showState(explorer, id) });
  }
  return cases;
}

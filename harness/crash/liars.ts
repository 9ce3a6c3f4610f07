/**
 * Disks that lie, as controls: our ext4's own recording, as it would have been on a disk that does not do what it says.
 * Whatever is not caught here would not be caught in a real disk either.
 *
 *   flush ignored          no flush makes anything durable
 *   FUA ignored            a write with FUA is durable at the next flush, like any other
 *   reordered flush        the last writes before a flush are not covered by it
 *   torn sector            a write may end within a sector
 *   misdirected write      one write lands elsewhere
 *   stale read             after the crash reads give what was there before the last write
 *
 * - LIES, tellLie(lie, base, run, options)     crash states, and how many of them are broken
 */
import { FaultPlan, SimDisk, blockRequest } from "../../drivers/index.ts";
import { BlockOp, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import { bareFs, isRefusal, mountOptions } from "../../kernel/index.ts";
import { nextBelow, prng } from "../../kernel/lib/prng.ts";
import { LogType } from "../nbd/log.ts";
import type { LogEntry } from "../nbd/log.ts";
import { recordedOf } from "./recorded.ts";
import { judgeRun } from "./workload_judge.ts";
import type { JudgeWorkloadOptions } from "./workload_judge.ts";
import type { Promises } from "./verdict.ts";
import type { CrashBase, WorkloadRun } from "./workload_run.ts";

export const LIES = [
  "flush ignored",
  "FUA ignored",
  "reordered flush",
  "torn sector",
  "misdirected write",
  "stale read",
] as const;
export type Lie = (typeof LIES)[number];

/** Scenarios that a lie is told to, shortest first: every lie is caught in one of them. */
export const LIED_TO = [
  "journal-lookalike",
  "going-home",
  "rename-replace",
  "concurrent-writers",
  "unlink-open",
  "block-allocation",
  "journal-commit",
] as const;

export interface Told {
  readonly states: number;
  readonly flagged: number;
  /** The first broken state, in words. */
  readonly why: string;
}

/** Writes that a reordered flush leaves behind, at most. */
const LEFT_BEHIND = 4;
/** Within a sector. */
const TORN_AT = 128;
const STEPS_MAX = 10_000;
/** Writes that are misdirected, one at a time. */
const MISDIRECTED = 8;

export function tellLie(lie: Lie, base: CrashBase, run: WorkloadRun, options: JudgeWorkloadOptions): Told {
  const { entries } = run;
  switch (lie) {
    case "flush ignored":
      return judged(
        base.image,
        run,
        entries.filter(({ type }) => type !== LogType.Flush),
        options,
      );
    case "FUA ignored":
      return judged(
        base.image,
        run,
        entries.map((entry) => ({ ...entry, fua: false })),
        options,
      );
    case "reordered flush":
      return judged(base.image, run, reordered(entries), options);
    case "torn sector":
      return judged(base.image, run, entries, { ...options, tears: true, sector: TORN_AT });
    case "misdirected write":
      return misdirected(base, run, options);
    default:
      return staleRead(base, run, options);
  }
}

function judged(
  image: Uint8Array,
  run: WorkloadRun,
  entries: readonly LogEntry[],
  options: JudgeWorkloadOptions,
): Told {
  const { summary } = judgeRun({ ...run, recorded: recordedOf(image, entries, "the recording") }, options);
  const first = summary.firstFailures[0];
  return {
    states: summary.states,
    flagged: summary.flagged,
    why: first === undefined ? "" : `${first.id}: ${first.class}: ${first.why}`,
  };
}

/** Each flush stands a few writes earlier than it did. Markers stay: what was promised was promised. */
function reordered(entries: readonly LogEntry[]): LogEntry[] {
  const moved: LogEntry[] = [];
  for (const entry of entries) {
    if (entry.type !== LogType.Flush) {
      moved.push(entry);
      continue;
    }
    let at = moved.length;
    for (let left = 0; at > 0 && left < LEFT_BEHIND && moved[at - 1]!.type !== LogType.Flush; at--)
      if (moved[at - 1]!.type !== LogType.Marker) left++;
    moved.splice(at, 0, entry);
  }
  return moved;
}

function misdirected(base: CrashBase, run: WorkloadRun, options: JudgeWorkloadOptions): Told {
  const random = prng(options.seed);
  const writes = run.entries.flatMap(({ type }, at) => (type === LogType.Write ? [at] : []));
  let sum: Told = { states: 0, flagged: 0, why: "" };
  for (let n = 0; n < MISDIRECTED; n++) {
    const at = writes[nextBelow(random, writes.length)]!;
    const { length } = run.entries[at]!;
    const offset = nextBelow(random, Math.floor((base.image.length - length) / SECTOR_SIZE)) * SECTOR_SIZE;
    const told = judged(base.image, run, run.entries.with(at, { ...run.entries[at]!, offset }), options);
    sum = { states: sum.states + told.states, flagged: sum.flagged + told.flagged, why: sum.why || told.why };
  }
  return sum;
}

/** The mount after a crash at the run's end reads what was there before: what it makes of that is judged. */
function staleRead({ image }: CrashBase, run: WorkloadRun, options: JudgeWorkloadOptions): Told {
  const disk = new SimDisk({
    sectors: image.length / SECTOR_SIZE,
    image: image.slice(),
    faults: new FaultPlan([{ kind: "stale-read", oneIn: 2 }], options.seed),
  });
  for (const { type, offset, length, data } of run.entries) {
    if (type === LogType.Flush || type === LogType.Marker) continue;
    const op = data === undefined ? BlockOp.WriteZeroes : BlockOp.Write;
    disk.submit([blockRequest(op, offset / SECTOR_SIZE, data, { sectors: length / SECTOR_SIZE })]);
    disk.poll();
  }
  const mount = mountOptions(`data=${options.data}`);
  const bare = typeof mount === "string" ? undefined : bareFs({ device: disk, mount });
  if (bare === undefined || isRefusal(bare))
    return { states: 1, flagged: 1, why: `it does not mount: ${bare?.reason ?? "no options"}` };
  // What it read may leave it work that never ends.
  for (let n = 0; n < STEPS_MAX && bare.fs.step(); n++);
  const all = run.recorded.markers.length;
  const promises: Promises = { broken: (state, sb) => run.promises.broken(state, sb, all) };
  return judged(disk.image.slice(), { ...run, promises }, [], options);
}

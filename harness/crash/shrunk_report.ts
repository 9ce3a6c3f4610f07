/**
 * A broken workload made as small as it gets, as a person wants to see it: its calls, the state, which writes were lost,
 * and the disk with its log, from which `orrery crash show` rebuilds the state.
 *
 * - shrunkReport(base, calls, options, path)    undefined when nothing breaks; files are path.base.img.zst and path.log
 */
import { writeFileSync } from "node:fs";
import { zstdCompressSync } from "node:zlib";
import type { AceCall } from "./ace.ts";
import { storeLog } from "./recorded.ts";
import { parseStateId } from "./state_set.ts";
import { describeState, lostOf } from "./timeline.ts";
import { shrinkWorkload } from "./workload_judge.ts";
import type { JudgeWorkloadOptions } from "./workload_judge.ts";
import { crashBase } from "./workload_run.ts";
import type { BaseOptions } from "./workload_run.ts";

export interface ShrunkReport {
  readonly text: string;
  /** Calls that are left; those that only make others possible apart. */
  readonly calls: number;
  readonly setupCalls: number;
  readonly tried: number;
  readonly state: string;
  readonly class: string;
  readonly why: string;
  readonly lost: number;
  readonly base: string;
  readonly log: string;
  readonly lines: readonly string[];
}

export function shrunkReport(
  baseOptions: BaseOptions,
  calls: readonly AceCall[],
  options: JudgeWorkloadOptions,
  path: string,
): ShrunkReport | undefined {
  const base = crashBase(baseOptions);
  const shrunk = shrinkWorkload(base, calls, options);
  if (shrunk === undefined) return undefined;
  const { explorer } = shrunk.judged;
  const { epoch, fuas, set } = parseStateId(shrunk.state);
  const { segment } = explorer.segments.find((one) => one.segment.epoch === epoch && one.segment.fuas === fuas)!;
  const { verdict, timeline } = describeState(explorer, segment, set);
  const files = { base: `${path}.base.img.zst`, log: `${path}.log` };
  writeFileSync(files.base, zstdCompressSync(explorer.recorded.base));
  storeLog(files.log, explorer.recorded);
  const stage = shrunk.before.length === 0 ? "" : `on a disk with ${shrunk.before.map(callText).join("; ")}: `;
  const text = stage + shrunk.calls.map(callText).join("; ");
  const why = `${verdict.class}: ${verdict.why}`;
  const setupCalls = shrunk.calls.filter(({ setup }) => setup).length;
  return {
    text,
    calls: shrunk.calls.length - setupCalls,
    setupCalls,
    tried: shrunk.tried,
    state: shrunk.state,
    class: verdict.class,
    why,
    lost: lostOf(timeline).length,
    ...files,
    lines: [
      `shrunk, in ${shrunk.tried} tries, to ${shrunk.calls.length} calls: ${text}`,
      `${shrunk.state}: ${why}`,
      ...timeline.map(({ write, what, fate }) => `  write ${write}: ${what}: ${fate}`),
      `the disk: ${files.base}, its log: ${files.log}`,
    ],
  };
}

const callText = ({ op, path, to, offset, length, mode }: AceCall): string =>
  [op, path, to, offset, length, mode === undefined ? undefined : `mode ${mode}`]
    .filter((word) => word !== undefined)
    .join(" ");

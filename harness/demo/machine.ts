/**
 * Scene: the whole machine, drawn as it runs. Scheduler, memory, disk and ext4 at work on `mixed` for a few seconds of
 * real time; then it is shut down, and its disk and what its tasks were promised are judged.
 */
import type { Scene } from "../cli/stage.ts";
import { judge } from "../machine/judge.ts";
import { MACHINE_DEFAULTS, openMachine } from "../machine/machine.ts";
import { reportOf } from "../machine/report.ts";
import type { Report } from "../machine/report.ts";
import { View } from "../machine/view.ts";
import type { Section } from "../report/report.ts";

const SHOW_MS = 3_000;
const FRAME_MS = 100;
/** Virtual time between two looks at the clock. */
const SLICE_NS = 2_000_000;
const INDENT = "     ";
const COLUMNS = 100;

export const machine: Scene = {
  title: "The whole machine: tasks, memory, disk and ext4 in one boot",
  needsMs: 4_000,
  async run(stage) {
    const opened = await openMachine({
      ...MACHINE_DEFAULTS,
      seed: stage.seed,
      memoryBytes: 128 * 2 ** 20,
      disk: "new:128M",
    });
    const view = new View(opened);
    const drawn = picture();
    const endMs = performance.now() + Math.min(SHOW_MS, stage.leftMs());
    for (let frameMs = performance.now(); performance.now() < endMs && !stage.stop.aborted;) {
      opened.run(opened.booted.machine.time[0]! + SLICE_NS);
      if (performance.now() < frameMs) continue;
      frameMs = performance.now() + FRAME_MS;
      drawn(view.lines(COLUMNS));
      await new Promise((resolve) => setImmediate(resolve));
    }
    const report = reportOf(opened);
    if (!process.stdout.isTTY) stage.say(indented(view.lines(COLUMNS)));
    opened.stop();
    const verdict = judge(opened);
    const { seconds, events, pageCache, disk } = report;
    stage.say(
      `${INDENT}${seconds.toFixed(2)} s of virtual time, ${events} events; ${pageCache!.refaults} pages came back from the disk, ${disk!.writes} writes, ${disk!.flushes} flushes`,
    );
    stage.say(
      `${INDENT}after the shutdown: disk ${verdict.damage === 0 ? "clean" : "DAMAGED"}, ${verdict.promises} files hold what their writers were promised${verdict.broken.length > 0 ? `, ${verdict.broken.length} do NOT` : ""}`,
    );
    return sections(report);
  },
};

const indented = (lines: readonly string[]): string => lines.map((line) => `${INDENT}${line}`.trimEnd()).join("\n");

/** Draws over what was drawn before, on a terminal; elsewhere not at all. */
function picture(): (lines: readonly string[]) => void {
  let height = 0;
  return (lines) => {
    if (!process.stdout.isTTY) return;
    const up = height === 0 ? "" : `\u001b[${height}A`;
    process.stdout.write(`${up}${lines.map((line) => `\u001b[2K${INDENT}${line}\n`).join("")}\u001b[J`);
    height = lines.length;
  };
}

const sections = ({ tasks, calls }: Report): readonly Section[] => [
  {
    kind: "table",
    title: "The whole machine: tasks",
    note: "CPU time, system calls, times that a call had to wait, and time asleep for the disk.",
    rows: tasks.map((row) => ({ ...row })),
  },
  {
    kind: "table",
    title: "The whole machine: system calls",
    note: "From the way in to the answer, in virtual time; an fsync answers when its commit is durable.",
    rows: calls.map((row) => ({ ...row })),
  },
];

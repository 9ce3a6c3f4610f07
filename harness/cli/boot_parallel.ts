/**
 * `orrery boot --world parallel`: the machine with racing workers on the host's clock. It is run, stopped in order (by
 * Ctrl-C, too), and its disk and counts are judged; no two runs are the same, so there is no hash and nothing to replay.
 */
import { renameSync, writeFileSync } from "node:fs";
import type { Command } from "commander";
import { judgeImage } from "../machine/judge.ts";
import { MachineFailure } from "../../kernel/index.ts";
import { panic } from "../../kernel/lib/assert.ts";
import { openParallel } from "../machine/parallel.ts";
import type { OpenParallel, ParallelOptions } from "../machine/parallel.ts";
import { reportRows } from "../machine/report.ts";
import { openRun } from "../run/run.ts";
import { EXIT, UserError } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import { emit } from "./output.ts";
import type { Format } from "./output.ts";
import { progressLine } from "./progress.ts";
import type { ProgressLine } from "./progress.ts";

export interface BootParallelOptions {
  readonly machine: ParallelOptions;
  readonly seconds: number;
  readonly trace: string | undefined;
  readonly save: string | undefined;
  readonly out: string | undefined;
  readonly format: Format;
}

const SCHEMA = 1;
const ROUND_S = 0.25;
/** Of each worker's ring of events. */
const RECORDS = 2 ** 16;
const CPUS_MAX = 16;

/** A broken invariant stays a panic; a worker that hangs or a program that throws is told in one line. */
function asUserError(error: unknown): unknown {
  if (!(error instanceof MachineFailure)) return error;
  if (error.kind === "panic") panic(error.message);
  return new UserError(error.message, EXIT.invariant);
}

/** The host's time passes. */
async function pass(up: OpenParallel, seconds: number, stop: AbortSignal, progress: ProgressLine): Promise<void> {
  const { machine, console: lines } = up;
  const until = machine.seconds + seconds;
  const goesOn = (): boolean => machine.seconds < until && machine.live > 0 && !stop.aborted;
  while (goesOn()) {
    await machine.run(Math.min(ROUND_S, until - machine.seconds), stop);
    progress.update(`${machine.live} tasks, ${lines.length} lines of console`);
  }
}

export async function bootParallel(options: BootParallelOptions, command: Command): Promise<void> {
  const { machine: asked, seconds, trace, save, format } = options;
  if (asked.cpus > CPUS_MAX) throw new UserError(`--cpus ${asked.cpus}: --world parallel has at most ${CPUS_MAX}`);
  const progress = progressLine("boot");
  try {
    const run = openRun(command, options.out);
    const opened = await interruptible(async (stop) => {
      const up = await openParallel({ ...asked, ...(trace === undefined ? {} : { traceRecords: RECORDS }) });
      await pass(up, seconds, stop, progress);
      return up;
    });
    const { machine, image, console: lines } = opened;
    const result = await machine.stop();
    progress.end();
    const verdict = judgeImage(image!, lines);
    if (trace !== undefined) {
      const { saveTrace } = await import("../trace/store.ts");
      await saveTrace(result.log!, /perfetto/.test(trace) ? "perfetto" : "ftrace", trace);
      run.output(trace);
    }
    if (save !== undefined) {
      writeFileSync(`${save}.part`, image!);
      renameSync(`${save}.part`, save);
      run.output(save);
    }
    const { log: _log, atRest, figures, ...counted } = result;
    const document = {
      schema: SCHEMA,
      ...asked,
      world: "parallel",
      ...counted,
      ...figures,
      atRest,
      verdict,
      run: run.id,
    };
    run.finish({ seed: asked.seed, document });
    const wrong = [...result.problems, ...verdict.broken];
    emit(format, {
      document,
      rows: [
        ...reportRows(figures),
        { wing: "storage", what: "calls served", value: result.storage.calls },
        { wing: "storage", what: "of them made again after a wait", value: result.retries },
        { wing: "left over", what: "frames", value: result.leaks.frames },
        { wing: "left over", what: "slab objects", value: result.leaks.objects },
        { wing: "left over", what: "files open", value: result.leaks.descriptors },
        { wing: "left over", what: "tasks", value: result.leaks.tasks },
        { wing: "left over", what: "wakes lost", value: result.leaks.lostWakes },
        { wing: "left over", what: "events lost", value: result.eventsLost },
      ],
      title: `${asked.workload} on ${asked.cpus} racing CPUs, ${asked.policy}, ${asked.disk} (${asked.diskModel})`,
      notes: [
        `disk: ${verdict.damage === 0 ? "clean" : `${verdict.damage} faults`}; ${verdict.promises - verdict.broken.length} files hold what was promised`,
        `${result.seconds.toFixed(2)} s of the host's; up after ${machine.bootMs.toFixed(0)} ms`,
      ],
    });
    if (wrong.length > 0) {
      console.error(`orrery: ${wrong[0]}`);
      process.exitCode = EXIT.invariant;
    }
  } catch (error) {
    throw asUserError(error);
  } finally {
    progress.end();
  }
}

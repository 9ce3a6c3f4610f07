/**
 * Scene: a machine of two CPUs, each a worker thread, on one shared memory: tasks really race, and at the end everything
 * is counted. Nothing of this repeats from a seed: it is the one scene whose figures differ from run to run.
 */
import { KernelPanic } from "../../kernel/lib/assert.ts";
import { textTable } from "../cli/output.ts";
import type { Row } from "../cli/output.ts";
import type { Scene } from "../cli/stage.ts";
import { builtIn } from "../experiment/policies.ts";
import { parallelStress } from "../experiment/stress.ts";

const CPUS = 2;
const TASKS = 32;
const SWITCHES = 100_000;
/** What is reached by then is enough to show. */
const SECONDS = 2;

export const parallel: Scene = {
  title: "Two CPUs that really race: worker threads on one shared memory, under EEVDF",
  needsMs: 5_000,
  async run(stage) {
    const result = await parallelStress({
      cpus: CPUS,
      tasks: TASKS,
      policy: builtIn("eevdf"),
      switches: SWITCHES,
      seconds: SECONDS,
      seed: stage.seed,
      stop: stage.stop,
      onProgress: (switches) => stage.progress.count(switches, SWITCHES),
    });
    const { switches, seconds, switchesPerSecond, migrations, wakes, idleSleeps, kicks, maxWaitMs, problems } = result;
    const row: Row = {
      cpus: CPUS,
      tasks: result.tasks,
      switches,
      seconds,
      switchesPerSecond: Math.round(switchesPerSecond),
      migrations,
      wakes,
      idleSleeps,
      kicks,
      maxWaitMs,
    };
    stage.say(textTable([row]).replaceAll(/^/gm, "     ").trimEnd());
    if (problems.length > 0) throw new KernelPanic(`the parallel world is not well: ${problems.join("; ")}`);
    stage.say("     no task lost, run twice at once or starved; no wake lost; all work accounted for");
    return [
      {
        kind: "table",
        title: "Two worker threads on one shared memory",
        note: "Tasks wake each other, sleep, fork, exit and change their nice values; at the end everything is counted.",
        rows: [row],
      },
    ];
  },
};

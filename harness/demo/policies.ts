/**
 * Scene: a recording of a real two-CPU server, replayed under each policy in the deterministic world. What differs
 * between the rows of the table is the policy and nothing else.
 */
import { join } from "node:path";
import type { EventLog } from "../../kernel/worlds.ts";
import { COSTS } from "../../sched/index.ts";
import { textTable } from "../cli/output.ts";
import type { Row } from "../cli/output.ts";
import { packageRoot } from "../cli/package.ts";
import type { Scene, Stage } from "../cli/stage.ts";
import { POLICIES, builtIn } from "../experiment/policies.ts";
import { replayUnder } from "../experiment/replay.ts";
import type { Section, Segment } from "../report/report.ts";
import { importTrace } from "../trace/import.ts";
import { readFtrace } from "../trace/ftrace_read.ts";
import { saveTrace } from "../trace/store.ts";
import { forEachStretch, forEachWake } from "../trace/walk.ts";

const RECORDING = join(packageRoot, "test/fixtures/sched-traces/linux61-server.ftrace.gz");
const CPUS = 2;
const GANTT_NS = 200e6;
/** The policy whose trace is written for Perfetto. */
const TRACED = "cfs";

interface Replayed {
  readonly policy: string;
  readonly log: EventLog;
  readonly row: Row;
  readonly wakeMs: readonly number[];
  readonly segments: readonly Segment[];
}

export const policies: Scene = {
  title: "A recorded Linux server, replayed under four policies",
  needsMs: 4_000,
  async run(stage) {
    const { log } = await readFtrace(RECORDING);
    const { workload } = importTrace(log);
    const replays: Replayed[] = [];
    for (const [index, policy] of POLICIES.entries()) {
      if (stage.stop.aborted) break;
      stage.progress.count(index, POLICIES.length);
      replays.push(await replay(policy, workload, stage));
    }
    stage.say(
      textTable(replays.map(({ row }) => row))
        .replaceAll(/^/gm, "     ")
        .trimEnd(),
    );
    const traced = replays.find(({ policy }) => policy === TRACED);
    if (traced !== undefined) {
      const path = stage.run.path(`server-${TRACED}.perfetto-trace`);
      await saveTrace(traced.log, "perfetto", path);
      stage.say(`     open in ui.perfetto.dev: ${path}`);
    }
    return sections(replays, new Map(workload.tasks.map(({ name }, task) => [task + 1, name])));
  },
};

async function replay(
  policy: (typeof POLICIES)[number],
  workload: ReturnType<typeof importTrace>["workload"],
  stage: Stage,
): Promise<Replayed> {
  const { log, row } = await replayUnder({
    policy: builtIn(policy),
    workload,
    cpus: CPUS,
    costs: COSTS.icount,
    seed: stage.seed,
    onProgress: () => !stage.stop.aborted,
  });
  const wakeMs: number[] = [];
  forEachWake(log, (_task, wakingNs, runningNs) => wakeMs.push((runningNs - wakingNs) / 1e6));
  const segments: Segment[] = [];
  forEachStretch(log, (task, cpu, fromNs, toNs) => {
    const startNs = Math.max(fromNs, 0);
    if (task !== 0 && startNs < GANTT_NS) segments.push({ cpu, task, startNs, endNs: Math.min(toNs, GANTT_NS) });
  });
  return { policy, log, row, wakeMs, segments };
}

function sections(replays: readonly Replayed[], tasks: ReadonlyMap<number, string>): readonly Section[] {
  return [
    {
      kind: "table",
      title: "Four policies on one recorded server",
      note: "Two CPUs, the same work to the nanosecond. A job lasts from a wake-up to the next sleep.",
      rows: replays.map(({ row }) => row),
      columns: {
        makespanSeconds: { meaning: "until the last task was done, s", better: "low" },
        switches: { meaning: "context switches, to and from idle among them" },
        wakeP50Ms: { meaning: "waking to running, median, ms", better: "low" },
        wakeP99Ms: { meaning: "waking to running, 99th percentile, ms", better: "low" },
        slowdownMean: { meaning: "a job's wall time over its own CPU time, mean", better: "low" },
        slowdownP99: { meaning: "the same, 99th percentile", better: "low" },
        jain: { meaning: "Jain's index of CPU time over fair entitlement: 1 is weighted fairness", better: "high" },
        migrations: { meaning: "moves of a task to another CPU", better: "low" },
      },
    },
    {
      kind: "gantt",
      title: "The first 200 ms",
      note: "One band a CPU. Wheel: zoom. Hover: task and times.",
      fromNs: 0,
      toNs: GANTT_NS,
      cpus: CPUS,
      tasks,
      lanes: replays.map(({ policy, segments }) => ({ name: policy, segments })),
    },
    {
      kind: "cdf",
      title: "How long a woken task waits for a CPU",
      unit: "ms",
      quantity: "waking to running",
      series: replays.map(({ policy, wakeMs }) => ({ name: policy, values: Float64Array.from(wakeMs) })),
    },
  ];
}

/** One run of an open workload on the lockstep machine with everything free, as a queueing system sees it. */
import { Ev, TaskLeft } from "../../kernel/abi/events.ts";
import type { PolicyFactory } from "../../kernel/abi/sched.ts";
import { boot } from "../../kernel/worlds.ts";
import { COSTS, openWorkload } from "../../sched/index.ts";
import type { Distribution, Workload } from "../../sched/index.ts";

export interface QueueingRun {
  /** Per job, in order of arrival, ns: how long it was there, waited for its first turn, and needed. */
  readonly responses: readonly number[];
  readonly waits: readonly number[];
  readonly services: readonly number[];
  /** Time that some task was on the CPU, and the integral of the number of jobs there over time, ns. */
  readonly busyNs: number;
  readonly areaNs: number;
  readonly endNs: number;
}

export interface QueueingOptions {
  readonly seed: number;
  readonly jobs: number;
  /** Arrivals are Poisson, of this load. */
  readonly load: number;
  readonly serviceNs: Distribution;
  readonly meanNs: number;
  /** Made anew for each run; it may look at the workload (an oracle). */
  readonly policy: (workload: Workload) => PolicyFactory;
}

export async function queueing(options: QueueingOptions): Promise<QueueingRun> {
  const { seed, jobs, load, serviceNs, meanNs } = options;
  const interarrivalNs = { kind: "exponential", mean: meanNs / load } as const;
  const workload = openWorkload({ seed, jobs, interarrivalNs, serviceNs });
  const { world, machine } = await boot({
    features: ["EVENT_LOG", "SCHED_CUSTOM"],
    seed,
    cpus: 1,
    workload,
    costs: COSTS.none,
    policy: options.policy(workload),
    exactSlices: true,
  });
  while (!world.programs.allExited) world.run(Number.MAX_SAFE_INTEGER, 10_000);
  const log = machine.log!;
  const arrivals = workload.tasks.map(({ startNs }) => startNs);
  const responses: number[] = [];
  const waits: number[] = [];
  let [busyNs, areaNs, there, since, runsSince] = [0, 0, 0, 0, 0];
  for (let row = 0; row < log.count; row++) {
    const type = log.typeAt(row);
    if (type !== Ev.SchedSwitch && type !== Ev.SchedWakeupNew) continue;
    const at = log.timeAt(row);
    areaNs += there * (at - since);
    since = at;
    if (type === Ev.SchedWakeupNew) {
      there++;
      continue;
    }
    const [prev, next] = [log.aAt(row), log.bAt(row)];
    if (prev !== 0) busyNs += at - runsSince;
    runsSince = at;
    if (next !== 0) waits[next - 1] ??= at - arrivals[next - 1]!;
    if (log.cAt(row) !== TaskLeft.Dead) continue;
    there--;
    responses[prev - 1] = at - arrivals[prev - 1]!;
  }
  const services = workload.tasks.map(({ program }) => program.args[0]!);
  return { responses, waits, services, busyNs, areaNs, endNs: since };
}

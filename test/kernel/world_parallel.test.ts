/**
 * The parallel world: real threads, so each run differs; what must hold in all of them is checked at rest. Seeds are
 * printed by a failure; ORRERY_STRESS_SWITCHES=1000000 makes each stress a long one.
 */
import { existsSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { Ev } from "../../kernel/abi/events.ts";
import { ParallelWorld } from "../../kernel/worlds.ts";
import type { EventLog, ParallelConfig } from "../../kernel/worlds.ts";
import { POLICIES, loadPolicy } from "../../harness/experiment/policies.ts";
import { runParallel } from "../../harness/experiment/parallel.ts";
import { parallelStress, stressWorkload } from "../../harness/experiment/stress.ts";
import { Op, parseSpecs, specWorkload } from "../../sched/index.ts";
import type { Spec, TaskSpec, Workload } from "../../sched/index.ts";

const SWITCHES = Number(process.env["ORRERY_STRESS_SWITCHES"] ?? 8_000);

const specs = (text: string): Workload => specWorkload(parseSpecs(text) as readonly Spec[]);
const task = (name: string, steps: readonly (readonly [number, number])[], loopTo: number, startNs = 0): TaskSpec => ({
  name,
  nice: 0,
  startNs,
  program: { ops: Uint8Array.from(steps, ([op]) => op), args: Float64Array.from(steps, ([, arg]) => arg), loopTo },
});
const world = (workload: Workload, more: Partial<ParallelConfig> = {}): ParallelWorld =>
  new ParallelWorld({
    cpus: 2,
    policy: "cfs",
    workload,
    clock: new URL("../../harness/host_clock.ts", import.meta.url).href,
    seed: 1,
    untilNs: 20e9,
    check: true,
    ...more,
  });

describe("stress: no task lost, run twice at once or starved, no wake lost, all work done", () => {
  const arms = [
    ...[...POLICIES, "examples/vtime.ts"].map((policy) => [policy, 2] as const),
    ...["fifo", "cfs"].map((policy) => [policy, 4] as const),
  ];
  it.each(arms)("%s on %i CPUs", { timeout: 600_000 }, async (policy, cpus) => {
    const chosen = await loadPolicy(policy);
    const result = await parallelStress({ cpus, policy: chosen, tasks: 32, switches: SWITCHES, seed: cpus });
    expect(result.problems).toEqual([]);
    expect(result.switches).toBeGreaterThanOrEqual(SWITCHES);
    for (const count of [result.wakes, result.forks, result.exits, result.renices]) expect(count).toBeGreaterThan(0);
  });

  it("locks that do nothing are found out (canary)", { timeout: 120_000 }, async () => {
    const policy = await loadPolicy("cfs");
    let found = "";
    for (let seed = 1; found === "" && seed <= 20; seed++)
      found = await parallelStress({
        cpus: 2,
        policy,
        tasks: 48,
        switches: 40_000,
        seed,
        stuckMs: 1_000,
        withoutLocks: true,
      }).then(
        ({ problems }) => problems.join("\n"),
        (error: unknown) => String(error),
      );
    expect(found).not.toBe("");
  });
});

describe("a run ends", () => {
  it("when every task that has an end has exited, all of them having worked", async () => {
    const tasks = Array.from({ length: 8 }, (_, i) =>
      task(
        `job-${i}`,
        [
          [Op.Run, 200_000 + i],
          [Op.Sleep, 100_000],
          [Op.Run, 100_000],
        ],
        -1,
      ),
    );
    const result = await world({ tasks }).run();
    expect(result.stopped).toBe("finished");
    expect(result.atRest).toMatchObject({ exited: 8, running: 0, queued: 0, problems: [] });
    expect(result.atRest!.workNs).toBe(8 * 300_000 + 28);
  });

  it("when nothing will ever happen again, and says so soon", async () => {
    const tasks = [
      task(
        "a",
        [
          [Op.Run, 50_000],
          [Op.Wake, 1],
          [Op.Wait, 0],
        ],
        2,
      ),
      task("b", [[Op.Wait, 0]], 0),
    ];
    const result = await world({ tasks }).run();
    expect(result.stopped).toBe("quiet");
    expect(result.atRest).toMatchObject({ waiting: 2, wakes: 1, problems: [] });
    expect(result.seconds).toBeLessThan(10);
  });

  it("when its time is over; idle CPUs sleep, they do not spin", async () => {
    const before = process.cpuUsage();
    const result = await world(specs("0:50:20000"), { untilNs: 1e9 }).run();
    const used = process.cpuUsage(before);
    expect(result.stopped).toBe("time");
    for (const { idle, waits } of result.cpus) {
      expect(idle).toBeGreaterThan(0.5);
      expect(waits).toBeLessThan(300);
    }
    // Two spinning CPUs would use two seconds.
    expect((used.user + used.system) / 1e6).toBeLessThan(1.2);
  });

  it("by Ctrl-C, and keeps what was traced", async () => {
    const abort = new AbortController();
    const config = { traceRecords: 1 << 14 };
    const result = await world(specs("0:0:0 0:100:100 5:0:0"), config).run(abort.signal, (_seconds, switches) => {
      if (switches > 50) abort.abort();
    });
    expect(result.stopped).toBe("interrupted");
    expect(result.log!.count).toBeGreaterThan(50);
    expect(result.atRest!.problems).toEqual([]);
  });

  it("at once when it was interrupted before it began", async () => {
    const result = await world(specs("0:0:0")).run(AbortSignal.abort());
    expect(result.stopped).toBe("interrupted");
  });
});

const file = (name: string): string => new URL(`./bad_policies/${name}.ts`, import.meta.url).href;
const path = (name: string): string => `test/kernel/bad_policies/${name}.ts`;
const runBad = (policy: string, stuckMs: number): Promise<unknown> =>
  world(stressWorkload(32, 1), { policy, seed: 41, stuckMs }).run();

describe("a failure stops all CPUs and says what, where and with which seed", () => {
  it.each([
    ["panics", "panic", /^CPU [01], while it .*: the sky has fallen; policy .*, 2 CPUs, seed 41$/],
    ["exits", "died", /^CPU [01], while it .*: its worker ended with code 7; policy .*, seed 41$/],
    ["hangs", "stuck", /^CPU [01], while it (?!waits for a lock).*: it has not moved for \d+ ms; policy .*, seed 41$/],
    ["eats_memory", "died", /^CPU [01], while it .*: its worker is out of memory: .*, seed 41$/],
    ["not_one", "policy", /^policy .*not_one.ts cannot be used: it exports no function "policy"$/],
    ["not_there", "policy", /^policy .*not_there.ts cannot be used: Cannot find module/],
  ])("a policy that %s", async (name, kind, message) => {
    // Filling a heap takes a while, and is no hang.
    await expect(runBad(file(name), name === "hangs" ? 3_000 : 30_000)).rejects.toMatchObject({
      name: "ParallelFailure",
      kind,
      message: expect.stringMatching(message) as string,
    });
  });

  it("a policy's ordinary mistake is no failure: the fallback finishes the work", async () => {
    const result = await world(stressWorkload(32, 2), { policy: file("throws"), switches: 5_000 }).run();
    expect(result.ejected).toBe("enqueue: x is not a function");
    expect(result.atRest!.problems).toEqual([]);
  });

  it("as a command would show it: a panic stays one, the rest is the user's to read", async () => {
    const policy = { name: "x", feature: undefined, factory: undefined };
    const common = { cpus: 2, workload: specs("0:10:10 0:10:10"), seed: 1, untilNs: 5e9, stuckMs: 3_000 };
    expect(existsSync(path("panics"))).toBe(true);
    await expect(runParallel({ ...common, policy: { ...policy, file: path("panics") } })).rejects.toMatchObject({
      name: "KernelPanic",
    });
    await expect(runParallel({ ...common, policy: { ...policy, file: path("exits") } })).rejects.toMatchObject({
      name: "UserError",
      exitCode: 3,
    });
    await expect(runParallel({ ...common, policy: { ...policy, file: path("none") } })).rejects.toMatchObject({
      name: "UserError",
      exitCode: 2,
    });
  });
});

/** Threads' clocks may differ by tens of nanoseconds. */
const SKEW_NS = 2_000;

/** By the trace: a task's runs that begin before its last one ended, and switches from what did not run there. */
function tornRuns(log: EventLog): string[] {
  const wrong: string[] = [];
  const runs = new Map<number, number>();
  const leftAt = new Map<number, number>();
  for (let row = 0; row < log.count; row++) {
    if (log.typeAt(row) !== Ev.SchedSwitch) continue;
    const cpu = log.cpuAt(row);
    const [prev, next] = [log.aAt(row), log.bAt(row)];
    if ((runs.get(cpu) ?? 0) !== prev) wrong.push(`CPU ${cpu} leaves ${prev}, ran ${runs.get(cpu) ?? 0}`);
    runs.set(cpu, next);
    leftAt.set(prev, log.timeAt(row));
    for (const [other, p] of runs) {
      if (next === 0 || p !== next || other === cpu) continue;
      // Leaving may be stamped a little later than arriving elsewhere.
      const gone = nextSwitchOf(log, row + 1, other);
      if (!(gone - log.timeAt(row) < SKEW_NS)) wrong.push(`task ${next} on CPUs ${other} and ${cpu}`);
    }
  }
  return wrong;
}

function nextSwitchOf(log: EventLog, from: number, cpu: number): number {
  for (let row = from; row < log.count; row++)
    if (log.typeAt(row) === Ev.SchedSwitch && log.cpuAt(row) === cpu) return log.timeAt(row);
  return Number.POSITIVE_INFINITY;
}

describe("the trace", () => {
  it.each(["fifo", "cfs"])("has every switch, in order, and no task on two CPUs (%s)", async (policy) => {
    const result = await world(stressWorkload(32, 3), { policy, switches: 8_000, traceRecords: 1 << 18 }).run();
    const log = result.log!;
    expect(result.eventsLost).toBe(0);
    let switches = 0;
    for (let row = 0; row < log.count; row++) {
      if (log.typeAt(row) === Ev.SchedSwitch) switches++;
      if (row > 0 && log.timeAt(row) < log.timeAt(row - 1)) expect.fail(`event ${row} goes back in time`);
    }
    expect(switches).toBe(result.switches);
    expect(tornRuns(log)).toEqual([]);
    expect(log.nameOf(1)).toBe("ping-0");
  });
});

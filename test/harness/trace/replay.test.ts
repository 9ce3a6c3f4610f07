/** Imported recordings on the real machine: they end, and use the CPU time they had, whatever policy and CPUs. */
import { expect, it } from "vitest";
import { readFtrace } from "../../../harness/trace/ftrace_read.ts";
import { importTrace } from "../../../harness/trace/import.ts";
import { taskStats } from "../../../harness/trace/stats.ts";
import { boot } from "../../../kernel/boot.ts";
import type { Feature } from "../../../kernel/config.ts";
import { COSTS, Op } from "../../../sched/index.ts";

const POLICIES: Readonly<Record<string, readonly Feature[]>> = {
  cfs: [],
  eevdf: ["SCHED_EEVDF"],
  fifo: ["SCHED_FIFO"],
  rr: ["SCHED_RR"],
};
const LONGEST_NS = 60e9;

for (const [policy, features] of Object.entries(POLICIES))
  it(`a recording is replayed to its end under ${policy} on 1, 2 and 5 CPUs`, async () => {
    const { log } = await readFtrace("test/fixtures/sched-traces/linux61-desktop.ftrace.gz");
    const { workload } = importTrace(log);
    for (const cpus of [1, 2, 5]) {
      const costs = COSTS.none;
      const booted = await boot({ features: ["EVENT_LOG", ...features], seed: 1, cpus, workload, costs });
      expect(booted.world.run(LONGEST_NS), "something is left to do").toBe(false);
      const run = booted.machine.log!;
      const rows = workload.tasks.map((_, index) => index + 1);
      for (const { task, cpuSeconds, name } of taskStats(run, { fromNs: 0, toNs: LONGEST_NS }, rows)) {
        const { ops, args } = workload.tasks[task - 1]!.program;
        const runNs = args.reduce((sum, arg, step) => (ops[step] === Op.Run ? sum + arg : sum), 0);
        expect(name).toBe(workload.tasks[task - 1]!.name);
        expect(cpuSeconds * 1e9, `${name} on ${cpus} CPUs`).toBeCloseTo(runNs, 0);
      }
    }
  });

/**
 * The worker thread of one CPU of a parallel machine. What it is given and what it answers are plain data; everything
 * else goes through the machine's shared memory (smp.ts).
 */
import { parentPort, workerData } from "node:worker_threads";
import type { EventSink } from "./abi/machine.ts";
import { Arena } from "./lib/arena.ts";
import { KernelPanic } from "./lib/assert.ts";
import { noLocks } from "./lib/lock_ops.ts";
import { atomicWords } from "./lib/word_ops.ts";
import { CpuLoop, sinceBoot } from "./cpu_loop.ts";
import { loadPolicyFactory } from "./load_policy.ts";
import { attachRings, ringWrite } from "./observe/ring.ts";
import { noTrace } from "./observe/tracer.ts";
import { checkAtRest } from "./smp_check.ts";
import { Phase, PHASE_TEXT, Smp, Stat, Stop, watchedLocks } from "./smp.ts";
import { TaskPrograms } from "./task.ts";
import type { CpuAnswer, CpuStart } from "./world_parallel.ts";
import { cfs, createSched, SchedMetrics } from "../sched/index.ts";
import type { Sched } from "../sched/index.ts";

const start = workerData as CpuStart;
const answer = (message: CpuAnswer): void => parentPort!.postMessage(message);

async function main(): Promise<void> {
  const { cpu, cpus, workload } = start;
  const rows = workload.tasks.length + 1;
  const arena = new Arena(start.arena);
  const smp = new Smp(arena, cpus, rows);
  let booted = false;
  let tracing = true;
  try {
    const { hostNowNs } = (await import(start.clock)) as { hostNowNs: () => number };
    const policy = await loadPolicyFactory(start.policy);
    const now = sinceBoot(smp, hostNowNs);
    const ring = start.rings === undefined ? undefined : attachRings(start.rings).rings[cpu]!;
    // Whatever happens is written to the ring of the CPU it happens on: a ring has one writer. The check at rest, which
    // picks for all CPUs, is no part of the run.
    const trace: EventSink =
      ring === undefined ? noTrace : (type, _cpu, a, b, c, d) => tracing && ringWrite(ring, now(), type, a, b, c, d);
    smp.awaitTurn(cpu);
    const metrics = new SchedMetrics(arena, cpus, rows);
    const sched: Sched = createSched(
      arena,
      { cpus, tasksMax: rows, tickNs: start.tickNs, policy, fallback: cfs },
      {
        now,
        trace,
        locks: start.withoutLocks ? noLocks : watchedLocks(smp, cpu),
        words: atomicWords,
        wakePath: () => {},
        resched: (target) => {
          if (target !== cpu && smp.kick(target, sched.cpu.reschedWords)) smp.add(cpu, Stat.Kicks, 1);
        },
      },
      metrics,
    );
    const programs = new TaskPrograms(arena, workload, sched.task.sumExec, true, 0);
    const loop = new CpuLoop(smp, sched, programs, now, start);
    smp.endTurn(cpu, sched.cpu.reschedWords);
    if (cpu === 0) {
      smp.awaitTurn(cpus);
      loop.boot(workload);
      smp.base[0] = hostNowNs();
      smp.go();
    }
    smp.awaitGo();
    booted = true;
    loop.run();
    smp.stopped(cpu === 0 && start.check);
    const ejected = sched.ejectMessage();
    const endNs = now();
    if (cpu !== 0 || !start.check || smp.stopReason === Stop.Failed) return answer({ kind: "done", endNs, ejected });
    smp.phase(cpu, Phase.Check);
    tracing = false;
    answer({ kind: "done", endNs, ejected, atRest: checkAtRest(sched, programs, smp, workload) });
  } catch (thrown) {
    smp.stop(Stop.Failed);
    const { phase, task } = smp.seen(cpu);
    answer({
      kind: "failed",
      panic: thrown instanceof KernelPanic,
      booted,
      while: PHASE_TEXT[phase]!,
      task,
      message: thrown instanceof Error ? thrown.message : String(thrown),
      ...(thrown instanceof Error && thrown.stack !== undefined ? { stack: thrown.stack } : {}),
    });
  }
}

await main();

/** The worker thread of one CPU of a booted parallel machine: CpuLoop over RacingTasks. */
import { parentPort, workerData } from "node:worker_threads";
import { Arena } from "../lib/arena.ts";
import { assert } from "../lib/assert.ts";
import { CpuLoop, sinceBoot } from "../cpu_loop.ts";
import { loadPolicyFactory } from "../load_policy.ts";
import { memoryCalls } from "../syscall/memory.ts";
import { Phase, Smp, Stop, watchedLocks } from "../smp.ts";
import { checkMachine } from "./check.ts";
import { failureOf } from "./worker_answer.ts";
import { attachCpuReclaim } from "./reclaim.ts";
import { RacingTasks } from "./racing_tasks.ts";
import { joinMemory, joinSlabs, joinTables, kernelRows, loadStarts, traceOf } from "./share.ts";
import type { MachineShare } from "./share.ts";
import type { WorkerAnswer } from "./worker_answer.ts";
import { TaskNames } from "../task_names.ts";
import { loadWorker, psiWorker, reaper } from "../threads.ts";
import { Life, StoragePort } from "./port.ts";

const AUDIT_LATE_NS = 1_000_000_000;

export interface CpuStart {
  readonly share: MachineShare;
  readonly cpu: number;
}

const { share, cpu } = workerData as CpuStart;
const answer = (message: WorkerAnswer): void => parentPort!.postMessage(message);

async function main(): Promise<void> {
  const { cpus, rows, tickNs } = share;
  const arena = new Arena(share.arena);
  const smp = new Smp(arena, cpus, rows);
  const port = new StoragePort(arena, rows);
  const names = new TaskNames(arena, rows);
  try {
    const { hostNowNs } = (await import(share.clock)) as { hostNowNs: () => number };
    const policy = await loadPolicyFactory(share.policy);
    const starts = await loadStarts(share);
    const now = sinceBoot(smp, hostNowNs);
    const trace = traceOf(share, cpu, now);
    smp.awaitTurn(cpu);
    const locks = watchedLocks(smp, cpu);
    const told = share.rings === undefined ? undefined : trace;
    const memory = joinMemory(share, cpu, locks, told);
    const slabs = joinSlabs(share, memory, cpu, locks, told);
    const joins = { share, arena, smp, row: cpu, policy, starts, locks, now, trace, memory, slabs, port, names };
    const tables = joinTables(joins);
    const { sched, processes } = tables;
    const tasks = new RacingTasks({ tables, arena, rows, cpu, now });
    if (memory !== undefined) tasks.answer(memoryCalls({ kernel: tasks, pagesMax: memory.managed }));
    const compaction = attachCpuReclaim(tables, tasks, share, arena, locks);
    const config = { cpu, tickNs, untilNs: Infinity, switchesMax: Infinity };
    const audit = cpu === 0 ? (): void => tasks.audit(AUDIT_LATE_NS) : undefined;
    const loop = new CpuLoop(smp, sched, tasks, now, { ...config, ...(audit === undefined ? {} : { audit }) });
    const { times } = tables;
    const threads = [reaper(processes), loadWorker({ now, times: times.tasks }, times.load)];
    if (times.psi !== undefined) threads.push(psiWorker(now, times.psi));
    if (compaction !== undefined) threads.push(compaction);
    // Those of others are the storage worker's.
    const kernel = kernelRows(share, starts);
    for (const thread of threads) tasks.runThread(kernel.get(thread.name)!, thread);
    smp.endTurn(cpu, sched.cpu.reschedWords);
    if (cpu === 0) {
      smp.awaitTurn(cpus + 1);
      for (const [index, start] of starts.entries())
        smp.timers[index % cpus]!.set(tasks.spawn(start, index, index % cpus), now() + (start.startNs ?? 0), 0);
      for (const [name, row] of kernel) {
        const p = tasks.spawnKernel(name, row % cpus);
        assert(p === row, "cpu: a kernel task has another row than it should");
        if (threads.some((thread) => thread.name === name)) smp.timers[row % cpus]!.set(p, now(), 0);
      }
      port.move(Life.Boot, Life.Run);
      smp.go();
      answer({ kind: "ready", atNs: now() });
    }
    smp.awaitGo();
    loop.run();
    smp.stopped(cpu === 0);
    const failed = smp.stopReason === Stop.Failed;
    const atRest = cpu === 0 && !failed ? checkMachine(tables) : undefined;
    answer({ kind: "cpu", endNs: now(), lost: tasks.lost, ejected: sched.ejectMessage(), atRest });
  } catch (thrown) {
    smp.stop(Stop.Failed);
    const { phase, task } = smp.seen(cpu);
    answer(failureOf(thrown, phase, task));
  }
  smp.phase(cpu, Phase.Done);
}

await main();

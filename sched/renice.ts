/**
 * Changing a task's nice value, wherever it stands. As in Linux a running task is stopped and set running again around
 * the change, so that what it ran before counts by the weight it had then; a waiting one is taken off and put back.
 */
import * as abi from "../kernel/abi/sched.ts";
import { TAKEN } from "./dsq.ts";
import type { Ejection } from "./eject.ts";
import type { Moves } from "./moves.ts";
import type { RunQueues } from "./run_queue.ts";
import type { SchedState } from "./state.ts";
import { cpuAt, TaskState } from "./table.ts";
import type { TaskTable } from "./table.ts";
import { loadWeightOf, scxWeightOf } from "./weight.ts";

export function weigh({ nice, loadWeight, weight }: TaskTable, p: number, niceOf: number): void {
  nice[p] = niceOf;
  loadWeight[p] = loadWeightOf(niceOf);
  weight[p] = scxWeightOf(niceOf);
}

export function renice(
  s: SchedState,
  rq: RunQueues,
  { putOn, takeOff }: Moves,
  eject: Ejection,
  account: (cpu: number) => void,
): (p: number, nice: number) => void {
  const { task } = s;
  const { words } = s.world;

  /** False: the lock of `home` does not guard p just now, which is changing hands. */
  function reweigh(p: number, home: number, nice: number): boolean {
    // What a taker writes in the other order: when its queue's word is no longer ours, neither is the CPU.
    const dsq = words.load(task.dsq, p);
    const state = task.state[p];
    if (task.cpu[p] !== home || dsq === TAKEN || state === TaskState.Waking) return false;
    if (state === TaskState.Free) return true;
    const waits = state === TaskState.Queued;
    const runs = state === TaskState.Running;
    if (runs && s.cpu.curr[cpuAt(home)] !== p) return false;
    try {
      if (waits && !takeOff(p, dsq, abi.DEQ_SAVE)) return false;
      if (runs) account(home);
      if (runs) s.policy.stopping?.(p, true);
      weigh(task, p, nice);
      s.policy.setWeight?.(p);
      if (waits) putOn(p, home, abi.ENQ_RESTORE);
      if (runs) s.policy.running?.(p);
    } catch (thrown) {
      // A list counts its tasks' weights: off it while p's changes; the fallback puts it on its own.
      if (waits) rq.unlink(p, home);
      weigh(task, p, nice);
      eject.caught(thrown, "setWeight");
    }
    return true;
  }

  return (p, nice) => {
    eject.sync();
    let home = rq.lockTask(p);
    while (!reweigh(p, home, nice)) {
      rq.unlock(home);
      eject.sync();
      home = rq.lockTask(p);
    }
    rq.unlock(home);
    eject.sync();
  };
}

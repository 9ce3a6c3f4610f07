/**
 * What must hold of a parallel machine that was stopped in order: every task has ended, none sleeps, no frame and no slab object is anyone's.
 *
 * - checkMachine(tables)    counts, and every breach as a line of text; by one CPU when all have stopped
 */
import { Kind } from "../process.ts";
import { Wait } from "../wait.ts";
import type { Tables } from "./share.ts";
import { Kind as FrameKind } from "../../mm/index.ts";
import { checkSched, TaskState } from "../../sched/index.ts";

export interface MachineAtRest {
  /** User tasks that have not ended, dead ones that nobody put away. */
  readonly tasks: number;
  readonly zombies: number;
  /** User tasks on a wait queue. */
  readonly sleepers: number;
  /** Frames of tasks; of the kernel: the page cache's and buffers'. */
  readonly taskFrames: number;
  readonly kernelFrames: number;
  /** Of slab caches, in use. */
  readonly objects: number;
  readonly problems: readonly string[];
}

export function checkMachine({ sched, processes, sleepers, memory, slabs }: Tables): MachineAtRest {
  const problems: string[] = [];
  const guarded = (what: () => void): void => {
    try {
      what();
    } catch (thrown) {
      problems.push(thrown instanceof Error ? thrown.message : String(thrown));
    }
  };
  guarded(() => checkSched(sched));
  guarded(() => processes.check());
  let tasks = 0;
  let asleep = 0;
  for (let p = 1; p < processes.rows; p++) {
    if (processes.kind[p] === Kind.Kernel) continue;
    if (processes.kind[p] === Kind.User) {
      tasks++;
      problems.push(`task ${p} has not ended`);
    } else if (sched.task.state[p] !== TaskState.Free) problems.push(`row ${p} is free, and the scheduler has it`);
    if (sleepers.waits.channel[p] !== Wait.None) asleep++;
  }
  let objects = 0;
  guarded(() => {
    if (slabs === undefined) return;
    processes.leaveKernel();
    slabs.settleAll();
    slabs.slub.check();
    for (const [cache, count] of Object.entries(slabs.inUse())) {
      problems.push(`${count} objects of ${cache} are nobody's`);
      objects += count;
    }
  });
  const map = memory?.mm.map;
  let taskFrames = 0;
  let kernelFrames = 0;
  const frames = map?.shape.frames ?? 0;
  for (let frame = 0; frame < frames; frame++) {
    const state = map!.state[frame]!;
    if (state >>> 6 !== FrameKind.Allocated) continue;
    if (map!.owner[frame]! > 0) taskFrames += 1 << (state & 15);
    else kernelFrames += 1 << (state & 15);
  }
  if (taskFrames > 0) problems.push(`${taskFrames} frames of tasks that have ended`);
  return { tasks, zombies: processes.zombies, sleepers: asleep, taskFrames, kernelFrames, objects, problems };
}

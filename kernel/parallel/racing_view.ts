/** A parallel machine as it looks to its storage worker, which answers what /proc, /sys and reports ask (machine_view.ts). */
import type { MachineParts, MachineView } from "../machine_view.ts";
import { Stat } from "../smp.ts";
import type { Smp } from "../smp.ts";
import type { Tree } from "../wire_files.ts";
import { Wait } from "../wait.ts";
import type { Tables } from "./share.ts";
import type { StorageLoop } from "./storage_loop.ts";

export interface RacingViewParts extends Omit<MachineParts, "times" | "memory" | "slabs" | "psi"> {
  readonly tables: Tables;
  readonly smp: Smp;
  readonly now: () => number;
  readonly tree: () => Tree | undefined;
  readonly loop: () => StorageLoop | undefined;
}

export function racingView(given: RacingViewParts): MachineView {
  const { tables, smp, now, tree, loop, ...parts } = given;
  const { processes, sched, sleepers, memory, slabs, times } = tables;
  const { channel } = sleepers.waits;
  return {
    ...parts,
    memory,
    slabs,
    psi: times.psi,
    world: "parallel",
    cpus: smp.cpus,
    now,
    times: times.tasks,
    processes,
    sched: sched.task,
    // Whose call the storage worker has waits for what that call does.
    channelOf: (p) => (channel[p] === Wait.Storage ? (loop()?.waitsFor(p) ?? Wait.Storage) : channel[p]!),
    userNs: (cpu) => times.userNs[cpu]!,
    taskUserNs: (p) => times.taskUserNs[p]!,
    irqNs: () => 0,
    stolenNs: (cpu) => smp.stat(cpu, Stat.StolenNs),
    interrupts: () => loop()?.counts.interrupts ?? 0,
    io: times.io,
    vfs: () => tree()?.vfs,
  };
}

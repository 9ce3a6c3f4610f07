/**
 * A booted machine as it looks from outside, in either world: what /proc, /sys and reports ask of it. Reading changes
 * nothing; parts are missing when their feature is off.
 *
 * - systemView(system, ...)    of a lockstep machine; parallel/racing_view.ts has the other
 */
import type { Ext4 } from "./fs/ext4/ext4.ts";
import type { TaskRows } from "./fs/pseudo/proc_pid.ts";
import type { Vfs } from "./fs/vfs/vfs.ts";
import type { IoCounts } from "./observe/io_counts.ts";
import type { Refaults } from "./observe/refaults.ts";
import type { TaskTimes } from "./observe/task_times.ts";
import type { Processes } from "./process.ts";
import type { System } from "./system.ts";
import type { DrivenDisk } from "./wire_disk.ts";
import type { CachedPages } from "./wire_files.ts";
import type { Memory } from "./wire_memory.ts";
import type { Slabs } from "./wire_slabs.ts";
import type { Compaction, Psi } from "../mm/index.ts";

export interface MachineParts {
  readonly times: TaskTimes;
  readonly refaults: Refaults;
  readonly memory: Memory | undefined;
  readonly slabs: Slabs | undefined;
  readonly psi: Psi | undefined;
  readonly compaction: Compaction | undefined;
  readonly disk: DrivenDisk | undefined;
  readonly pages: CachedPages | undefined;
  readonly ext4: Ext4 | undefined;
}

export interface MachineView extends MachineParts {
  readonly world: "lockstep" | "parallel";
  readonly cpus: number;
  readonly now: () => number;
  readonly processes: Processes;
  /** The scheduler's columns. */
  readonly sched: TaskRows;
  /** What a row waits for (wait.ts). */
  readonly channelOf: (p: number) => number;
  /** Time in programs, by CPU and by row; in interrupts; that the host took, ns. */
  readonly userNs: (cpu: number) => number;
  readonly taskUserNs: (p: number) => number;
  readonly irqNs: (cpu: number) => number;
  readonly stolenNs: (cpu: number) => number;
  /** Of the disk. */
  readonly interrupts: () => number;
  readonly io: IoCounts;
  /** Missing until the tree is up. */
  readonly vfs: () => Vfs | undefined;
}

export function systemView(system: System, cpus: number, parts: MachineParts): MachineView {
  const { executor, processes, sched, waits } = system;
  return {
    ...parts,
    world: "lockstep",
    cpus,
    now: () => executor.now(),
    processes,
    sched: sched.task,
    channelOf: (p) => waits.channel[p]!,
    userNs: (cpu) => executor.userNs[cpu]!,
    taskUserNs: (p) => executor.taskUserNs[p]!,
    irqNs: (cpu) => (cpu === 0 ? system.irqNs : 0),
    stolenNs: () => 0,
    interrupts: () => system.irqs,
    io: executor.io,
    vfs: () => system.tree?.vfs,
  };
}

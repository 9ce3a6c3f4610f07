/**
 * Kernel tasks: kswapd, kcompactd, jbd2, the flusher, the reaper. Each is a row of the scheduler's like any other task and
 * a step function of its wing: one step is one piece of work, paid for with CPU time, and the task can be preempted
 * between two. Without work it sleeps until it is woken or its own time has come.
 */
export interface KernelThread {
  /** Up to COMM_MAX letters; Linux's. */
  readonly name: string;
  /** One piece of work on a CPU; what it cost, ns; 0: there was none. */
  step(cpu: number): number;
  /** When there is work though nobody wakes it, ns; Infinity: never. */
  nextAtNs(): number;
  /** Has been asked for work since it last looked. With this, where CPUs race, its steps need no kernel lock. */
  asked?(): boolean;
}

/** Names of kernel tasks that the file systems wake. */
export const JBD2 = "jbd2/vda-8";
export const FLUSHER = "kworker/u:flush";
export const KSWAPD = "kswapd0";
export const KCOMPACTD = "kcompactd0";
export const REAPER = "reaper";
export const LOAD = "kworker/load";
export const PSI = "kworker/psi";
/** Makes calls on files, where a worker of its own does that. */
export const FILES = "kworker/u:files";

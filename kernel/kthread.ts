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
}

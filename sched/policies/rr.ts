/** Round robin: one FIFO queue for all CPUs; a task whose quantum is over goes to its end (SCHED_RR at one priority). */
import { DSQ_GLOBAL, SLICE_INF } from "../../kernel/abi/sched.ts";
import type { PolicyFactory } from "../../kernel/abi/sched.ts";

/** Linux's sched_rr_timeslice_ms. */
export const RR_QUANTUM_NS = 100_000_000;

/** @param quantumNs CPU time a turn, ns, rounded up to the tick unless the world ends slices exactly. */
export const roundRobin =
  (quantumNs: number): PolicyFactory =>
  (k) => {
    const quantum = k.tunable("timeslice_ns", quantumNs, 1, SLICE_INF);
    return {
      name: "rr",
      enqueue: (p, flags) => k.dsqInsert(p, DSQ_GLOBAL, quantum[0]!, flags),
      // One that ran when this policy came begins a quantum.
      running: (p) => {
        if (k.task.slice[p] === 0) k.task.slice[p] = quantum[0]!;
      },
      // Nobody else waits: who runs has another quantum, not the core's default slice.
      dispatch: (_cpu, prev) => {
        if (prev !== 0) k.task.slice[prev] = quantum[0]!;
      },
    };
  };

export const rr = roundRobin(RR_QUANTUM_NS);

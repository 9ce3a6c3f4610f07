/**
 * A program as it is asked for its next word, in either world: the UserTask that its step function sees. One object a
 * CPU; step by step it is another task.
 */
import type { UserTask } from "./abi/program.ts";
import { NR_MAX, Nr } from "./abi/syscall_nr.ts";
import { assert } from "./lib/assert.ts";
import { ARGS, Phase } from "./process.ts";
import type { Processes } from "./process.ts";

/** What a call sees of an argument: a whole number, as registers hold them. */
const register = (value: number): number => (Number.isFinite(value) ? Math.trunc(value) + 0 : 0);

export class Stepped implements UserTask {
  words: Float64Array = new Float64Array(0);
  memory: Uint8Array = new Uint8Array(0);
  result = 0;
  pid = 0;
  row = 0;
  runNs = -1;
  nr = -1;
  readonly args = new Float64Array(ARGS);
  readonly #processes: Processes;

  constructor(processes: Processes) {
    this.#processes = processes;
  }

  below(bound: number): number {
    return this.#processes.below(this.row, bound);
  }

  run(ns: number): void {
    assert(this.nr < 0 && this.runNs < 0, "a program says two things at once");
    this.runNs = Math.max(1, Math.floor(ns));
  }

  call(nr: number, a0 = 0, a1 = 0, a2 = 0, a3 = 0, a4 = 0, a5 = 0): void {
    assert(this.nr < 0 && this.runNs < 0, "a program says two things at once");
    // A number that no register holds is nobody's, and not that of the call whose lower half it has.
    this.nr = nr === nr >>> 0 && nr <= NR_MAX ? nr : NR_MAX + 1;
    const { args } = this;
    args[0] = register(a0);
    args[1] = register(a1);
    args[2] = register(a2);
    args[3] = register(a3);
    args[4] = register(a4);
    args[5] = register(a5);
  }

  /**
   * Asks row p's program what it does next: CPU time of its own, ns; or -1: a call, `nr` with `args`, which its row is now
   * about to make. A program that says nothing, or is not asked any more (`goesOn` false), exits.
   */
  ask(p: number, goesOn: boolean): number {
    const processes = this.#processes;
    this.row = p;
    this.words = processes.words(p);
    this.memory = processes.memory(p);
    this.result = processes.result[p]!;
    this.pid = processes.pid[p]!;
    this.runNs = this.nr = -1;
    if (goesOn) processes.programs[processes.program[p]!]!.step(this);
    if (this.runNs >= 0) return this.runNs;
    if (this.nr < 0) {
      this.nr = Nr.exit_group;
      this.args.fill(0);
    }
    processes.nr[p] = this.nr;
    processes.args.set(this.args, p * ARGS);
    processes.phase[p] = Phase.Entered;
    processes.calls[p]!++;
    return -1;
  }
}

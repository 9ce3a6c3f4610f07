/**
 * Programs as state machines that read like a list: each state does one thing and names the next. The number of the
 * state is words[0]; whatever else a program keeps lies in the words from 1 on (kernel/abi/program.ts says why).
 *
 *   export const ticker = program("ticker", {
 *     sleep: (t) => nanosleep(t, 1e6, "work"),
 *     work: (t, w) => run(t, 1e5 + t.below(1e5), ++w[1]! < 10 ? "sleep" : "exit"),
 *   });
 *
 * The first state is the start. A state whose name ends in "?" only decides: it makes no call, does not run, and the
 * machine goes straight on. "exit" ends the program.
 */
import type { UserProgram, UserTask } from "../kernel/abi/program.ts";
import { assert } from "../kernel/lib/assert.ts";

export type State<Name extends string> = (task: UserTask, words: Float64Array) => Name | "exit";

/** Decisions in a row: more is a program that never does anything. */
const DECISIONS_MAX = 64;

export function program<const Name extends string>(
  name: string,
  states: Readonly<Record<Name, State<NoInfer<Name>>>>,
): UserProgram {
  const names = Object.keys(states) as Name[];
  const numbers = new Map<string, number>(names.map((state, number) => [state, number]));
  numbers.set("exit", names.length);
  return {
    name,
    step(task) {
      const { words } = task;
      for (let decisions = 0; decisions < DECISIONS_MAX; decisions++) {
        const state = names[words[0]!];
        if (state === undefined) return;
        const next = numbers.get(states[state](task, words));
        assert(next !== undefined, "program: a state that there is not");
        words[0] = next;
        if (!state.endsWith("?")) return;
      }
      assert(false, "program: states that only decide");
    },
  };
}

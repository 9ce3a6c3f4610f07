/**
 * How a program is written: as named steps. A step looks at the answer of the call before it (`t.result`), does the next
 * thing (one call of libc.ts, or t.run), and returns the name of the step that follows:
 *
 *   const FD = 1;                                                     words of the program's own; arguments come first, in 0 ..
 *   export const toucher = program("toucher", {
 *     start: (t) => (open(t, "/a", O_RDWR | O_CREAT), "opened"),
 *     opened(t, w) {
 *       if (t.result < 0) return "pause";                             does nothing: the next step follows at once
 *       w[FD] = t.result;
 *       fsync(t, w[FD]);
 *       return "synced";
 *     },
 *     synced: (t, w) => (close(t, w[FD]!), "pause"),
 *     pause: (t) => (nanosleep(t, 1e6), "start"),
 *   });
 *
 * The first step named is where it begins; the last of the words holds the step, so that all that a program knows lies in
 * words and memory (kernel/abi/program.ts). "exit" is a step that every program has. A fork goes on in the same step twice.
 */
import { USER_WORDS } from "../kernel/abi/program.ts";
import type { UserProgram, UserTask } from "../kernel/abi/program.ts";
import { assert } from "../kernel/lib/assert.ts";

/** Word of the number of the next step. */
export const PC = USER_WORDS - 1;
/** Steps in a row that may do nothing: more is a program that hangs. */
const IDLE_STEPS_MAX = 64;

export type Step<Name extends string> = (t: UserTask, w: Float64Array) => Name | "exit";

export function program<Name extends string>(
  name: string,
  steps: Readonly<Record<Name, Step<NoInfer<Name>>>>,
): UserProgram {
  const names = Object.keys(steps) as Name[];
  const numbers = new Map<string, number>(names.map((step, number) => [step, number]));
  const watch = new Watch();
  return {
    name,
    step(task) {
      watch.of(task);
      const w = task.words;
      for (let n = 0; n < IDLE_STEPS_MAX; n++) {
        const current = names[w[PC]!];
        if (current === undefined) return;
        w[PC] = numbers.get(steps[current](watch, w)) ?? names.length;
        if (watch.hasActed) return;
      }
      assert(false, "program: too many steps that do nothing");
    },
  };
}

/** A task that says whether its step has done anything. Nothing in it outlives a step. */
class Watch implements UserTask {
  hasActed = false;
  #task!: UserTask;

  of(task: UserTask): void {
    this.#task = task;
    this.hasActed = false;
  }
  get words(): Float64Array {
    return this.#task.words;
  }
  get memory(): Uint8Array {
    return this.#task.memory;
  }
  get result(): number {
    return this.#task.result;
  }
  get pid(): number {
    return this.#task.pid;
  }
  below(bound: number): number {
    return this.#task.below(bound);
  }
  run(ns: number): void {
    this.#act();
    this.#task.run(ns);
  }
  call(nr: number, a0?: number, a1?: number, a2?: number, a3?: number, a4?: number, a5?: number): void {
    this.#act();
    this.#task.call(nr, a0, a1, a2, a3, a4, a5);
  }
  #act(): void {
    assert(!this.hasActed, "program: a step does two things");
    this.hasActed = true;
  }
}

/** A program's text as a generator: each yield follows one call of libc.ts or t.run, and gives the answer. */
export type ProgramText = (t: UserTask, w: Float64Array) => Generator<void, void, number>;

/**
 * A program as a generator:
 *
 *   generatorProgram("toucher", function* (t) {
 *     const fd = yield open(t, "/a", O_RDWR | O_CREAT);
 *     yield fsync(t, fd);
 *   });
 *
 * Easier to write, but where it stands lies in no words: such a task cannot fork, cannot go on in another thread (so:
 * lockstep only), and a snapshot of its machine is restored by replay from the start. Generators are kept by pid for each
 * machine, which the buffer of its words stands for.
 */
export function generatorProgram(name: string, text: ProgramText): UserProgram {
  const machines = new WeakMap<ArrayBufferLike, Map<number, ReturnType<ProgramText>>>();
  return {
    name,
    isGenerator: true,
    step(task) {
      const { buffer } = task.words;
      const running = machines.get(buffer) ?? new Map<number, ReturnType<ProgramText>>();
      machines.set(buffer, running);
      const generator = running.get(task.pid) ?? text(task, task.words);
      running.set(task.pid, generator);
      if (generator.next(task.result).done === true) running.delete(task.pid);
    },
  };
}

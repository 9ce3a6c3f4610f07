/**
 * Systematic interleavings: every order in which threads can take their steps, but for those that only swap steps
 * which do not touch the same word (sleep sets, Godefroid 1996).
 *
 * A thread is a generator that yields each access to shared memory before it happens; `explore` runs all schedules
 * depth first, from the start each time, and checks the end of each. A schedule in which nobody can go on though
 * somebody has not finished is a deadlock.
 */
export interface Step {
  readonly word: string;
  readonly write: boolean;
  readonly run: (memory: Memory) => number;
  /** Cannot be taken while this holds. */
  readonly blocked?: (memory: Memory) => boolean;
}
export type Memory = Record<string, number>;
export type Thread = Generator<Step, void, number>;

export const load = (word: string): Step => ({ word, write: false, run: (memory) => memory[word] ?? 0 });
export const store = (word: string, value: number): Step => ({
  word,
  write: true,
  run: (memory) => (memory[word] = value),
});
/** Returns what was there. */
export const exchange = (word: string, value: number): Step => ({
  word,
  write: true,
  run: (memory) => {
    const old = memory[word] ?? 0;
    memory[word] = value;
    return old;
  },
});
/** Returns what was there; stored only if that was `expected`. */
export const compareExchange = (word: string, expected: number, value: number): Step => ({
  word,
  write: true,
  run: (memory) => {
    const old = memory[word] ?? 0;
    if (old === expected) memory[word] = value;
    return old;
  },
});
/** A lock as one step each way, for models whose subject is not the lock. */
export const acquire = (word: string): Step => ({
  word,
  write: true,
  blocked: (memory) => memory[word] === 1,
  run: (memory) => (memory[word] = 1),
});
export const release = (word: string): Step => store(word, 0);

export interface Exploration {
  readonly schedules: number;
  /** What was wrong at the end of a schedule, and that schedule. */
  readonly bug?: { readonly message: string; readonly schedule: readonly number[] };
}

export function explore(
  start: () => { memory: Memory; threads: Thread[] },
  check: (memory: Memory) => string | undefined,
  schedulesMax = 200_000,
): Exploration {
  let schedules = 0;
  let bug: Exploration["bug"];

  const replay = (schedule: readonly number[]) => {
    const { memory, threads } = start();
    const next = threads.map((thread) => thread.next());
    for (const turn of schedule) next[turn] = threads[turn]!.next((next[turn]!.value as Step).run(memory));
    return { memory, next };
  };

  const visit = (schedule: number[], sleep: ReadonlySet<number>): void => {
    if (bug !== undefined) return;
    const { memory, next } = replay(schedule);
    const step = (thread: number): Step => next[thread]!.value as Step;
    const alive = [...next.keys()].filter((thread) => next[thread]!.done !== true);
    const ready = alive.filter((thread) => step(thread).blocked?.(memory) !== true);
    if (ready.length === 0) {
      schedules++;
      if (schedules > schedulesMax) throw new Error("explore: too many schedules; make the model smaller");
      const message = alive.length > 0 ? "deadlock" : check(memory);
      if (message !== undefined) bug = { message, schedule: [...schedule] };
      return;
    }
    const done: number[] = [];
    for (const thread of ready) {
      if (sleep.has(thread)) continue;
      const taken = step(thread);
      const apart = (other: number): boolean =>
        next[other]!.done !== true && (step(other).word !== taken.word || (!step(other).write && !taken.write));
      visit([...schedule, thread], new Set([...sleep, ...done].filter(apart)));
      done.push(thread);
    }
  };
  visit([], new Set());
  return bug === undefined ? { schedules } : { schedules, bug };
}

/** A program that sets files of /sys and /proc, one after the other, round and round, and notes what write(2) said. */
import type { UserProgram } from "../../../kernel/abi/program.ts";
import { Nr } from "../../../kernel/abi/syscall_nr.ts";

const AT_FDCWD = -100;
const O_WRONLY = 1;
const PATH = 64;
const TEXT = 4096;

export interface Setter {
  readonly program: UserProgram;
  /** What write(2), or open(2) when it failed, returned, in order. */
  readonly results: number[];
}

/** Each of `sets` is a path and what is written there; between two of them it computes for `everyNs`, and a bit. */
export function setter(sets: readonly (readonly [path: string, text: string])[], everyNs: number): Setter {
  const results: number[] = [];
  const encoder = new TextEncoder();
  const program: UserProgram = {
    name: "setter",
    step(task) {
      const { words, memory } = task;
      const [path, text] = sets[words[1]! % sets.length]!;
      switch (words[0]!++) {
        case 0:
          return task.run(everyNs + task.below(everyNs / 4));
        case 1:
          memory.set(encoder.encode(`${path}\0`), PATH);
          return task.call(Nr.openat, AT_FDCWD, PATH, O_WRONLY, 0);
        case 2:
          words[2] = task.result;
          if (task.result >= 0) {
            memory.set(encoder.encode(text), TEXT);
            return task.call(Nr.write, words[2], TEXT, text.length);
          }
          break;
        default:
      }
      results.push(task.result);
      words[0] = 0;
      words[1]!++;
      return words[2]! >= 0 ? task.call(Nr.close, words[2]) : task.run(everyNs);
    },
  };
  return { program, results };
}

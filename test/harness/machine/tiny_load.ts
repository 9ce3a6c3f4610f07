/** A small workload for tests of the machine: writers with fsync, a hog, a family that forks and waits, a pipe. */
import type { UserProgram, UserTask, UserWorkload } from "../../../kernel/abi/program.ts";
import { Nr } from "../../../kernel/abi/syscall_nr.ts";

const AT_FDCWD = -100;
const O_RDWR_CREAT = 0o102;
const BUFFER = 16_384;
const PATH = 64;

const path = (task: UserTask, text: string): number => {
  task.memory.set(new TextEncoder().encode(`${text}\0`), PATH);
  return PATH;
};

/** words: 0 step, 1 descriptor. */
const writer: UserProgram = {
  name: "writer",
  step(task) {
    const { words } = task;
    switch (words[0]!++) {
      case 0:
        return task.call(Nr.openat, AT_FDCWD, path(task, `/w${task.pid}`), O_RDWR_CREAT, 0o644);
      case 1:
        words[1] = task.result;
        task.memory.fill(task.pid, BUFFER, BUFFER + 8192);
        return task.call(Nr.write, words[1], BUFFER, 8192);
      case 2:
        return task.call(Nr.fsync, words[1]);
      case 3:
        return task.run(100_000 + task.below(100_000));
      case 4:
        words[0] = 2;
        return task.call(Nr.pwrite64, words[1], BUFFER, 4096, 4096 * task.below(64));
      default:
        return undefined;
    }
  },
};

const hog: UserProgram = {
  name: "hog",
  step(task) {
    const { words } = task;
    switch (words[0]!++) {
      case 0:
        return task.call(Nr.mmap, 0, 20e6 + task.below(20e6), 3, 0x8022, -1, 0);
      case 1:
        words[1] = task.result;
        return task.run(2e6);
      default:
        words[0] = 0;
        return task.call(Nr.munmap, words[1], 40e6);
    }
  },
};

/** words: 0 step, 2 read end, 3 write end. */
const family: UserProgram = {
  name: "family",
  step(task) {
    const { words } = task;
    switch (words[0]!++) {
      case 0:
        return task.call(Nr.pipe2, BUFFER);
      case 1: {
        const ends = new DataView(task.memory.buffer, task.memory.byteOffset + BUFFER, 8);
        words[2] = ends.getInt32(0, true);
        words[3] = ends.getInt32(4, true);
        return task.call(Nr.clone, 17);
      }
      case 2:
        words[4] = task.result;
        return words[4] === 0 ? task.call(Nr.write, words[3], BUFFER, 100) : task.call(Nr.read, words[2], BUFFER, 100);
      case 3:
        // The child ends here.
        return words[4] === 0 ? undefined : task.call(Nr.wait4, -1, 0, 0);
      case 4:
        return task.call(Nr.close, words[2]);
      case 5:
        return task.call(Nr.close, words[3]);
      default:
        words[0] = 0;
        return task.run(300_000);
    }
  },
};

export const workload: UserWorkload = {
  name: "tiny",
  help: "for tests",
  tasks: () => [{ program: writer }, { program: writer, nice: 5 }, { program: hog }, { program: family }],
};

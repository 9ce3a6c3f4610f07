/** Programs of the tests of the parallel machine: step functions, imported by its workers. */
import { AT_FDCWD, O_CREAT, O_RDONLY, O_RDWR, O_WRONLY } from "../../../kernel/abi/fcntl.ts";
import type { UserProgram, UserStart, UserTask, UserWorkload } from "../../../kernel/abi/program.ts";
import { generatorProgram } from "../../../userspace/index.ts";
import { Nr } from "../../../kernel/abi/syscall_nr.ts";

const PATH = 64;
const DATA = 4096;
const BLOCK = 4096;

function putText(task: UserTask, at: number, text: string): void {
  for (let i = 0; i < text.length; i++) task.memory[at + i] = text.charCodeAt(i);
  task.memory[at + text.length] = 0;
}

const exit = (task: UserTask, code: number): void => task.call(Nr.exit_group, code);

/**
 * words[0]: rounds; [1]: where it stands; [2]: descriptor; [3]: round.
 * Writes a block, syncs it, reads it back; exits with 1 when it holds something else.
 */
export const syncer: UserProgram = {
  name: "syncer",
  step(task) {
    const { words, memory } = task;
    switch (words[1]) {
      case 0:
        putText(task, PATH, `/sync-${task.pid}`);
        words[1] = 1;
        return task.call(Nr.openat, AT_FDCWD, PATH, O_CREAT | O_RDWR, 0o644);
      case 1:
        if (task.result < 0) return exit(task, 2);
        words[2] = task.result;
        words[1] = 2;
        return task.run(20_000);
      case 2: {
        if (words[3]! >= words[0]!) {
          words[1] = 6;
          return task.call(Nr.close, words[2]);
        }
        memory.fill((words[3]! * 7 + task.pid) & 0xff, DATA, DATA + BLOCK);
        words[1] = 3;
        return task.call(Nr.pwrite64, words[2], DATA, BLOCK, (words[3]! % 16) * BLOCK);
      }
      case 3:
        if (task.result !== BLOCK) return exit(task, 3);
        words[1] = 4;
        return task.call(Nr.fsync, words[2]);
      case 4:
        if (task.result !== 0) return exit(task, 4);
        memory.fill(0, DATA, DATA + BLOCK);
        words[1] = 5;
        return task.call(Nr.pread64, words[2], DATA, BLOCK, (words[3]! % 16) * BLOCK);
      case 5: {
        const wanted = (words[3]! * 7 + task.pid) & 0xff;
        if (task.result !== BLOCK || memory[DATA] !== wanted || memory[DATA + BLOCK - 1] !== wanted)
          return exit(task, 1);
        words[3]!++;
        words[1] = 2;
        return task.run(5_000);
      }
      default:
        return exit(task, 0);
    }
  },
};

/** words[0]: runs, [1]: how many it has made. Computes and sleeps. */
export const hog: UserProgram = {
  name: "hog",
  step(task) {
    const { words } = task;
    if (words[1]! >= words[0]!) return;
    words[1]!++;
    task.run(100_000 + task.below(100_000));
  },
};

/** words[0]: children to make, [1]: where it stands, [2]: made. Each child writes a file and exits with 7. */
export const parent: UserProgram = {
  name: "parent",
  step(task) {
    const { words } = task;
    switch (words[1]) {
      case 0:
        if (words[2]! >= words[0]!) return;
        words[2]!++;
        words[1] = 1;
        return task.call(Nr.clone, 17);
      case 1:
        if (task.result < 0) return exit(task, 2);
        if (task.result === 0) {
          putText(task, PATH, `/tmp/child-${task.pid % 64}`);
          words[1] = 10;
          return task.call(Nr.openat, AT_FDCWD, PATH, O_CREAT | O_RDWR, 0o644);
        }
        words[1] = 2;
        return task.call(Nr.wait4, -1, DATA, 0);
      case 2: {
        const status = task.memory[DATA]! | (task.memory[DATA + 1]! << 8);
        if (task.result < 0 || status !== 7 << 8) return exit(task, 3);
        words[1] = 0;
        return task.run(10_000);
      }
      case 10:
        if (task.result < 0) return exit(task, 8);
        words[3] = task.result;
        words[1] = 11;
        return task.call(Nr.write, words[3], DATA, 100);
      default:
        // Its descriptor is closed by its end.
        return exit(task, 7);
    }
  },
};

/** words[0]: lines. Tells the console; the lines come out in order. */
export const teller: UserProgram = {
  name: "teller",
  step(task) {
    const { words } = task;
    if (words[1] === 0) {
      putText(task, PATH, "/dev/kmsg");
      words[1] = 1;
      return task.call(Nr.openat, AT_FDCWD, PATH, O_WRONLY);
    }
    if (words[1] === 1) {
      words[2] = task.result;
      words[1] = 2;
    }
    if (task.result < 0) return exit(task, 1);
    if (words[3]! >= words[0]!) return;
    const text = `line ${words[3]!++}`;
    putText(task, DATA, text);
    task.call(Nr.write, words[2], DATA, text.length);
  },
};

/** Sleeps and looks at the clock. words[0]: times. */
export const sleeper: UserProgram = {
  name: "sleeper",
  step(task) {
    const { words, memory } = task;
    if (task.result < 0) return exit(task, 1);
    if (words[1]! >= words[0]!) return;
    words[1]!++;
    new DataView(memory.buffer, memory.byteOffset + DATA, 16).setBigUint64(0, 0n, true);
    new DataView(memory.buffer, memory.byteOffset + DATA, 16).setBigUint64(8, 1_000_000n, true);
    task.call(Nr.nanosleep, DATA, 0);
  },
};

/** Waits for ever at the end of a pipe that it holds itself. */
export const stuckReader: UserProgram = {
  name: "reader",
  step(task) {
    const { words, memory } = task;
    if (words[0] === 0) {
      words[0] = 1;
      return task.call(Nr.pipe2, DATA, 0);
    }
    const fd = new DataView(memory.buffer, memory.byteOffset + DATA, 8).getInt32(0, true);
    task.call(Nr.read, fd, DATA + 64, 64);
  },
};

/** Endless. words[1]: pages that it has. Grows and shrinks its heap. */
export const grower: UserProgram = {
  name: "grower",
  step(task) {
    const { words } = task;
    words[1] = words[1]! >= words[0]! ? 0 : Math.min(words[0]!, words[1]! + 256);
    task.call(Nr.brk, 0x1000_0000 + words[1] * 4096);
  },
};

/**
 * As syncer, and after each fsync it tells the console what is durable: `name round`. The file's block round % 16 is
 * filled with the byte of that round, or of a later one.
 */
export const promiser: UserProgram = {
  name: "promiser",
  step(task) {
    const { words, memory } = task;
    switch (words[1]) {
      case 0:
        putText(task, PATH, "/dev/kmsg");
        words[1] = 1;
        return task.call(Nr.openat, AT_FDCWD, PATH, O_WRONLY);
      case 1:
        if (task.result < 0) return exit(task, 2);
        words[4] = task.result;
        putText(task, PATH, `/promise-${task.pid}`);
        words[1] = 2;
        return task.call(Nr.openat, AT_FDCWD, PATH, O_CREAT | O_RDWR, 0o644);
      case 2:
        if (task.result < 0) return exit(task, 2);
        words[2] = task.result;
        words[1] = 3;
        return task.run(20_000);
      case 3:
        memory.fill(promised(task.pid, words[3]!), DATA, DATA + BLOCK);
        words[1] = 4;
        return task.call(Nr.pwrite64, words[2], DATA, BLOCK, (words[3]! % 16) * BLOCK);
      case 4:
        if (task.result !== BLOCK) return exit(task, 3);
        words[1] = 5;
        return task.call(Nr.fsync, words[2]);
      case 5: {
        if (task.result !== 0) return exit(task, 4);
        const text = `promise-${task.pid} ${words[3]!++}`;
        putText(task, DATA, text);
        words[1] = words[3]! < words[0]! ? 3 : 6;
        return task.call(Nr.write, words[4], DATA, text.length);
      }
      default:
        return exit(task, 0);
    }
  },
};
/** The byte of a round. */
export const promised = (pid: number, round: number): number => (round * 7 + pid) & 0xff;

/** What looker() shows; PID is its own. */
export const SHOWN = [
  "meminfo",
  "vmstat",
  "buddyinfo",
  "pagetypeinfo",
  "slabinfo",
  "stat",
  "schedstat",
  "loadavg",
  "uptime",
  "diskstats",
  "partitions",
  "mounts",
  "pressure/cpu",
  "pressure/io",
  "pressure/memory",
  "sys/vm/dirty_ratio",
  "PID/stat",
  "PID/status",
  "PID/schedstat",
  "PID/io",
  "PID/wchan",
  "PID/oom_score",
].map((path) => `/proc/${path}`);

/** Tells the console each file of SHOWN, once: its path, a line end, its text. words[0]: rounds before, without telling. */
export const looker: UserProgram = {
  name: "looker",
  step(task) {
    const { words, memory } = task;
    switch (words[1]) {
      case 0:
        putText(task, PATH, "/dev/kmsg");
        words[1] = 1;
        return task.call(Nr.openat, AT_FDCWD, PATH, O_WRONLY);
      case 1:
        words[2] = task.result;
        words[1] = 2;
        return task.run(1_000);
      case 2: {
        if (words[3]! >= SHOWN.length) {
          words[3] = 0;
          if (words[0]!-- <= 0) return exit(task, 0);
        }
        const path = SHOWN[words[3]!++]!;
        putText(task, PATH, path.replace("PID", String(task.pid)));
        putText(task, DATA, `${path}\n`);
        words[5] = path.length + 1;
        words[1] = 3;
        return task.call(Nr.openat, AT_FDCWD, PATH, O_RDONLY);
      }
      case 3:
        words[4] = task.result;
        words[1] = 4;
        if (task.result < 0) return exit(task, 1);
        return task.call(Nr.read, words[4], DATA + words[5]!, memory.length - DATA - words[5]!);
      case 4:
        words[5]! += task.result;
        words[1] = words[0]! > 0 ? 6 : 5;
        return task.call(Nr.close, words[4]);
      case 5:
        words[1] = 2;
        return task.call(Nr.write, words[2], DATA, words[5]);
      default:
        words[1] = 2;
        return task.run(1_000);
    }
  },
};

/** words[0]: where it stands. Has names, inodes and slabs dropped, as often as it can. */
export const dropper: UserProgram = {
  name: "dropper",
  step(task) {
    const { words } = task;
    if (words[0]!++ === 0) {
      putText(task, PATH, "/proc/sys/vm/drop_caches");
      return task.call(Nr.openat, AT_FDCWD, PATH, O_WRONLY);
    }
    if (words[0] === 2) words[1] = task.result;
    else if (task.result !== 1) return exit(task, 1);
    putText(task, DATA, "2");
    return task.call(Nr.pwrite64, words[1], DATA, 1, 0);
  },
};

/** Panics where it stands: the machine's own trouble. */
export const breaker: UserProgram = {
  name: "breaker",
  step(task) {
    if (task.words[0]!++ < 20) return task.run(50_000);
    throw new Error("a program of the test fails");
  },
};

/** Never returns. */
export const looper: UserProgram = {
  name: "looper",
  step(task) {
    if (task.words[0]!++ < 20) return task.run(50_000);
    for (;;) task.words[1]!++;
  },
};

const many = (count: number, program: UserProgram, args: readonly number[]): UserStart[] =>
  Array.from({ length: count }, () => ({ program, args }));

const workload = (name: string, tasks: UserWorkload["tasks"]): UserWorkload => ({ name, help: name, tasks });

export const first = workload("first", () => many(2, syncer, [20]));
export const mix = workload("mix", () => [
  ...many(4, syncer, [40]),
  ...many(2, hog, [200]),
  ...many(3, parent, [10]),
  ...many(1, teller, [50]),
  ...many(3, sleeper, [50]),
]);
export const endless = workload("endless", ({ memoryBytes }) => [
  ...many(6, syncer, [1e9]),
  ...many(2, hog, [1e9]),
  ...many(3, parent, [1e9]),
  ...many(3, sleeper, [1e9]),
  ...many(2, stuckReader, []),
  ...many(1, grower, [memoryBytes / 4096 / 2]),
]);
/** Five tasks are endless, the others have an end. */
export const counted = workload("counted", () => [
  ...many(2, syncer, [1e9]),
  ...many(2, hog, [1e9]),
  ...many(1, stuckReader, []),
  ...many(2, parent, [4]),
  ...many(2, sleeper, [20]),
]);
/** More tasks than fit at once, and children whose windows need blocks between their frames. */
export const crowded = workload("crowded", ({ memoryBytes }) => [
  ...many(4, grower, [Math.floor((memoryBytes / 4096) * 0.2)]),
  ...many(4, parent, [1e9]),
  ...many(1, syncer, [1e9]),
]);
export const promises = workload("promises", () => [...many(4, promiser, [1e9]), ...many(2, hog, [1e9])]);
export const hungry = workload("hungry", ({ memoryBytes }) => [
  ...many(3, syncer, [1e9]),
  ...many(2, grower, [Math.floor((memoryBytes / 4096) * 0.6)]),
]);
export const broken = workload("broken", () => [...many(2, hog, [1e9]), ...many(1, breaker, [])]);
export const loops = workload("loops", () => [...many(2, hog, [1e9]), ...many(1, looper, [])]);
export const looks = workload("looks", () => [
  ...many(1, looker, [2]),
  ...many(1, syncer, [1e9]),
  ...many(1, hog, [1e9]),
  ...many(1, parent, [1e9]),
]);
export const none = workload("none", () => []);
export const asleep = workload("asleep", () => many(4, sleeper, [1e9]));
export const families = workload("families", () => many(6, parent, [1e9]));
export const dropping = workload("dropping", () => [...many(6, parent, [1e9]), ...many(1, dropper, [])]);
export const generator = workload("generator", () => [
  {
    program: generatorProgram("old", function* (task) {
      yield task.run(1000);
    }),
  },
]);

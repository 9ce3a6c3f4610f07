/**
 * Workloads of bench parallel_machine: each task makes one kind of call so many times and tells the console how long that
 * took, "KIND COUNT NANOSECONDS".
 */
import { O_CREAT, O_RDWR, O_WRONLY } from "../../kernel/abi/fcntl.ts";
import type { UserProgram, UserStart, UserTask, UserWorkload } from "../../kernel/abi/program.ts";
import { Nr } from "../../kernel/abi/syscall_nr.ts";
import { NS_PER_SEC } from "../../kernel/abi/units.ts";
import { DATA_AT, fsync, lseek, open, program, pwrite, SCRATCH_AT, write } from "../../userspace/index.ts";

const [KIND, COUNT, FILE, CONSOLE, DONE, SINCE] = [0, 1, 2, 3, 4, 5];
export const CALLS = ["getpid", "lseek", "fsync"] as const;
const BLOCK = 4096;
const CLOCK_MONOTONIC = 1;

const clock = (t: UserTask): void => t.call(Nr.clock_gettime, CLOCK_MONOTONIC, SCRATCH_AT);
function clockAt({ memory }: UserTask): number {
  const view = new DataView(memory.buffer, memory.byteOffset + SCRATCH_AT, 16);
  return Number(view.getBigUint64(0, true)) * NS_PER_SEC + Number(view.getBigUint64(8, true));
}

const caller: UserProgram = program("caller", {
  start: (t) => (open(t, `/bench-${t.pid}`, O_RDWR | O_CREAT), "console"),
  console(t, w) {
    w[FILE] = t.result;
    open(t, "/dev/kmsg", O_WRONLY);
    return "began";
  },
  began(t, w) {
    w[CONSOLE] = t.result;
    clock(t);
    return "first";
  },
  first(t, w) {
    w[SINCE] = clockAt(t);
    return "next";
  },
  next(t, w) {
    if (w[DONE]!++ >= w[COUNT]!) {
      clock(t);
      return "tell";
    }
    const call = CALLS[w[KIND]!];
    if (call === "getpid") t.call(Nr.getpid);
    else if (call === "lseek") lseek(t, w[FILE]!, 0, 0);
    else {
      pwrite(t, w[FILE]!, DATA_AT, BLOCK, (w[DONE]! % 16) * BLOCK);
      return "sync";
    }
    return "next";
  },
  sync: (t, w) => (fsync(t, w[FILE]!), "next"),
  tell(t, w) {
    const text = `${CALLS[w[KIND]!]} ${w[COUNT]} ${clockAt(t) - w[SINCE]!}`;
    new TextEncoder().encodeInto(text, t.memory.subarray(DATA_AT, DATA_AT + 200));
    write(t, w[CONSOLE]!, DATA_AT, text.length);
    return "exit";
  },
});

const callers = (tasks: number, call: (typeof CALLS)[number], count: number): UserStart[] =>
  Array.from({ length: tasks }, () => ({ program: caller, args: [CALLS.indexOf(call), count] }));
const workload = (name: string, tasks: () => UserStart[]): UserWorkload => ({ name, help: name, tasks });

export const WORKLOADS: readonly UserWorkload[] = [
  workload("getpid", () => callers(1, "getpid", 20_000)),
  workload("lseek", () => callers(1, "lseek", 5_000)),
  workload("lseek-4", () => callers(4, "lseek", 5_000)),
  workload("fsync", () => callers(1, "fsync", 200)),
  workload("fsync-4", () => callers(4, "fsync", 200)),
];

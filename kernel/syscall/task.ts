/** System calls on tasks and time: exit, clone, wait4, getpid, nanosleep, sched_yield, setpriority (Linux: kernel/*.c). */
import { EAGAIN, ECHILD, EFAULT, EINVAL, EIOCBQUEUED, ESRCH, isErr } from "../abi/errno.ts";
import { Nr } from "../abi/syscall_nr.ts";
import { BOOT_SEC } from "../abi/units.ts";
import { Phase } from "../process.ts";
import { claim, putInt32, putTimespec, timespecAt } from "../uaccess.ts";
import { Wait } from "../wait.ts";
import type { CallGroup, CallKernel } from "./call.ts";

/** clone: the signal for the parent, alone: a fork. */
export const SIGCHLD = 17;
const WNOHANG = 1;
const PRIO_PROCESS = 0;
/** Clocks that can be asked for, and the second at which they were when the machine began. */
const CLOCKS: ReadonlyMap<number, number> = new Map([
  [0, BOOT_SEC], // CLOCK_REALTIME
  [1, 0], // CLOCK_MONOTONIC
  [4, 0], // CLOCK_MONOTONIC_RAW
  [5, BOOT_SEC], // CLOCK_REALTIME_COARSE
  [6, 0], // CLOCK_MONOTONIC_COARSE
  [7, 0], // CLOCK_BOOTTIME
]);

export interface TaskCallParts {
  readonly kernel: CallKernel;
  /** A copy of task p, runnable: its row, or an errno. */
  readonly fork: (p: number) => number;
  /** The task gives its CPU up when the call is over. */
  readonly yieldCpu: (p: number) => void;
  readonly setNice: (p: number, nice: number) => void;
}

export function taskCalls({ kernel, fork, yieldCpu, setNice }: TaskCallParts): CallGroup {
  const { processes } = kernel;
  const arg = (p: number, n: number): number => processes.argument(p, n);

  function exit(p: number): number {
    processes.exitCode[p] = arg(p, 0);
    processes.phase[p] = Phase.Exiting;
    return 0;
  }

  function clone(p: number): number {
    if (arg(p, 0) !== SIGCHLD) return EINVAL;
    const child = fork(p);
    return isErr(child) ? child : processes.pid[child]!;
  }

  function wait4(p: number): number {
    const [pid, status, options] = [arg(p, 0), arg(p, 1), arg(p, 2)];
    if ((options & ~WNOHANG) !== 0 || pid === 0 || pid < -1) return EINVAL;
    if (status !== 0 && typeof claim(processes.memory(p), status, 4) === "number") return EFAULT;
    const found = processes.reap(processes.pid[p]!, pid);
    if (found === 0) return ECHILD;
    if (found === EAGAIN) {
      if ((options & WNOHANG) !== 0) return 0;
      kernel.sleep(p, Wait.Child);
      return EIOCBQUEUED;
    }
    const child = found as { readonly pid: number; readonly status: number };
    if (status !== 0) putInt32(processes.memory(p), status, child.status);
    return child.pid;
  }

  function nanosleep(p: number): number {
    if (processes.progress[p] === 0) {
      const ns = timespecAt(processes.memory(p), arg(p, 0));
      if (isErr(ns)) return ns;
      processes.progress[p] = 1;
      processes.wakeAt[p] = kernel.now() + ns;
    }
    if (kernel.now() >= processes.wakeAt[p]!) return 0;
    kernel.sleep(p, Wait.Timer, processes.wakeAt[p]);
    return EIOCBQUEUED;
  }

  function clockGettime(p: number): number {
    const since = CLOCKS.get(arg(p, 0));
    return since === undefined ? EINVAL : putTimespec(processes.memory(p), arg(p, 1), kernel.now(), since);
  }

  function setpriority(p: number): number {
    const [which, who, nice] = [arg(p, 0), arg(p, 1), arg(p, 2)];
    if (which !== PRIO_PROCESS) return EINVAL;
    const row = who === 0 ? p : processes.rowOf(who);
    if (row === 0) return ESRCH;
    setNice(row, Math.max(-20, Math.min(19, nice)));
    return 0;
  }

  return [
    [Nr.exit, exit],
    [Nr.exit_group, exit],
    [Nr.clone, clone],
    [Nr.wait4, wait4],
    [Nr.getpid, (p) => processes.pid[p]!],
    [Nr.getppid, (p) => processes.parent[p]!],
    [Nr.nanosleep, nanosleep],
    [Nr.clock_gettime, clockGettime],
    [
      Nr.sched_yield,
      (p) => {
        yieldCpu(p);
        return 0;
      },
    ],
    [Nr.setpriority, setpriority],
  ];
}

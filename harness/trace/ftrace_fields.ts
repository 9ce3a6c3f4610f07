/**
 * The fields of scheduler events in ftrace text, as three printers write them: the kernel (/sys/kernel/tracing/trace),
 * trace-cmd report with its scheduler plugin (`comm:pid [prio] S ==> ...`), and trace-cmd report -R (numeric states).
 * A command name may hold spaces, colons, `=` and brackets, and is at most COMM_MAX bytes in a kernel's trace: patterns
 * take the shortest name that lets the rest match, and bound it, so that no line takes quadratic time.
 *
 * - EVENTS[name](fields, sink)   parses one event's text; false when it is malformed
 */
import { TaskLeft } from "../../kernel/abi/events.ts";

/** What an event says, in words of the kernel's text; the reader turns it into records. */
export interface FieldSink {
  switched(prev: TaskField, left: number, next: TaskField): void;
  waking(task: TaskField, cpu: number): void;
  wakeup(task: TaskField, cpu: number): void;
  wakeupNew(task: TaskField, cpu: number): void;
  forked(parent: number, child: number, childName: string): void;
  executed(task: number, path: string): void;
  exited(task: TaskField): void;
  migrated(task: TaskField, from: number, to: number): void;
  marked(text: string): void;
  /** An event of ours that Linux has no name for, by its words. */
  own(type: number, a: number, b: number, c: number, d: number): void;
}

export interface TaskField {
  readonly name: string;
  readonly pid: number;
  readonly prio: number;
}

const NAME = String.raw`(.{0,64}?)`;
const SWITCH = new RegExp(
  `^prev_comm=${NAME} prev_pid=(\\d+) prev_prio=(-?\\d+) prev_state=(\\S+)(?: ==>)? next_comm=${NAME} next_pid=(\\d+) next_prio=(-?\\d+)`,
);
const SWITCH_REPORT = new RegExp(`^${NAME}:(\\d+) \\[(-?\\d+)\\] (\\S+) ==> ${NAME}:(\\d+) \\[(-?\\d+)\\]`);
const WAKE = new RegExp(`^comm=${NAME} pid=(\\d+) prio=(-?\\d+)(?: success=\\d+)? target_cpu=(\\d+)`);
const WAKE_REPORT = new RegExp(`^${NAME}:(\\d+) \\[(-?\\d+)\\](?: success=\\d+)? CPU:(\\d+)`);
const FORK = new RegExp(`^comm=${NAME} pid=(\\d+) child_comm=${NAME} child_pid=(\\d+)`);
const EXEC = /^filename=(.*) pid=(\d+) old_pid=(\d+)$/;
const EXIT = new RegExp(`^comm=${NAME} pid=(\\d+) prio=(-?\\d+)(?: |$)`);
const MIGRATE = new RegExp(`^comm=${NAME} pid=(\\d+) prio=(-?\\d+) orig_cpu=(\\d+) dest_cpu=(\\d+)`);

/** An event of kernel/abi/events.ts that Linux does not have, by number: other tools skip it. */
export const OWN_EVENT = "orrery_event";
const OWN = /^type=(\d{1,5}) a=(-?\d{1,10}) b=(-?\d{1,10}) c=(-?\d{1,10}) d=(-?\d{1,10})$/;

/** Letter of prev_state -> TaskLeft (include/trace/events/sched.h, __print_flags of sched_switch). */
export const LEFT_BY_LETTER: Readonly<Record<string, number>> = {
  R: TaskLeft.Runnable,
  S: TaskLeft.Sleeping,
  D: TaskLeft.Uninterruptible,
  T: TaskLeft.Stopped,
  t: TaskLeft.Traced,
  X: TaskLeft.Dead,
  Z: TaskLeft.Zombie,
  P: TaskLeft.Parked,
  I: TaskLeft.Idle,
};
/** The same as bit masks, lowest first, where the state is printed as a number; none set: runnable. */
const LETTER_BY_BIT: readonly string[] = ["S", "D", "T", "t", "X", "Z", "P", "I"];
const PREEMPTED_BIT = 0x100;

/** TaskLeft of a printed state; undefined when it is none. Of several flags (`D|S`) the first one counts. */
function leftOf(state: string): number | undefined {
  if (/^(0x[0-9a-f]+|\d+)$/i.test(state)) {
    const mask = Number(state);
    for (const [bit, letter] of LETTER_BY_BIT.entries()) if (mask & (1 << bit)) return LEFT_BY_LETTER[letter];
    return mask & PREEMPTED_BIT ? TaskLeft.Preempted : TaskLeft.Runnable;
  }
  if (!/^[A-Za-z|]+\+?$/.test(state)) return undefined;
  const left = LEFT_BY_LETTER[state[0]!];
  return left === TaskLeft.Runnable && state.endsWith("+") ? TaskLeft.Preempted : left;
}

const taskField = (name: string, pid: string, prio: string): TaskField => ({
  name,
  pid: Number(pid),
  prio: Number(prio),
});

type WakeVerb = "waking" | "wakeup" | "wakeupNew";
const wake =
  (verb: WakeVerb) =>
  (fields: string, sink: FieldSink): boolean => {
    const found = WAKE.exec(fields) ?? WAKE_REPORT.exec(fields);
    if (found === null) return false;
    const [, name, pid, prio, cpu] = found as unknown as [string, string, string, string, string];
    sink[verb](taskField(name, pid, prio), Number(cpu));
    return true;
  };

type Parse = (fields: string, sink: FieldSink) => boolean;

/** By the event's name in the text. An event that is not here is known to nobody and is counted as skipped. */
export const EVENTS: ReadonlyMap<string, Parse> = new Map<string, Parse>([
  [
    "sched_switch",
    (fields, sink) => {
      const found = SWITCH.exec(fields) ?? SWITCH_REPORT.exec(fields);
      if (found === null) return false;
      const [, name, pid, prio, state, nextName, nextPid, nextPrio] = found as unknown as string[];
      const left = leftOf(state!);
      if (left === undefined) return false;
      sink.switched(taskField(name!, pid!, prio!), left, taskField(nextName!, nextPid!, nextPrio!));
      return true;
    },
  ],
  ["sched_waking", wake("waking")],
  ["sched_wakeup", wake("wakeup")],
  ["sched_wakeup_new", wake("wakeupNew")],
  [
    "sched_process_fork",
    (fields, sink) => {
      const found = FORK.exec(fields);
      if (found === null) return false;
      sink.forked(Number(found[2]), Number(found[4]), found[3]!);
      return true;
    },
  ],
  [
    "sched_process_exec",
    (fields, sink) => {
      const found = EXEC.exec(fields);
      if (found === null) return false;
      sink.executed(Number(found[2]), found[1]!);
      return true;
    },
  ],
  [
    "sched_process_exit",
    (fields, sink) => {
      const found = EXIT.exec(fields);
      if (found === null) return false;
      sink.exited(taskField(found[1]!, found[2]!, found[3]!));
      return true;
    },
  ],
  [
    "sched_migrate_task",
    (fields, sink) => {
      const found = MIGRATE.exec(fields);
      if (found === null) return false;
      sink.migrated(taskField(found[1]!, found[2]!, found[3]!), Number(found[4]), Number(found[5]));
      return true;
    },
  ],
  [
    "tracing_mark_write",
    (fields, sink) => {
      sink.marked(fields);
      return true;
    },
  ],
  [
    OWN_EVENT,
    (fields, sink) => {
      const found = OWN.exec(fields);
      if (found === null) return false;
      const [type, a, b, c, d] = found.slice(1).map(Number) as [number, number, number, number, number];
      sink.own(type, a, b, c, d);
      return true;
    },
  ],
]);

/** trace-cmd prints a mark as `print: tracing_mark_write: text`. */
export const REPORT_MARK = /^(?:tracing_mark_write|tracing_mark_raw_write)?:? ?(.*)$/;

/**
 * Writes an EventLog as ftrace text, as /sys/kernel/tracing/trace prints it, so that Perfetto, trace-cmd style tools and
 * our own reader take it. Reading back gives the same log: read(write(log)) equals log where times are whole nanoseconds.
 *
 *            spin-97      [000] d..2.    14.466712: sched_switch: prev_comm=spin prev_pid=97 prev_prio=120 prev_state=R+ ==> ...
 *
 * - The task in front is the one on the CPU at that moment (of a mark: its writer). Idle is `<idle>-0` there and
 *   `swapper/N` in fields.
 * - Microseconds as the kernel has them; nanoseconds when some time of the log has a fraction of one.
 * - Priority 120 is nice 0. Flags tell the context of a waking, else they are what Linux has at that place.
 * - Events without a Linux name are `orrery_event` lines.
 *
 * - ftraceText(log)   the text in pieces, so that a large log needs no large string
 */
import { Ev, WakeContext } from "../../kernel/abi/events.ts";
import type { EventLog } from "../../kernel/worlds.ts";
import { LEFT_BY_LETTER, OWN_EVENT } from "./ftrace_fields.ts";
import { TaskLeft } from "../../kernel/abi/events.ts";
import { firstOnCpu } from "./walk.ts";

const PRIO_OF_NICE_0 = 120;
const LINES_A_PIECE = 1000;
const NAME_MAX = 64;

const HEAD = `#                                _-----=> irqs-off/BH-disabled
#                               / _----=> need-resched
#                              | / _---=> hardirq/softirq
#                              || / _--=> preempt-depth
#                              ||| / _-=> migrate-disable
#                              |||| /     delay
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
`;

const LETTERS: readonly string[] = Object.entries(LEFT_BY_LETTER).reduce<string[]>(
  (letters, [letter, left]) => {
    letters[left] = letter;
    return letters;
  },
  Array.from({ length: TaskLeft.Preempted + 1 }, () => "R+"),
);

const WAKING_FLAGS: Readonly<Record<number, string>> = {
  [WakeContext.Task]: "d..3.",
  [WakeContext.Timer]: "d.h3.",
  [WakeContext.Device]: "d.s3.",
};

const cpuText = (cpu: number): string => String(cpu).padStart(3, "0");

/** A name as it may stand in a line: without control characters. */
const lineName = (name: string): string => name.slice(0, NAME_MAX).replaceAll(/\p{Cc}/gu, "?");

export function* ftraceText(log: EventLog): Generator<string> {
  yield `# tracer: nop\n#\n# entries-in-buffer/entries-written: ${log.count}/${log.count}   #P:${log.cpus}\n#\n${HEAD}`;
  const current = firstOnCpu(log);
  const digits = hasNanoseconds(log) ? 9 : 6;
  const lines: string[] = [];
  for (let row = 0; row < log.count; row++) {
    const cpu = log.cpuAt(row);
    const [flags, event] = eventText(log, row);
    const type = log.typeAt(row);
    const pid = type === Ev.Mark ? log.bAt(row) : current[cpu]!;
    const comm = (pid === 0 ? "<idle>" : lineName(log.nameOf(pid))).padStart(16);
    const time = secondsText(log.timeAt(row), digits).padStart(12);
    lines.push(`${comm}-${String(pid).padEnd(7)} [${cpuText(cpu)}] ${flags} ${time}: ${event}\n`);
    if (type === Ev.SchedSwitch) current[cpu] = log.bAt(row);
    if (lines.length === LINES_A_PIECE) yield lines.splice(0).join("");
  }
  yield lines.join("");
}

function eventText(log: EventLog, row: number): readonly [flags: string, text: string] {
  const cpu = log.cpuAt(row);
  const a = log.aAt(row);
  const b = log.bAt(row);
  const c = log.cAt(row);
  const d = log.dAt(row);
  const name = (task: number): string => (task === 0 ? `swapper/${cpu}` : lineName(log.nameOf(task)));
  const task = `comm=${name(a)} pid=${a} prio=${PRIO_OF_NICE_0 + d}`;
  switch (log.typeAt(row)) {
    case Ev.SchedSwitch: {
      const prev = `prev_comm=${name(a)} prev_pid=${a} prev_prio=${PRIO_OF_NICE_0 + ((d << 16) >> 24)}`;
      const next = `next_comm=${name(b)} next_pid=${b} next_prio=${PRIO_OF_NICE_0 + ((d << 24) >> 24)}`;
      return ["d..2.", `sched_switch: ${prev} prev_state=${LETTERS[c] ?? "R"} ==> ${next}`];
    }
    case Ev.SchedWaking:
      return [WAKING_FLAGS[c] ?? "d..3.", `sched_waking: ${task} target_cpu=${cpuText(b)}`];
    case Ev.SchedWakeup:
      return ["d..4.", `sched_wakeup: ${task} target_cpu=${cpuText(b)}`];
    case Ev.SchedWakeupNew:
      return ["d..2.", `sched_wakeup_new: ${task} target_cpu=${cpuText(b)}`];
    case Ev.SchedFork:
      return [".....", `sched_process_fork: comm=${name(a)} pid=${a} child_comm=${name(b)} child_pid=${b}`];
    case Ev.SchedExec:
      return [".....", `sched_process_exec: filename=${name(a)} pid=${a} old_pid=${a}`];
    case Ev.SchedExit:
      return [".....", `sched_process_exit: ${task}`];
    case Ev.SchedMigrate:
      return ["d..3.", `sched_migrate_task: ${task} orig_cpu=${b} dest_cpu=${c}`];
    case Ev.Mark:
      return [".....", `tracing_mark_write: ${(log.marks[a] ?? `mark ${a}`).replaceAll(/\p{Cc}/gu, "?")}`];
    default:
      return [".....", `${OWN_EVENT}: type=${log.typeAt(row)} a=${a} b=${b} c=${c} d=${d}`];
  }
}

function hasNanoseconds(log: EventLog): boolean {
  for (let row = 0; row < log.count; row++) if (Math.floor(log.timeAt(row)) % 1000 !== 0) return true;
  return false;
}

function secondsText(ns: number, digits: number): string {
  const whole = Math.floor(ns / 1e9);
  const fraction = String(Math.floor(ns - whole * 1e9)).padStart(9, "0");
  return `${whole}.${fraction.slice(0, digits)}`;
}

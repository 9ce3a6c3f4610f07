/**
 * Anything at all into the reader of ftrace text: random bytes, random words of the format, and recordings with lines and
 * bytes changed. It takes the text or throws one UserError of one line, in bounded time; what it took it writes and reads
 * back as the same log.
 */
import { Ev, TaskLeft, WakeContext } from "../kernel/abi/events.ts";
import { EventLog } from "../kernel/worlds.ts";
import { nextBelow, prng } from "../kernel/lib/prng.ts";
import { FtraceParser, UserError, ftraceText } from "../harness/index.ts";
import type { FuzzResult, FuzzTarget } from "./target.ts";

const LINES_MAX = 40;
/** For at most 40 lines of a few hundred characters: a thousand times what they take. */
const CASE_MS_MAX = 2000;

/** Lines in every printer's style, some of them not quite right. */
const LINES: readonly string[] = [
  "# tracer: nop",
  "# entries-in-buffer/entries-written: 2509/2509   #P:2",
  "cpus=4",
  "CPU:1 [LOST 12 EVENTS]",
  "##### CPU 1 buffer started ####",
  "            init-1       [000] d.s3.    14.150808: sched_waking: comm=rcu_preempt pid=15 prio=120 target_cpu=000",
  "          <idle>-0       [001] d..2.    14.150890: sched_switch: prev_comm=swapper/1 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=a b:c next_pid=7 next_prio=98",
  "            a b:c-7     (      7) [001] ....    14.250890: sched_process_exit: comm=a b:c pid=7 prio=98 group_dead=true",
  "  bash-12  [003]  99.000001: sched_switch: bash:12 [120] S ==> swapper/3:0 [120]",
  "  bash-12  [003]  99.000002: sched_wakeup: kworker/3:1:30 [120] success=1 CPU:003",
  "  bash-12  [003] .... 99.000003: sched_process_fork: comm=bash pid=12 child_comm=bash child_pid=13",
  "  bash-13  [002] .... 99.000004: sched_process_exec: filename=/bin/a b pid=13 old_pid=13",
  "  x-9 [000] d..3.  99.1: sched_migrate_task: comm=x pid=9 prio=139 orig_cpu=0 dest_cpu=63",
  "  x-9 [000] .....  99.123456789: tracing_mark_write: spin start",
  "  x-9 [000] 99.2: print: tracing_mark_write: spin end",
  "  x-9 [000] ..... 100.000000: do_fork <-sys_fork",
  "  x-9 [000] ..... 101.000000: orrery_event: type=10 a=-5 b=0 c=2147483647 d=-2147483648",
  " => ret_from_fork",
];
const WORDS =
  "- : [ ] = ==> <- #P: 0 1 -1 7 63 64 120 139 140 4294967296 99999999999999999999 . 1.5 9007199.9 [000] [1 d..2. R+ Z prev_pid= comm= pid= prio= target_cpu= sched_switch: sched_waking: x-1 \r \t é \ud800 <...>".split(
    " ",
  );

type Parse = (text: string) => EventLog;

const parse: Parse = (text) => {
  const parser = new FtraceParser("fuzz");
  // In two pieces: a line may be cut anywhere.
  parser.push(text.slice(0, text.length >> 1));
  parser.push(text.slice(text.length >> 1));
  return parser.end().log;
};

/** A small log that breaks no rule, for texts that are nearly right. */
function smallLog(state: Int32Array): EventLog {
  const log = new EventLog(2);
  let time = nextBelow(state, 1_000_000) * 1000;
  for (let i = 1 + nextBelow(state, LINES_MAX); i > 0; i--) {
    time += nextBelow(state, 1_000_000);
    const task = 1 + nextBelow(state, 5);
    log.names.set(task, ["spin", "a b", "<...>", "kworker/0:1"][nextBelow(state, 4)]!);
    if (nextBelow(state, 2) === 0) log.append(time, Ev.SchedSwitch, nextBelow(state, 2), task, 0, TaskLeft.Sleeping, 0);
    else log.append(time, Ev.SchedWaking, nextBelow(state, 2), task, 1, WakeContext.Timer, -5);
  }
  return log;
}

function textOf(state: Int32Array): string {
  const kind = nextBelow(state, 4);
  const pick = <T>(from: readonly T[]): T => from[nextBelow(state, from.length)]!;
  if (kind === 0) {
    const bytes = Uint8Array.from({ length: nextBelow(state, 500) }, () => nextBelow(state, 256));
    return new TextDecoder().decode(bytes);
  }
  const count = 1 + nextBelow(state, LINES_MAX);
  if (kind === 1)
    return Array.from({ length: count * 4 }, () => pick(WORDS) + (nextBelow(state, 8) === 0 ? "\n" : " ")).join("");
  // In the order of their times, or nearly every text would end at the first line that goes back.
  const lines =
    kind === 2
      ? LINES.flatMap((line) => Array.from({ length: nextBelow(state, 3) }, () => line))
      : [...ftraceText(smallLog(state))].join("").split("\n");
  for (let change = nextBelow(state, 4); change > 0; change--) {
    const at = nextBelow(state, Math.max(lines.length, 1));
    const line = lines[at] ?? "";
    const cut = nextBelow(state, line.length + 1);
    const end = cut + nextBelow(state, 6);
    const what = nextBelow(state, 4);
    if (what === 0) lines[at] = line.slice(0, cut) + line.slice(end);
    else if (what === 1) lines[at] = line.slice(0, cut) + pick(WORDS) + line.slice(end);
    else if (what === 2) lines[at] = line.slice(0, cut) + " ".repeat(nextBelow(state, 20_000)) + line.slice(cut);
    else lines.splice(at, 1);
  }
  return lines.join("\n");
}

/** A name that looks like a field can be read in two ways, in the kernel's own text too. */
const isPlain = (log: EventLog): boolean => [...log.names.values()].every((name) => !/[=[\p{Cc}]/u.test(name));

function checkCase(seed: number, read: Parse): string | undefined {
  const text = textOf(prng(seed));
  const start = performance.now();
  try {
    const log = read(text);
    if (log.count === 0) return "an empty log was returned";
    const last = new Float64Array(log.cpus);
    for (let row = 0; row < log.count; row++) {
      const cpu = log.cpuAt(row);
      if (!(log.timeAt(row) >= last[cpu]!)) return `event ${row}: time falls on CPU ${cpu}`;
      last[cpu] = log.timeAt(row);
    }
    if (isPlain(log)) {
      const again = parse([...ftraceText(log)].join(""));
      if (Buffer.compare(again.bytes(), log.bytes()) !== 0) return "what was read is not what is read back";
    }
  } catch (error) {
    if (!(error instanceof UserError)) return `not a UserError: ${String(error)}`;
    if (!/^fuzz(:\d+)?: [^\n\r]+$/.test(error.message)) return `not one line with its place: ${error.message}`;
  }
  const ms = performance.now() - start;
  return ms > CASE_MS_MAX ? `took ${Math.round(ms)} ms for ${text.length} characters` : undefined;
}

function run(seed: number, runs: number, progress: (done: number) => void, read: Parse): FuzzResult {
  for (let k = 0; k < runs; k++) {
    const message = checkCase(seed + k, read);
    if (message !== undefined) return { runs: k + 1, failure: { seed: seed + k, message } };
    progress(k + 1);
  }
  return { runs };
}

export const target: FuzzTarget = {
  name: "ftrace",
  help: "any text into the reader of ftrace recordings",
  run: (seed, runs, progress) => run(seed, runs, progress, parse),
  /** A reader that mixes up the hard and the soft interrupt's letter. */
  canary: (seed) =>
    run(
      seed,
      500,
      () => {},
      (text) => {
        const log = parse(text);
        const mixed = new EventLog(log.cpus);
        for (let row = 0; row < log.count; row++)
          mixed.append(log.timeAt(row), log.typeAt(row), log.cpuAt(row), log.aAt(row), log.bAt(row), 7, log.dAt(row));
        return mixed;
      },
    ),
};

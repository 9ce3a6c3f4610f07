/**
 * Reads ftrace text, of a real kernel's or our own writing, plain or gzip, into an EventLog. Time is the text's own
 * (since boot); names of tasks are the last that an event gives; log.originNs is the first event's time.
 *
 *   comm-pid      (tgid)  [cpu] flags  seconds: event: fields          tgid and flags may be missing
 *            init-1       [000] d.s3.    14.150808: sched_waking: comm=rcu_preempt pid=15 prio=120 target_cpu=000
 *
 * Flags are irqs-off, need-resched, hardirq/softirq, preempt-depth, ...: the third says in what context the CPU was. A
 * waking in hard interrupt context (h, H, z, Z) is WakeContext.Timer, in soft interrupt context (s) WakeContext.Device:
 * the text does not tell a timer from a device, and the two letters survive a round trip.
 *
 * - readFtrace(path)          a file (or pipe), streamed
 * - FtraceParser              the same from pieces of text: push(text) ..., end()
 *
 * Every mistake in the input is a UserError of one line with file and line. Bounds: TRACE_LINE_MAX, TRACE_EVENTS_MAX.
 */
import { createReadStream } from "node:fs";
import { basename } from "node:path/posix";
import { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import { createGunzip } from "node:zlib";
import { Ev, WakeContext } from "../../kernel/abi/events.ts";
import { COMM_MAX, CPUS_MAX, TRACE_EVENTS_MAX, TRACE_LINE_MAX } from "../../kernel/abi/limits.ts";
import { EventLog } from "../../kernel/worlds.ts";
import { UserError } from "../cli/exit.ts";
import { EVENTS, REPORT_MARK } from "./ftrace_fields.ts";
import type { FieldSink, TaskField } from "./ftrace_fields.ts";

export interface Recording {
  readonly log: EventLog;
  readonly lines: number;
  /** Events of other kinds, which were not kept, by name. */
  readonly skipped: ReadonlyMap<string, number>;
  /** Events the kernel says it lost. */
  readonly lost: number;
}

const LINE =
  /^\s{0,64}(.{1,64}?)-(\d{1,10})\s{1,64}(?:\(\s{0,16}(?:\d{1,10}|-{1,10})\)\s{1,16})?\[(\d{1,6})\]\s{1,16}(?:([^\s\d][^\s]{2,7}|\.{3,8})\s{1,64})?(\d{1,9})\.(\d{1,9}):\s{1,64}([^\s:]{1,64}):\s{0,64}(.*)$/;
const LOST = /^CPU:(\d+) \[(?:LOST )?(\d+) EVENTS(?: DROPPED)?\]$/;
/** Lines of a trace that are no event: comments, trace-cmd's head, buffer notes, stacks. */
const NO_EVENT = /^\s*$|^#|^(?:version|cpus)\s*=|^CPU \d+ is empty|^\s*=> |^\s*<(?:user )?stack trace>/;
const NO_EVENT_CALL = /^\s*.{1,64}-\d+\s.*:\s+\S+ <-\S+$|^\s*.{1,64}-\d+\s.*<(?:user )?stack trace>$/;
const CPUS_IN_HEAD = /#P:(\d{1,6})\b|^cpus=(\d{1,6})$/;

const INT32_MAX = 2 ** 31 - 1;
/** Highest time kept exactly: 2^53 ns. */
const SECONDS_MAX = 9_007_199;
const PRIO_OF_NICE_0 = 120;

export class FtraceParser implements FieldSink {
  readonly #source: string;
  readonly #log: EventLog = new EventLog(1);
  readonly #skipped: Map<string, number> = new Map();
  readonly #lastNs: Float64Array = new Float64Array(CPUS_MAX);
  #rest = "";
  #line = 0;
  #lost = 0;
  #newestNs = 0;
  #unsorted = false;
  /** The line at hand: the words its event does not repeat. */
  #pid = 0;
  #cpu = 0;
  #ns = 0;
  #context: number = WakeContext.Task;

  /** `source` names the input in messages. */
  constructor(source: string) {
    this.#source = source;
  }

  push(text: string): void {
    if (text.includes("\0")) {
      this.#line += text.slice(0, text.indexOf("\0")).split("\n").length;
      this.#fail("binary data, not ftrace text (trace.dat becomes text by: trace-cmd report)");
    }
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop()!;
    for (const line of lines) this.#take(line);
    if (this.#rest.length > TRACE_LINE_MAX) this.#take(this.#rest);
  }

  end(): Recording {
    if (this.#rest !== "") this.#take(this.#rest);
    this.#rest = "";
    const log = this.#log;
    if (this.#line === 0) throw new UserError(`${this.#source}: the file is empty; ftrace text was expected`);
    if (log.count === 0)
      throw new UserError(
        `${this.#source}: no scheduler event in ${this.#line} lines; ftrace text with sched_switch was expected`,
      );
    if (this.#unsorted) log.sortByTime();
    log.originNs = log.timeAt(0);
    return { log, lines: this.#line, skipped: this.#skipped, lost: this.#lost };
  }

  /** Where the input is at fault, for errors that come from outside the text (a broken gzip). */
  get position(): string {
    return `${this.#source}:${this.#line + 1}`;
  }

  #fail(what: string): never {
    throw new UserError(`${this.#source}:${this.#line}: ${what}`);
  }

  #take(raw: string): void {
    this.#line++;
    if (raw.length > TRACE_LINE_MAX) this.#fail(`a line is longer than ${TRACE_LINE_MAX} characters; not ftrace text`);
    const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
    const found = LINE.exec(line);
    if (found === null) return this.#notAnEvent(line);
    const [, , pid, cpu, flags, seconds, fraction, event, fields] = found;
    const name = event === "print" ? "tracing_mark_write" : event!;
    const parse = EVENTS.get(name);
    if (parse === undefined) {
      this.#skipped.set(name, (this.#skipped.get(name) ?? 0) + 1);
      return;
    }
    this.#pid = this.#inRange("process id", Number(pid), INT32_MAX);
    this.#cpu = this.#inRange("CPU", Number(cpu), CPUS_MAX - 1);
    this.#ns = this.#inRange("time", Number(seconds), SECONDS_MAX) * 1e9 + Number(fraction!.padEnd(9, "0"));
    this.#context = contextOf(flags);
    if (this.#ns < this.#lastNs[this.#cpu]!)
      this.#fail(`time ${seconds}.${fraction} is before the event before it on CPU ${this.#cpu}`);
    const text = event === "print" ? REPORT_MARK.exec(fields!)![1]! : fields!;
    if (!parse(text, this)) this.#fail(`malformed ${name}: ${excerpt(fields!)}`);
  }

  #notAnEvent(line: string): void {
    const lost = LOST.exec(line);
    if (lost !== null) this.#lost += Number(lost[2]);
    else if (NO_EVENT.test(line)) {
      const cpus = CPUS_IN_HEAD.exec(line);
      if (cpus === null) return;
      const count = this.#inRange("number of CPUs", Number(cpus[1] ?? cpus[2]), CPUS_MAX);
      if (count > this.#log.cpus) this.#log.cpus = count;
    } else if (!NO_EVENT_CALL.test(line)) this.#fail(`not a line of ftrace text: ${excerpt(line)}`);
  }

  #inRange(what: string, value: number, max: number): number {
    if (value > max) this.#fail(`${what} ${value} is out of range (at most ${max})`);
    return value;
  }

  #emit(type: number, a: number, b: number, c: number, d: number): void {
    const log = this.#log;
    if (log.count >= TRACE_EVENTS_MAX) this.#fail(`more than ${TRACE_EVENTS_MAX} events; cut the recording into parts`);
    if (this.#ns < this.#newestNs) this.#unsorted = true;
    else this.#newestNs = this.#ns;
    this.#lastNs[this.#cpu] = this.#ns;
    log.append(this.#ns, type, this.#cpu, a, b, c, d);
  }

  /** Notes the task's name and returns its nice value (of a real-time task: below -20). */
  #seen({ name, pid, prio }: TaskField): number {
    this.#inRange("process id", pid, INT32_MAX);
    if (prio < -1 || prio > 139) this.#fail(`priority ${prio} is out of range (-1 to 139)`);
    if (pid !== 0 && this.#log.names.get(pid) !== name) this.#log.names.set(pid, name);
    return prio - PRIO_OF_NICE_0;
  }

  switched(prev: TaskField, left: number, next: TaskField): void {
    const nice = ((this.#seen(prev) & 0xff) << 8) | (this.#seen(next) & 0xff);
    this.#emit(Ev.SchedSwitch, prev.pid, next.pid, left, nice);
  }

  waking(task: TaskField, cpu: number): void {
    const nice = this.#seen(task);
    this.#emit(Ev.SchedWaking, task.pid, this.#inRange("target CPU", cpu, CPUS_MAX - 1), this.#context, nice);
  }

  wakeup(task: TaskField, cpu: number): void {
    const nice = this.#seen(task);
    this.#emit(Ev.SchedWakeup, task.pid, this.#inRange("target CPU", cpu, CPUS_MAX - 1), 0, nice);
  }

  wakeupNew(task: TaskField, cpu: number): void {
    const nice = this.#seen(task);
    this.#emit(Ev.SchedWakeupNew, task.pid, this.#inRange("target CPU", cpu, CPUS_MAX - 1), 0, nice);
  }

  forked(parent: number, child: number, childName: string): void {
    this.#inRange("process id", Math.max(parent, child), INT32_MAX);
    this.#log.names.set(child, childName);
    this.#emit(Ev.SchedFork, parent, child, 0, 0);
  }

  executed(task: number, path: string): void {
    this.#log.names.set(this.#inRange("process id", task, INT32_MAX), basename(path).slice(0, COMM_MAX));
    this.#emit(Ev.SchedExec, task, 0, 0, 0);
  }

  exited(task: TaskField): void {
    this.#emit(Ev.SchedExit, task.pid, 0, 0, this.#seen(task));
  }

  migrated(task: TaskField, from: number, to: number): void {
    const nice = this.#seen(task);
    this.#inRange("CPU", Math.max(from, to), CPUS_MAX - 1);
    this.#emit(Ev.SchedMigrate, task.pid, from, to, nice);
  }

  marked(text: string): void {
    const line = text.trimEnd().replaceAll(/\p{Cc}/gu, "?");
    this.#emit(Ev.Mark, this.#log.markNumber(line), this.#pid, 0, 0);
  }

  own(type: number, a: number, b: number, c: number, d: number): void {
    this.#emit(this.#inRange("event type", type, 0xffff), a | 0, b | 0, c | 0, d | 0);
  }
}

function contextOf(flags: string | undefined): number {
  const letter = flags?.[2] ?? ".";
  if (letter === "s") return WakeContext.Device;
  return letter === "." ? WakeContext.Task : WakeContext.Timer;
}

/** At most one printable line of someone else's bytes. */
function excerpt(text: string): string {
  const plain = text.replaceAll(/[^\x20-\x7e]/g, "?");
  return plain.length > 60 ? `"${plain.slice(0, 60)}..."` : `"${plain}"`;
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "no such file",
  EACCES: "permission denied",
  EISDIR: "is a directory; a file of ftrace text was expected",
  Z_BUF_ERROR: "the gzip data ends too early (a truncated file)",
  Z_DATA_ERROR: "the gzip data is damaged",
};

export async function readFtrace(path: string): Promise<Recording> {
  const parser = new FtraceParser(path);
  const decoder = new StringDecoder("utf8");
  try {
    for await (const bytes of plainBytes(createReadStream(path))) parser.push(decoder.write(bytes));
    parser.push(decoder.end());
    return parser.end();
  } catch (error) {
    if (error instanceof UserError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const inside = code?.startsWith("Z_") === true;
    throw new UserError(`${inside ? parser.position : path}: ${REASONS[code ?? ""] ?? `cannot be read: ${message}`}`);
  }
}

/** The bytes of a stream, unpacked when they begin with gzip's magic number (RFC 1952, 2.3.1). */
async function* plainBytes(stream: Readable): AsyncGenerator<Buffer> {
  const chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  const first = await chunks.next();
  if (first.done === true) return;
  async function* all(): AsyncGenerator<Buffer> {
    yield first.value as Buffer;
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) yield next.value;
  }
  const zipped = first.value[0] === 0x1f && first.value[1] === 0x8b;
  if (!zipped) {
    yield* all();
    return;
  }
  const source = Readable.from(all());
  const unzip = createGunzip();
  source.once("error", (error) => unzip.destroy(error));
  yield* source.pipe(unzip) as AsyncIterable<Buffer>;
}

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { fc, test } from "@fast-check/vitest";
import { afterAll, expect, it } from "vitest";
import { UserError } from "../../../harness/cli/exit.ts";
import { FtraceParser, readFtrace } from "../../../harness/trace/ftrace_read.ts";
import type { Recording } from "../../../harness/trace/ftrace_read.ts";
import { Ev, TaskLeft, WakeContext } from "../../../kernel/abi/events.ts";
import type { EventLog } from "../../../kernel/worlds.ts";

const GOLDEN = "test/fixtures/sched-golden/linux61-cfs-c1.ftrace.gz";
const folder = mkdtempSync(join(tmpdir(), "orrery-ftrace-"));
afterAll(() => rmSync(folder, { recursive: true }));

function read(text: string, pieces = 1): Recording {
  const parser = new FtraceParser("f");
  const size = Math.ceil(text.length / pieces);
  for (let at = 0; at < text.length; at += size) parser.push(text.slice(at, at + size));
  return parser.end();
}

const eventsOf = (log: EventLog): number[][] =>
  Array.from({ length: log.count }, (_, row) => [
    log.timeAt(row),
    log.typeAt(row),
    log.cpuAt(row),
    log.aAt(row),
    log.bAt(row),
    log.cAt(row),
    log.dAt(row),
  ]);

/** nice of the previous << 8 | nice of the next */
const nices = (prev: number, next: number): number => ((prev & 0xff) << 8) | (next & 0xff);

it("reads the kernel's own text, with and without the flags column and the thread group", () => {
  const fields = "sched_waking: comm=rcu_preempt pid=15 prio=120 target_cpu=003";
  for (const [head, context] of [
    ["            init-1       [001] d.s3.    14.150808: ", WakeContext.Device],
    ["            init-1       [001] dNh3     14.150808: ", WakeContext.Timer],
    ["            init-1       [001] d.H3.    14.150808: ", WakeContext.Timer],
    ["            init-1       [001] d..3.    14.150808: ", WakeContext.Task],
    ["            init-1       [001] .....    14.150808: ", WakeContext.Task],
    ["            init-1       [001]    14.150808: ", WakeContext.Task],
    ["            init-1       (      1) [001] d..3.    14.150808: ", WakeContext.Task],
    ["            init-1       (-------) [001] d..3.    14.150808: ", WakeContext.Task],
    ["          <...>-1       [001] d..3.    14.150808: ", WakeContext.Task],
  ] as const) {
    const { log } = read(head + fields);
    expect(eventsOf(log), head).toEqual([[14_150_808_000, Ev.SchedWaking, 1, 15, 3, context, 0]]);
    expect(log.names).toEqual(new Map([[15, "rcu_preempt"]]));
  }
});

it("reads what trace-cmd report prints, plain and raw", () => {
  const { log } = read(
    [
      "cpus=4",
      "CPU 0 is empty",
      "  a b-12  [001]  99.000001: sched_waking:         kworker/1:1:30 [100] success=1 CPU:001",
      "  a b-12  [001]  99.000002: sched_switch:         a b:12 [125] S ==> kworker/1:1:30 [100]",
      "  kworker/1:1-30  [001]  99.000003: sched_switch: prev_comm=kworker/1:1 prev_pid=30 prev_prio=100 prev_state=128 next_comm=a b next_pid=12 next_prio=125",
      "  a b-12  [001]  99.000004: sched_switch: prev_comm=a b prev_pid=12 prev_prio=125 prev_state=0x100 next_comm=swapper/1 next_pid=0 next_prio=120",
      "  a b-12  [001]  99.000005: print:                tracing_mark_write: spin start",
    ].join("\n"),
  );
  expect(log.cpus).toBe(4);
  expect(log.marks).toEqual(["spin start"]);
  expect([...log.names]).toEqual([
    [30, "kworker/1:1"],
    [12, "a b"],
  ]);
  expect(eventsOf(log).map(([, type, , ...words]) => [type, ...words])).toEqual([
    [Ev.SchedWaking, 30, 1, WakeContext.Task, -20],
    [Ev.SchedSwitch, 12, 30, TaskLeft.Sleeping, nices(5, -20)],
    [Ev.SchedSwitch, 30, 12, TaskLeft.Idle, nices(-20, 5)],
    [Ev.SchedSwitch, 12, 0, TaskLeft.Preempted, nices(5, 0)],
    [Ev.Mark, 0, 12, 0, 0],
  ]);
});

const line = (text: string): string => `     x-7     [000] d..2.     1.000000: ${text}`;

it("keeps every scheduler event, and the state a task is left in", () => {
  const states = ["R", "R+", "S", "D", "X", "I", "T", "t", "Z", "P", "D|S"];
  const { log } = read(
    [
      line("sched_process_fork: comm=x pid=7 child_comm=x child_pid=8"),
      line("sched_wakeup_new: comm=x pid=8 prio=139 target_cpu=001"),
      line("sched_wakeup: comm=y pid=9 prio=0 target_cpu=001"),
      line("sched_migrate_task: comm=x pid=8 prio=139 orig_cpu=1 dest_cpu=0"),
      line("sched_process_exec: filename=/usr/bin/a long program name pid=7 old_pid=7"),
      line("sched_process_exit: comm=x pid=8 prio=139 group_dead=true"),
      ...states.map((state) =>
        line(
          `sched_switch: prev_comm= pid=1 prev_pid=7 prev_prio=120 prev_state=${state} ==> next_comm=a: b next_pid=9 next_prio=-1`,
        ),
      ),
    ].join("\n"),
  );
  expect(eventsOf(log).map(([, type, , ...words]) => [type, ...words])).toEqual([
    [Ev.SchedFork, 7, 8, 0, 0],
    [Ev.SchedWakeupNew, 8, 1, 0, 19],
    [Ev.SchedWakeup, 9, 1, 0, -120],
    [Ev.SchedMigrate, 8, 1, 0, 19],
    [Ev.SchedExec, 7, 0, 0, 0],
    [Ev.SchedExit, 8, 0, 0, 19],
    ...[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 3].map((left) => [Ev.SchedSwitch, 7, 9, left, nices(0, -121)]),
  ]);
  expect([...log.names]).toEqual([
    [8, "x"],
    [9, "a: b"],
    [7, " pid=1"],
  ]);
});

it("skips and counts what is no scheduler event", () => {
  const { log, skipped, lost, lines } = read(
    [
      "# tracer: nop",
      "##### CPU 1 buffer started ####",
      "CPU:1 [LOST 123 EVENTS]",
      "CPU:0 [7 EVENTS DROPPED]",
      "  x-7 [000] d..2.  1.000000: sched_stat_runtime: comm=x pid=7 runtime=12 [ns] vruntime=3 [ns]",
      "  x-7 [000] d.h2.  1.000001: irq_handler_entry: irq=1 name=i8042",
      "  x-7 [000] d.h2.  1.000002: irq_handler_exit: irq=1 ret=handled",
      "  x-7 [000] .....  1.000003: do_fork <-sys_fork",
      "  x-7 [000] .....  1.000004: <stack trace>",
      " => ret_from_fork",
      "",
      "  x-7 [000] .....  1.000005: sched_process_exit: comm=x pid=7 prio=120",
    ].join("\r\n"),
  );
  expect(log.count).toBe(1);
  expect(lost).toBe(130);
  expect(lines).toBe(12);
  expect(skipped).toEqual(
    new Map([
      ["sched_stat_runtime", 1],
      ["irq_handler_entry", 1],
      ["irq_handler_exit", 1],
    ]),
  );
});

it("orders events of several CPUs by time", () => {
  const { log } = read(
    [
      "  x-7 [001] .....  2.000000: sched_process_exit: comm=x pid=7 prio=120",
      "  y-8 [000] .....  1.000000: sched_process_exit: comm=y pid=8 prio=120",
    ].join("\n"),
  );
  expect(eventsOf(log).map(([time, , , task]) => [time, task])).toEqual([
    [1e9, 8],
    [2e9, 7],
  ]);
  expect(log.spanOf()).toEqual({ fromNs: 1e9, toNs: 2e9 });
});

const golden = gunzipSync(readFileSync(GOLDEN)).toString();
test.prop([fc.integer({ min: 1, max: 5000 })], { seed: 1, numRuns: 10 })(
  "pieces of a text make the same log",
  (pieces) => {
    expect(read(golden, pieces).log.bytes()).toEqual(read(golden).log.bytes());
  },
);

for (const [name, text, message] of [
  ["an empty file", "", /^f: the file is empty/],
  ["only comments", "# tracer: nop\n#\n", /^f: no scheduler event in 2 lines/],
  ["another format", "{\n", /^f:1: not a line of ftrace text: "\{"$/],
  ["binary data", "# tracer\n\u007fELF\0\0", /^f:2: binary data/],
  [
    "a malformed field",
    "# x\n  x-7 [000] ..... 1.0: sched_waking: comm=x pid=seven prio=120 target_cpu=0",
    /^f:2: malformed sched_waking: "comm=x pid=seven/,
  ],
  [
    "an unknown state",
    "  x-7 [000] ..... 1.0: sched_switch: prev_comm=x prev_pid=7 prev_prio=120 prev_state=Q ==> next_comm=y next_pid=8 next_prio=120",
    /^f:1: malformed sched_switch/,
  ],
  ["a cut line", golden.slice(0, 1400), /^f:19: malformed sched_switch/],
  [
    "a priority out of range",
    "  x-7 [000] ..... 1.0: sched_process_exit: comm=x pid=7 prio=140",
    /^f:1: priority 140 is out of range/,
  ],
  [
    "a CPU out of range",
    "  x-7 [064] ..... 1.0: sched_process_exit: comm=x pid=7 prio=120",
    /^f:1: CPU 64 is out of range \(at most 63\)/,
  ],
  [
    "a process id out of range",
    "  x-7 [000] ..... 1.0: sched_process_exit: comm=x pid=2147483648 prio=120",
    /^f:1: process id 2147483648 is out of range/,
  ],
  [
    "a time out of range",
    "  x-7 [000] ..... 9007200.0: sched_process_exit: comm=x pid=7 prio=120",
    /^f:1: time 9007200 is out of range/,
  ],
  ["too many CPUs", "#P:65", /^f:1: number of CPUs 65/],
  [
    "a time that goes back",
    "  x-7 [000] ..... 1.2: sched_process_exit: comm=x pid=7 prio=120\n  x-7 [000] ..... 1.1: sched_process_exit: comm=x pid=7 prio=120",
    /^f:2: time 1\.1 is before/,
  ],
  ["a line without end", "x".repeat(20_000), /^f:1: a line is longer than 16384/],
] as const)
  it(`refuses ${name} in one line with its number`, () => {
    expect(() => read(text)).toThrow(UserError);
    expect(() => read(text)).toThrow(message);
  });

it("reads a file by its content, not its name", async () => {
  const plain = join(folder, "plain.gz");
  const packed = join(folder, "packed.txt");
  writeFileSync(plain, golden);
  writeFileSync(packed, Buffer.concat([gzipSync(golden.slice(0, 40_000)), gzipSync(golden.slice(40_000))]));
  const { log } = await readFtrace(GOLDEN);
  expect((await readFtrace(plain)).log.bytes()).toEqual(log.bytes());
  expect((await readFtrace(packed)).log.bytes()).toEqual(log.bytes());
});

/** A file of these bytes; its path. */
function fileOf(name: string, bytes: Uint8Array): string {
  writeFileSync(join(folder, name), bytes);
  return join(folder, name);
}

it("refuses what cannot be read in one line", async () => {
  const packed = readFileSync(GOLDEN);
  const damaged = Buffer.from(packed);
  damaged[5000]! ^= 0xff;
  for (const [path, message] of [
    [join(folder, "none"), /: no such file$/],
    [folder, /: is a directory/],
    [fileOf("empty", Buffer.alloc(0)), /: the file is empty/],
    [fileOf("cut", packed.subarray(0, 5000)), /cut:\d+: the gzip data ends too early/],
    [fileOf("head", packed.subarray(0, 2)), /head:1: the gzip data ends too early/],
    [fileOf("damaged", damaged), /damaged:\d+: /],
  ] as const) {
    const error = await readFtrace(path).catch((thrown: unknown) => thrown);
    expect(error, path).toBeInstanceOf(UserError);
    expect((error as UserError).message).toMatch(message);
    expect((error as UserError).message).not.toContain("\n");
  }
});

test.prop([fc.nat({ max: 15_525 }), fc.integer({ min: 1, max: 255 }), fc.boolean()], { seed: 1, numRuns: 40 })(
  "a gzip file with any one byte changed, or cut anywhere, is read or refused in one line",
  async (at, change, cut) => {
    const packed = Buffer.from(readFileSync(GOLDEN));
    packed[at]! ^= change;
    const path = join(folder, "changed");
    writeFileSync(path, cut ? packed.subarray(0, at) : packed);
    try {
      const { log } = await readFtrace(path);
      expect(log.count).toBeGreaterThan(0);
    } catch (error) {
      expect(error).toBeInstanceOf(UserError);
      expect((error as UserError).message).not.toContain("\n");
    }
  },
);

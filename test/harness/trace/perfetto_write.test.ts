import { fc, test } from "@fast-check/vitest";
import { expect, it } from "vitest";
import { readFtrace } from "../../../harness/trace/ftrace_read.ts";
import { perfettoTrace } from "../../../harness/trace/perfetto_write.ts";
import { firstOnCpu } from "../../../harness/trace/walk.ts";
import { Ev, TaskLeft } from "../../../kernel/abi/events.ts";
import type { EventLog } from "../../../kernel/worlds.ts";
import { decode, messagesOf, numberOf, textOf } from "./proto_decode.ts";
import type { Message } from "./proto_decode.ts";
import { randomLog } from "./random_log.ts";

const written = (log: EventLog): Uint8Array => Buffer.concat([...perfettoTrace(log)]);

/** Numbers of TracePacket and FtraceEvent as the protos have them, written down a second time. */
const FTRACE_EVENTS = 1;
const STATES = new Map<number, string>([
  [0, "R"],
  [0x100, "R+"],
  [1, "S"],
  [2, "D"],
  [4, "T"],
  [8, "t"],
  [0x10, "X"],
  [0x20, "Z"],
  [0x40, "P"],
  [0x80, "I"],
]);
const LEFT = ["R", "R+", "S", "D", "X", "I", "T", "t", "Z", "P"];

/** One line an event, as a trace viewer would list them: by CPU, in order. */
function seenIn(trace: Message): string[][] {
  const cpus: string[][] = [];
  for (const packet of messagesOf(trace, 1))
    for (const bundle of messagesOf(packet, FTRACE_EVENTS)) {
      const lines = (cpus[numberOf(bundle, 1)] ??= []);
      for (const event of messagesOf(bundle, 2))
        lines.push(`${numberOf(event, 1)} ${numberOf(event, 2)} ${eventText(event)}`);
    }
  return cpus;
}

function eventText(event: Message): string {
  for (const [field, name] of [
    [20, "waking"],
    [17, "wakeup"],
    [114, "new"],
  ] as const)
    for (const wake of messagesOf(event, field))
      return `${name} ${textOf(wake, 1)} ${numberOf(wake, 2)} ${numberOf(wake, 3)} -> ${numberOf(wake, 5)}`;
  for (const to of messagesOf(event, 4)) {
    const prev = `${textOf(to, 1)} ${numberOf(to, 2)} ${numberOf(to, 3)} ${STATES.get(numberOf(to, 4))}`;
    return `switch ${prev} -> ${textOf(to, 5)} ${numberOf(to, 6)} ${numberOf(to, 7)}`;
  }
  for (const fork of messagesOf(event, 239)) return `fork ${numberOf(fork, 2)} ${numberOf(fork, 4)} ${textOf(fork, 3)}`;
  for (const exec of messagesOf(event, 237)) return `exec ${numberOf(exec, 2)} ${textOf(exec, 1)}`;
  for (const exit of messagesOf(event, 238)) return `exit ${numberOf(exit, 2)} ${numberOf(exit, 4)}`;
  for (const move of messagesOf(event, 491))
    return `migrate ${numberOf(move, 2)} ${numberOf(move, 4)} ${numberOf(move, 5)}`;
  for (const print of messagesOf(event, 3)) return `print ${textOf(print, 2)}`;
  throw new Error(`an event of fields ${[...event.keys()].join(" ")}`);
}

/** The same from the log itself. */
function expectedOf(log: EventLog): string[][] {
  const cpus: string[][] = [];
  const current = firstOnCpu(log);
  for (let row = 0; row < log.count; row++) {
    const cpu = log.cpuAt(row);
    const [a, b, c, d] = [log.aAt(row), log.bAt(row), log.cAt(row), log.dAt(row)];
    const name = (task: number): string => (task === 0 ? `swapper/${cpu}` : log.nameOf(task));
    const wake = `${name(a)} ${a} ${120 + d} -> ${b}`;
    const texts: Partial<Record<number, string>> = {
      [Ev.SchedSwitch]: `switch ${name(a)} ${a} ${120 + ((d << 16) >> 24)} ${LEFT[c]} -> ${name(b)} ${b} ${120 + ((d << 24) >> 24)}`,
      [Ev.SchedWaking]: `waking ${wake}`,
      [Ev.SchedWakeup]: `wakeup ${wake}`,
      [Ev.SchedWakeupNew]: `new ${wake}`,
      [Ev.SchedFork]: `fork ${a} ${b} ${name(b)}`,
      [Ev.SchedExec]: `exec ${a} ${name(a)}`,
      [Ev.SchedExit]: `exit ${a} ${120 + d}`,
      [Ev.SchedMigrate]: `migrate ${a} ${b} ${c}`,
      [Ev.Mark]: `print I|${b}|${log.marks[a]}\n`,
    };
    const text = texts[log.typeAt(row)];
    const pid = log.typeAt(row) === Ev.Mark ? b : current[cpu];
    if (text !== undefined) (cpus[cpu] ??= []).push(`${log.timeAt(row)} ${pid} ${text}`);
    if (log.typeAt(row) === Ev.SchedSwitch) current[cpu] = b;
  }
  return cpus;
}

test.prop([fc.nat(), fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 1500 })], { seed: 1, numRuns: 40 })(
  "every event that Linux has is in the trace, on its CPU, in order, with all its fields",
  (seed, cpus, steps) => {
    const log = randomLog(seed, steps, cpus, 1);
    expect(seenIn(decode(written(log)))).toEqual(expectedOf(log));
  },
);

it("a recording becomes a trace with its clock, release, processes and threads", async () => {
  const { log } = await readFtrace("test/fixtures/sched-traces/linux61-server.ftrace.gz");
  const trace = decode(written(log));
  expect([...trace.keys()]).toEqual([1]);
  const packets = messagesOf(trace, 1);
  for (const packet of packets) expect(numberOf(packet, 10)).toBe(1);
  const clocks = packets.flatMap((packet) => messagesOf(packet, 6)).flatMap((snapshot) => messagesOf(snapshot, 1));
  expect(clocks.map((clock) => [numberOf(clock, 1), numberOf(clock, 2)])).toEqual([
    [3, log.timeAt(0)],
    [6, log.timeAt(0)],
  ]);
  const [info] = packets.flatMap((packet) => messagesOf(packet, 45));
  expect(textOf(messagesOf(info!, 1)[0]!, 3)).toMatch(/^6\.1\./);
  const [tree] = packets.flatMap((packet) => messagesOf(packet, 2));
  const processes = new Map(messagesOf(tree!, 1).map((process) => [numberOf(process, 1), textOf(process, 3)]));
  const threads = new Map(messagesOf(tree!, 2).map((thread) => [numberOf(thread, 1), textOf(thread, 2)]));
  expect(processes).toEqual(log.names);
  expect(threads).toEqual(log.names);
  const parents = new Map(messagesOf(tree!, 1).map((process) => [numberOf(process, 1), numberOf(process, 2)]));
  expect(parents.get(107)).toBe(106);
  expect(seenIn(trace)).toEqual(expectedOf(log));
});

it("a changed byte of an event is seen by the comparison (canary)", () => {
  const log = randomLog(2, 300, 2, 1);
  const bytes = written(log);
  const changed = randomLog(2, 300, 2, 1);
  changed.append(changed.timeAt(changed.count - 1), Ev.SchedSwitch, 0, 1, 2, TaskLeft.Runnable, 0);
  expect(seenIn(decode(bytes))).not.toEqual(expectedOf(changed));
  expect(() => decode(bytes.subarray(0, -1))).toThrow();
});

import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { fc, test } from "@fast-check/vitest";
import { expect, it } from "vitest";
import { FtraceParser, readFtrace } from "../../../harness/trace/ftrace_read.ts";
import { ftraceText } from "../../../harness/trace/ftrace_write.ts";
import type { EventLog } from "../../../kernel/worlds.ts";
import { randomLog } from "./random_log.ts";

const written = (log: EventLog): string => [...ftraceText(log)].join("");

function readBack(text: string): EventLog {
  const parser = new FtraceParser("text");
  parser.push(text);
  return parser.end().log;
}

/** Names that occur in some event; a task that no event names has none to read back. */
function expectSame(read: EventLog, log: EventLog): void {
  expect(read.count).toBe(log.count);
  expect(Buffer.from(read.bytes()).equals(Buffer.from(log.bytes()))).toBe(true);
  expect(read.marks).toEqual(log.marks);
  expect(read.cpus).toBe(log.cpus);
  for (const [task, name] of read.names) expect(name).toBe(log.nameOf(task));
}

test.prop([fc.nat(), fc.integer({ min: 1, max: 4 }), fc.constantFrom(1, 1000)], { seed: 1, numRuns: 150 })(
  "read(write(log)) equals log",
  (seed, cpus, unitNs) => {
    const log = randomLog(seed, 300, cpus, unitNs);
    const read = readBack(written(log));
    expectSame(read, log);
    expect(written(read)).toBe(written(log));
  },
);

it("a difference in any word is seen by the comparison (canary)", () => {
  const log = randomLog(1, 300, 2);
  const changed = written(log).replace("prev_state=S", "prev_state=D");
  expect(() => expectSame(readBack(changed), log)).toThrow();
});

for (const path of ["sched-golden/linux61-cfs-c5", "sched-golden/linux612-eevdf-c1", "sched-traces/linux61-server"])
  it(`a recording (${path}) survives write and read`, async () => {
    const { log } = await readFtrace(`test/fixtures/${path}.ftrace.gz`);
    expectSame(readBack(written(log)), log);
  });

/** Lines without what the log does not keep: flags, and the name a task had at that moment. */
const plain = (text: string): string[] =>
  text
    .split("\n")
    .filter((line) => !line.startsWith("#"))
    .map((line) =>
      line
        .replace(/^(.{31}).{5}/, "$1.....")
        .replace(/^ *\S+-/, "")
        .replaceAll(/comm=\S+/g, "comm"),
    );

it("a line is written as the kernel writes it, but for the flags and a name that changed later", () => {
  const original = gunzipSync(readFileSync("test/fixtures/sched-golden/linux61-cfs-c1.ftrace.gz")).toString();
  const ours = written(readBack(original));
  expect(plain(ours)).toEqual(plain(original));
  expect(ours.split("\n").slice(0, 12)).toEqual(original.split("\n").slice(0, 12));
});

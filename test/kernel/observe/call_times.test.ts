/** How long calls take: several workers' tables together, and what a task has read and written. */
import { expect, it } from "vitest";
import { SysEv } from "../../../kernel/abi/events.ts";
import { Nr } from "../../../kernel/abi/syscall_nr.ts";
import { Arena } from "../../../kernel/lib/arena.ts";
import { callRows, CallTimes } from "../../../kernel/observe/call_times.ts";
import { IoCounts } from "../../../kernel/observe/io_counts.ts";
import { TaskNames } from "../../../kernel/task_names.ts";

it("callRows() are of all tables, also of a call that began here and ended there", () => {
  let now = 0;
  const entered = new Float64Array(4);
  const shared = new SharedArrayBuffer(2 * CallTimes.bytes);
  const tables = [0, 1].map((at) => new CallTimes(() => now, entered, shared, at * CallTimes.bytes));
  tables[0]!.take(SysEv.Enter, 0, 1, Nr.read);
  now = 2_000;
  tables[1]!.take(SysEv.Exit, 0, 1, Nr.read);
  tables[0]!.take(SysEv.Enter, 0, 2, Nr.read);
  now = 6_000;
  tables[0]!.take(SysEv.Exit, 0, 2, Nr.read);
  // A number that no table has.
  tables[0]!.take(SysEv.Exit, 0, 2, 1_000);
  const [row, ...others] = callRows(tables);
  expect(others).toEqual([]);
  expect(row).toMatchObject({ name: "read", count: 2, meanUs: 3, maxUs: 4 });
  expect(row!.p99Us).toBeCloseTo(4, 0);
});

it("IoCounts counts bytes that moved, and calls also when they failed", () => {
  const io = new IoCounts(new Arena(new SharedArrayBuffer(IoCounts.bytes(3))), 3);
  io.count(1, Nr.read, 100);
  io.count(1, Nr.pread64, -5);
  io.count(1, Nr.pwrite64, 7);
  io.count(1, Nr.fsync, 9);
  expect([io.rchar[1], io.syscr[1], io.wchar[1], io.syscw[1]]).toEqual([100, 2, 7, 1]);
  io.clear(1);
  expect([io.rchar[1], io.syscr[1], io.wchar[1], io.syscw[1]]).toEqual([0, 0, 0, 0]);
});

it("TaskNames keeps COMM_MAX letters, and nothing of a longer name before", () => {
  const buffer = new SharedArrayBuffer(TaskNames.bytes(3));
  const [mine, yours] = [new TaskNames(new Arena(buffer), 3), new TaskNames(new Arena(buffer), 3)];
  mine.set(1, "a-name-of-more-than-15");
  expect(yours.get(1)).toBe("a-name-of-more-");
  mine.set(1, "short");
  expect([yours.get(0), yours.get(1), yours.get(2)]).toEqual(["", "short", ""]);
});

import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { walkCall } from "../../../harness/machine/walk_call.ts";

const told = await walkCall();
const at = (text: string): number => told.findIndex((line) => line.includes(text));

it("docs/flows.md shows the walk as the code prints it", () => {
  const flows = readFileSync("docs/flows.md", "utf8");
  const shown = /<!-- output: orrery walk call -->\n```\n([^]*?)\n```/.exec(flows)?.[1];
  expect(told.join("\n")).toBe(shown);
});

it("one trace follows a write and its fsync from the system call to the device and back, in order", () => {
  const way = [
    "sys_enter            pwrite64",
    "filemap_add",
    "ext4_da_reserve",
    "sys_exit             pwrite64 = 6000",
    "sys_enter            fsync",
    "ext4_allocate_blocks",
    "block_rq_insert",
    "sleep                editor waits for writeback",
    "block_rq_issue",
    "irq_handler_entry",
    "block_rq_complete",
    "sleep                editor waits for commit",
    "jbd2_commit          transaction 2: Log",
    "FLUSH for the kernel",
    "jbd2_commit          transaction 2: Record",
    "WRITE FUA",
    "jbd2_commit          transaction 2: Idle",
    "sys_exit             fsync = 0",
  ].map(at);
  expect(way.every((line) => line >= 0)).toBe(true);
  expect(way).toEqual([...way].sort((a, b) => a - b));
});

it("times never go back by more than a handler, and each line has its CPU and task", () => {
  const times = told.map((line) => Number(/^ *([\d.]+) us {2}cpu[01] \S+ /.exec(line)![1]));
  for (let n = 1; n < times.length; n++) expect(times[n]!).toBeGreaterThan(times[n - 1]! - 20);
});

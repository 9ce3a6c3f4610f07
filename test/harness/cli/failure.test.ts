import { describe, expect, it } from "vitest";
import { EXIT, UserError } from "../../../harness/cli/exit.ts";
import { failureOf } from "../../../harness/cli/failure.ts";
import { commandLine } from "../../../harness/cli/invocation.ts";
import { KernelPanic } from "../../../kernel/lib/assert.ts";

const AGAIN = "seed 7; repeat with: orrery sched run --seed 7";

describe("failureOf() makes one line and a documented code of", () => {
  it("a user's mistake", () => {
    expect(failureOf(new UserError("no such file\nx"), AGAIN)).toEqual({ code: 2, line: "orrery: no such file x" });
    expect(failureOf(new UserError("no qemu", EXIT.tool), AGAIN).code).toBe(4);
  });
  it("a panic, here or in a worker, with seed and command", () => {
    const line = `panic: dsq: lost a task: 12; ${AGAIN}`;
    expect(failureOf(new KernelPanic("dsq: lost a task: 12"), AGAIN)).toEqual({ code: 3, line });
    const cloned = Object.assign(new Error("dsq: lost a task: 12"), { name: "KernelPanic" });
    expect(failureOf(cloned, AGAIN)).toEqual({ code: 3, line });
  });
  it("a refusal of the operating system, which names the file", () => {
    const error = Object.assign(new Error("ENOENT: no such file or directory, open 'x.gz'"), {
      code: "ENOENT",
      syscall: "open",
      path: "x.gz",
    });
    expect(failureOf(error, AGAIN)).toEqual({ code: 2, line: "orrery: cannot open x.gz: no such file or directory" });
  });
  it("a closed pipe: nothing", () => {
    expect(failureOf(Object.assign(new Error("write EPIPE"), { code: "EPIPE" }), AGAIN)).toEqual({ code: 0, line: "" });
  });
  it("a defect of ours, with its place and no stack", () => {
    const stack =
      "TypeError: x is not a function\n    at pick (file:///home/a/orrery/sched/core.ts:12:3)\n    at node:internal/x:1:2";
    const { code, line } = failureOf(Object.assign(new TypeError("x is not a function"), { stack }), AGAIN);
    expect(code).toBe(3);
    expect(line).toBe(`orrery: internal error: x is not a function (at orrery/sched/core.ts:12:3); ${AGAIN}`);
    expect(failureOf("text", AGAIN).line).toBe("orrery: internal error: text");
  });
});

it("commandLine() can be pasted into a shell, and holds the seed", () => {
  const words = ["sched", "fair", "0:0:0 5:0:0", "--policy", "./it's.ts"];
  expect(commandLine(words, 3)).toBe(`orrery sched fair '0:0:0 5:0:0' --policy './it'\\''s.ts' --seed 3`);
  expect(commandLine(["fuzz", "--seed", "4"], 4)).toBe("orrery fuzz --seed 4");
  expect(commandLine(["fuzz", "--seed=4"], 4)).toBe("orrery fuzz --seed=4");
});

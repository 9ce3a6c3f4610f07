import { expect, it } from "vitest";
import { durationText, progressLine } from "../../../harness/cli/progress.ts";

const screen = (isTTY: boolean): { isTTY: boolean; columns: number; text: string; write: (part: string) => void } => ({
  isTTY,
  columns: 40,
  text: "",
  write(part) {
    this.text += part;
  },
});

it("writes nothing where nobody watches", () => {
  const pipe = screen(false);
  const line = progressLine("fuzz", pipe);
  line.count(1, 2);
  line.end();
  expect(pipe.text).toBe("");
});

it("redraws at most ten times a second, within the width, and wipes itself", () => {
  const terminal = screen(true);
  let nowMs = 0;
  const line = progressLine("fuzz", terminal, () => nowMs);
  for (; nowMs < 1000; nowMs += 10) line.count(nowMs / 10 + 1, 1000);
  expect(terminal.text.split("\r")).toHaveLength(11);
  expect(terminal.text).toContain("fuzz: 91 of 1000 (9 %, 9 s left)");
  nowMs += 1000;
  line.update("x".repeat(500));
  for (const drawn of terminal.text.split("\r\u001b[2K")) expect(drawn.length).toBeLessThan(40);
  line.end();
  expect(terminal.text.endsWith("\r\u001b[2K")).toBe(true);
});

it("durationText() reads as a person says it", () => {
  expect([0, 950, 61_000, 7_260_000].map(durationText)).toEqual(["1 s", "1 s", "1 min 1 s", "2 h 1 min"]);
});

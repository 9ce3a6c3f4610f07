import { describe, expect, it } from "vitest";
import { emit, honestJson, textTable } from "../../../harness/cli/output.ts";
import type { Format, Result } from "../../../harness/cli/output.ts";

const result: Result = {
  document: { schema: 1, tasks: [{ share: 0.75348 }] },
  rows: [
    { task: "a|b", share: 0.753_48, slices: 12 },
    { task: 'he said "1,2"', share: null, wakes: 3 },
  ],
  title: "two tasks",
  notes: ["one note"],
};

function printed(format: Format): string {
  let text = "";
  emit(format, result, (part) => (text += part));
  return text;
}

describe("emit()", () => {
  it("json is one document", () => {
    expect(JSON.parse(printed("json"))).toEqual({ schema: 1, tasks: [{ share: 0.75348 }] });
  });
  it("jsonl is a row a line, whole numbers and fractions exact", () => {
    expect(
      printed("jsonl")
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual(result.rows);
  });
  it("csv quotes what must be quoted and leaves what is not there empty", () => {
    expect(printed("csv")).toBe('task,share,slices,wakes\r\na|b,0.75348,12,\r\n"he said ""1,2""",,,3\r\n');
  });
  it("md escapes the bar and frames with title and notes", () => {
    expect(printed("md")).toBe(
      'two tasks\n\n| task | share | slices | wakes |\n|---|---|---|---|\n| a\\|b | 0.7535 | 12 | - |\n| he said "1,2" | - | - | 3 |\n\none note\n',
    );
  });
  it("table aligns numbers to the right", () => {
    expect(printed("table").split("\n").slice(2, 6)).toEqual([
      "task            share  slices  wakes",
      "-------------  ------  ------  -----",
      "a|b            0.7535      12      -",
      'he said "1,2"       -       -      3',
    ]);
    expect(textTable([])).toBe("nothing\n");
  });
  it("parquet is refused in one line", () => {
    expect(() => printed("parquet")).toThrow("--format parquet is not written yet: use csv or jsonl");
  });
});

it("no format lets NaN or infinity through", () => {
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, 5n]) expect(() => honestJson({ a: [value] })).toThrow();
  const rows = [{ a: Number.NaN }];
  expect(() => emit("csv", { document: { schema: 1 }, rows }, () => {})).toThrow("NaN");
  expect(() => emit("jsonl", { document: { schema: 1 }, rows }, () => {})).toThrow("NaN");
  expect(honestJson({ a: -0, b: null })).toBe('{"a":0,"b":null}');
});

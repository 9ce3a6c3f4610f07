import { describe, expect, it } from "vitest";
import { UserError } from "../../../../harness/cli/exit.ts";
import { dataBytes } from "../../../../harness/ext4/script/op.ts";
import type { Op } from "../../../../harness/ext4/script/op.ts";
import { parseScript } from "../../../../harness/ext4/script/parse.ts";

const one = (line: string): Op => parseScript(line, "s")[0]!;
const bytes = (line: string): Uint8Array => dataBytes(one(line).data!);
const mistake = (line: string): string => {
  try {
    parseScript(`mkdir /a\n${line}`, "s");
  } catch (error) {
    if (error instanceof UserError) return error.message;
    throw error;
  }
  return "none";
};

it("words, comments, blanks, and the sign of what may fail", () => {
  const ops = parseScript("# a comment\r\n\n  mkdir /a   # another\n-unlink /a#b\n\tsync\n", "s");
  expect(ops.map(({ name, line, mayFail, path }) => [name, line, mayFail, path])).toEqual([
    ["mkdir", 3, false, "/a"],
    ["unlink", 4, true, "/a#b"],
    ["sync", 5, false, ""],
  ]);
});

describe("data", () => {
  it.each([
    ["write /f abc", "abc"],
    ['write /f ""', ""],
    ['write /f "a b\\n\\t\\\\\\"\\x41"', 'a b\n\t\\"A'],
    ["write /f 0x4142", "AB"],
    ['write /f "0x4142"', "0x4142"],
    ['write /f "5:3"', "5:3"],
  ])("%s", (line, text) => {
    expect(Buffer.from(dataBytes(one(line).data!)).toString()).toBe(text);
  });

  it("a pattern is the same for the same seed, and a longer one goes on", () => {
    expect(bytes("write /f 7:2K").length).toBe(2048);
    expect(bytes("write /f 7:100")).toEqual(bytes("write /f 7:2K").subarray(0, 100));
    expect(bytes("write /f 8:100")).not.toEqual(bytes("write /f 7:100"));
  });

  it("bytes above 0x7f: \\xHH is one, text is UTF-8", () => {
    expect([...dataBytes(one('write /f "\\xff"').data!)]).toEqual([255]);
    expect([...dataBytes(one("write /f é").data!)]).toEqual([0xc3, 0xa9]);
  });
});

it.each([
  ["crate /f", 's:2: "crate" is no operation; did you mean creat?'],
  ["creat", "s:2: creat has no path; usage: creat PATH [MODE]"],
  ["creat /f 999", 's:2: the mode "999" is no octal number up to 7777'],
  ["creat /f 644 x", 's:2: creat has a word too many: "x"; usage: creat PATH [MODE]'],
  ["pwrite /f -1 x", 's:2: the offset "-1" is no whole number up to 17592186044416, with K, M or G if need be'],
  ["pwrite /f 1e3 x", 's:2: the offset "1e3" is no whole number up to 17592186044416, with K, M or G if need be'],
  ["write /f 1:300M", 's:2: the length "300M" is no whole number up to 268435456, with K, M or G if need be'],
  ["write /f 0x123", 's:2: "0x123" is no hexadecimal data: pairs of digits after 0x'],
  ['write /f "abc', "s:2: a quoted word has no end"],
  ['write /f "abc"d', "s:2: a blank has to follow a quoted word"],
  ['write /f "\\q"', 's:2: "\\q" is no escape: \\n \\t \\\\ \\" \\xHH are'],
  ["open 1h /f r", 's:2: "1h" is no name of a handle: a letter, then letters and digits'],
  ["open h /f rx", 's:2: "rx" is unknown: r, w, rw, creat, excl, trunc, append, direct, sync, dsync are known'],
  ["fallocate /f 0 1 keep,hole", 's:2: "hole" is unknown: keep, punch, zero are known'],
  ["setxattr /f a b", 's:2: the attribute "a" has no prefix, as in user.name'],
  ['unlink ""', "s:2: the path is empty"],
  ['unlink "a\\x00b"', "s:2: the path holds a NUL"],
  [`unlink ${"a".repeat(5000)}`, "s:2: the path is longer than 4095 bytes"],
])("%s is one line with its place", (line, message) => {
  expect(mistake(line)).toBe(message);
});

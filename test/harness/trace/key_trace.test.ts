import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { readKeyTrace } from "../../../harness/trace/key_trace.ts";
import { scratch } from "../orrery.ts";

function file(content: string | Uint8Array): string {
  const path = join(scratch(), "trace");
  writeFileSync(path, content);
  return path;
}

it.each([
  ["key", "x\ny\nx\n", [0, 1, 0]],
  ["key size", "x 10\ny 20\r\nx 10\n", [0, 1, 0]],
  ["start count ignored number", "100 3 0 1\n101 1 0 2\n", [0, 1, 2, 1]],
  ["csv, column obj_id", "time,obj_id,size\n1,a,5\n2,b,5\n3,a,5\n", [0, 1, 0]],
  ["csv, column key", "key\na\nb\na\n", [0, 1, 0]],
  ["key,size", "a,5\nb,6\na,5\n", [0, 1, 0]],
  ["time,key,size", "1,a,5\n2,b,6\n3,a,5\n", [0, 1, 0]],
  ["twitter", "0,aa,2,30,1,get,0\n0,bb,2,30,1,set,60\n1,aa,2,30,1,get,0\n", [0, 1, 0]],
  // 4 KiB pages: bytes 4096..12287 are pages 1 and 2; 512 bytes at 8192 are page 2; another disk has its own.
  ["msr-cambridge", "1,usr,0,Read,4096,8192,9\n2,usr,0,Write,8192,512,9\n3,usr,1,Read,8192,512,9\n", [0, 1, 1, 2]],
] as const)("readKeyTrace() reads the form %s", async (format, text, requests) => {
  const plain = await readKeyTrace(file(text), 1e6);
  expect(plain.format).toBe(format);
  expect([...plain.requests]).toEqual([...requests]);
  expect(plain.keys).toBe(Math.max(...requests) + 1);
  expect((await readKeyTrace(file(gzipSync(text)), 1e6)).requests).toEqual(plain.requests);
});

it("readKeyTrace() grows over its first buffer and stops at the most it may read", async () => {
  const text = Array.from({ length: 200_000 }, (_, at) => `${at % 1000}\n`).join("");
  const all = await readKeyTrace(file(text), 1e9);
  expect([all.requests.length, all.keys, all.requests[199_999]]).toEqual([200_000, 1000, 999]);
  expect((await readKeyTrace(file(text), 150_001)).requests.length).toBe(150_001);
  expect((await readKeyTrace(file("7 900 0 1\n"), 10)).requests.length).toBe(10);
});

it.each([
  ["x 1\ny\n", 'line 2: not of the form "key size" of the first line, 1 columns, not 2: "y"'],
  ["x 1\ny b\n", 'line 2: not of the form "key size" of the first line, column 2 is no whole number'],
  ["# head\n\n1,2,3,4\n", "line 3: cannot tell which column is the key"],
  ["key,x\n,2\n", 'line 2: not of the form "csv, column key" of the first line, the key is empty'],
  ["1,usr,0,Read,0,512,9\n1,usr,0,Trim,0,512,9\n", "the type is trim, not Read or Write"],
  ["0 99999999 0 1\n", "a request of 99999999 pages"],
  ["a\0b\n", "line 1: this is no text trace"],
  ["x".repeat(70_000), "line 1: this is no text trace"],
  ["", "holds no requests"],
  ["# only words\n", "holds no requests"],
])("readKeyTrace() refuses %j and says where", async (text, message) => {
  await expect(readKeyTrace(file(text), 1e6)).rejects.toThrow(message);
});

it("readKeyTrace() refuses a damaged gzip file", async () => {
  const packed = gzipSync("x\n".repeat(1000));
  await expect(readKeyTrace(file(packed.subarray(0, packed.length - 9)), 1e6)).rejects.toThrow(/cannot read .*trace: /);
});

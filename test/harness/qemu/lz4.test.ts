import { expect, it } from "vitest";
import { LZ4_LEGACY_MAGIC, unlz4 } from "../../../harness/qemu/lz4.ts";

function frame(...blocks: readonly (readonly number[])[]): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32LE(LZ4_LEGACY_MAGIC, 0);
  const parts = blocks.flatMap((block) => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(block.length, 0);
    return [length, Buffer.from(block)];
  });
  return Buffer.concat([head, ...parts]);
}

it("unpacks literals, matches that overlap themselves, and long lengths", () => {
  expect(unlz4(frame([0x30, 97, 98, 99]))?.toString()).toBe("abc");
  // "ab", then 8 bytes from 2 back, then nothing but literals.
  expect(unlz4(frame([0x24, 97, 98, 2, 0, 0x10, 99]))?.toString()).toBe("ababababababc".slice(0, 10) + "c");
  // A match of 15 + 255 + 5 + 4 bytes.
  expect(unlz4(frame([0x1f, 120, 1, 0, 255, 5, 0x10, 121]))?.toString()).toBe(`${"x".repeat(280)}y`);
});

it("joins blocks and ends at what is no block", () => {
  expect(unlz4(Buffer.concat([frame([0x10, 97], [0x10, 98]), Buffer.from([0, 0, 0, 9])]))?.toString()).toBe("ab");
});

it.each([
  ["another magic", Buffer.alloc(16)],
  ["literals beyond the end", frame([0xf0, 255, 255])],
  ["a match before the start", frame([0x14, 97, 9, 0, 0x10, 98])],
])("refuses %s", (_what, bytes) => {
  expect(unlz4(bytes)).toBeUndefined();
});

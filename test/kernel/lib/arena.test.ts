import { fc, test } from "@fast-check/vitest";
import { expect, it } from "vitest";
import { Arena } from "../../../kernel/lib/arena.ts";

const LINE = 64;
const request = fc.record({ kind: fc.constantFrom("i32", "f64", "u8"), length: fc.nat({ max: 50 }) } as const);

test.prop([fc.array(request, { maxLength: 20 })], { seed: 1 })(
  "arrays start on cache lines, do not overlap, and are the same memory in a second arena that asks alike",
  (requests) => {
    const buffer = new SharedArrayBuffer(1 << 15);
    const take = (arena: Arena) => requests.map(({ kind, length }) => arena[kind](length));
    const first = new Arena(buffer);
    const arrays = take(first);
    let end = 0;
    for (const [index, array] of arrays.entries()) {
      expect(array.byteOffset % LINE).toBe(0);
      expect(array.byteOffset).toBeGreaterThanOrEqual(end);
      expect(array.length).toBe(requests[index]!.length);
      end = array.byteOffset + array.byteLength;
      array.fill(index + 1);
    }
    expect(first.usedBytes).toBeGreaterThanOrEqual(end);
    for (const [index, array] of take(new Arena(buffer)).entries())
      expect([...array].every((one) => one === index + 1)).toBe(true);
  },
);

it("panics when the memory is too small", () => {
  const arena = new Arena(new SharedArrayBuffer(128));
  arena.i32(16);
  arena.u8(1);
  expect(() => arena.u8(1)).toThrow(/too small for its tables/);
});

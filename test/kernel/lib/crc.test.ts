import { fc, test } from "@fast-check/vitest";
import { expect, it } from "vitest";
import { crc16 } from "../../../kernel/lib/crc16.ts";
import { crc32c, crc32cHalf, crc32cWord, crc32cZeroes, zeroesTable } from "../../../kernel/lib/crc32c.ts";

const SEED = 20_261_121;
const REFLECTED = { crc32c: 0x82f63b78, crc16: 0xa001 };

/** Bit by bit, as the definition has it. */
function slowCrc(polynomial: number, seed: number, bytes: readonly number[]): number {
  let crc = seed >>> 0;
  for (const byte of bytes) {
    crc = (crc ^ byte) >>> 0;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1 ? (crc >>> 1) ^ polynomial : crc >>> 1) >>> 0;
  }
  return crc;
}

const words = fc.integer({ min: 0, max: 0xffffffff });
const data = fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 70 });

it("crc32c() of the digits is the check value of CRC-32C, crc16() that of CRC-16/ARC", () => {
  const digits = new TextEncoder().encode("123456789");
  expect(~crc32c(0xffffffff, digits, 0, 9) >>> 0).toBe(0xe3069283);
  expect(crc16(0, digits, 0, 9)).toBe(0xbb3d);
});

test.prop([words, data, data, data], { seed: SEED })(
  "crc32c() and crc16() are the definition, from any place in an array and in pieces",
  (seed, before, a, b) => {
    const bytes = Uint8Array.from([...before, ...a, ...b]);
    const whole = slowCrc(REFLECTED.crc32c, seed, [...a, ...b]);
    expect(crc32c(seed, bytes, before.length, a.length + b.length)).toBe(whole);
    const first = crc32c(seed, bytes, before.length, a.length);
    expect(crc32c(first, bytes, before.length + a.length, b.length)).toBe(whole);
    expect(crc16(seed, bytes, before.length, a.length)).toBe(slowCrc(REFLECTED.crc16, seed & 0xffff, a));
  },
);

test.prop([words, fc.uint8Array({ minLength: 250, maxLength: 1100, size: "max" }), fc.nat(9), fc.nat(9)], {
  seed: SEED,
})("crc32c() of a block is the definition, wherever the block lies in memory", (seed, block, before, at) => {
  const bytes = new Uint8Array(new SharedArrayBuffer(before + at + block.length + 5), before);
  bytes.set(block, at);
  expect(crc32c(seed, bytes, at, block.length)).toBe(slowCrc(REFLECTED.crc32c, seed, [...block]));
});

test.prop([words, words, fc.integer({ min: 0, max: 300 }), data], { seed: SEED })(
  "crc32cWord(), crc32cHalf() and crc32cZeroes() are short ways to the same",
  (seed, word, zeroes, block) => {
    const le = [word & 255, (word >>> 8) & 255, (word >>> 16) & 255, word >>> 24];
    expect(crc32cWord(seed, word)).toBe(slowCrc(REFLECTED.crc32c, seed, le));
    expect(crc32cHalf(seed, word)).toBe(slowCrc(REFLECTED.crc32c, seed, le.slice(0, 2)));
    const table = zeroesTable(zeroes);
    expect(crc32cZeroes(seed, table)).toBe(
      slowCrc(
        REFLECTED.crc32c,
        seed,
        Array.from({ length: zeroes }, () => 0),
      ),
    );
    const bytes = Uint8Array.from(block);
    const own = crc32c(0, bytes, 0, bytes.length);
    const moved = (crc32cZeroes(seed, zeroesTable(block.length)) ^ own) >>> 0;
    expect(moved).toBe(slowCrc(REFLECTED.crc32c, seed, block));
  },
);

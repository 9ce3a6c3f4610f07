/** Claims on a task's memory: what lies within it and what does not, at every edge. */
import { fc, test } from "@fast-check/vitest";
import { describe, expect, it } from "vitest";
import { EFAULT, EINVAL, ENAMETOOLONG, ERANGE } from "../../kernel/abi/errno.ts";
import { USER_BYTES } from "../../kernel/abi/program.ts";
import { PATH_MAX } from "../../kernel/abi/stat.ts";
import { newStat } from "../../kernel/fs/vfs/state.ts";
import {
  claim,
  pathAt,
  putInt32,
  putStat,
  putStatfs,
  putTimespec,
  timespecAt,
  xattrNameAt,
} from "../../kernel/uaccess.ts";

const SEED = 20_261_128;
const fresh = (): Uint8Array => new Uint8Array(USER_BYTES);
const number = fc.oneof(
  fc.integer({ min: -10, max: USER_BYTES + 10 }),
  fc.constantFrom(-1, 0, 1, 2 ** 31, 2 ** 32, 2 ** 53, -(2 ** 53), 2 ** 63, 0.5, Infinity, -Infinity, NaN),
);

test.prop([number, number], { seed: SEED, numRuns: 2000 })(
  "claim() gives exactly the bytes that lie within, and EFAULT for the rest",
  (addr, bytes) => {
    const memory = fresh();
    const found = claim(memory, addr, bytes);
    const isWithin = Number.isInteger(addr) && addr > 0 && bytes >= 0 && addr + bytes <= USER_BYTES;
    if (!isWithin) expect(found).toBe(EFAULT);
    else expect([(found as Uint8Array).byteOffset, (found as Uint8Array).length]).toEqual([addr, Math.trunc(bytes)]);
  },
);

describe("pathAt()", () => {
  it("ends at the NUL", () => {
    const memory = fresh();
    memory.set([0x2f, 0x61, 0, 0x62], 100);
    expect(pathAt(memory, 100)).toEqual(new Uint8Array([0x2f, 0x61]));
    expect(pathAt(memory, 102)).toEqual(new Uint8Array(0));
  });

  it("is ENAMETOOLONG from PATH_MAX bytes on, its NUL among them", () => {
    const memory = fresh().fill(0x61, 1, 1 + PATH_MAX - 1);
    expect(pathAt(memory, 1)).toHaveLength(PATH_MAX - 1);
    memory[PATH_MAX] = 0x61;
    expect(pathAt(memory, 1)).toBe(ENAMETOOLONG);
  });

  it("is EFAULT when memory ends first, and at addresses that are none", () => {
    const memory = fresh().fill(0x61);
    expect(pathAt(memory, USER_BYTES - 10)).toBe(EFAULT);
    expect(pathAt(memory, 1)).toBe(ENAMETOOLONG);
    for (const addr of [0, -1, 0.5, USER_BYTES, 2 ** 53]) expect(pathAt(memory, addr)).toBe(EFAULT);
  });
});

it("xattrNameAt() is ERANGE for no name and for more than 255 bytes", () => {
  const memory = fresh().fill(0x61, 1, 256);
  expect(xattrNameAt(memory, 1)).toHaveLength(255);
  memory[256] = 0x61;
  expect(xattrNameAt(memory, 1)).toBe(ERANGE);
  expect(xattrNameAt(memory, 1000)).toBe(ERANGE);
  expect(xattrNameAt(memory, 0)).toBe(EFAULT);
});

it("timespecAt() reads what putTimespec() wrote, and refuses what is no time", () => {
  const memory = fresh();
  expect(putTimespec(memory, 16, 3_000_000_005)).toBe(0);
  expect(timespecAt(memory, 16)).toBe(3_000_000_005);
  expect(putTimespec(memory, 16, 7, 100)).toBe(0);
  expect(timespecAt(memory, 16)).toBe(100e9 + 7);
  const view = new DataView(memory.buffer);
  for (const [sec, nsec] of [
    [-1n, 0n],
    [0n, -1n],
    [0n, 1_000_000_000n],
  ] as const) {
    view.setBigInt64(16, sec, true);
    view.setBigInt64(24, nsec, true);
    expect(timespecAt(memory, 16)).toBe(EINVAL);
  }
  expect(timespecAt(memory, USER_BYTES - 15)).toBe(EFAULT);
  expect(putTimespec(memory, 0, 1)).toBe(EFAULT);
});

it("putInt32(), putStat() and putStatfs() write all or nothing", () => {
  const memory = fresh();
  const stat = {
    ...newStat(),
    dev: 3,
    ino: 12,
    mode: 0o100644,
    size: 2 ** 40,
    blockSize: 4096,
    mtimeSec: 5,
    mtimeNsec: 6,
  };
  const fs = { blockSize: 4096, blocks: 1, blocksFree: 2, blocksAvailable: 3, files: 4, filesFree: 5, nameMax: 255 };
  for (const [put, bytes] of [
    [(at: number) => putInt32(memory, at, 1, 2), 8],
    [(at: number) => putStat(memory, at, stat), 128],
    [(at: number) => putStatfs(memory, at, fs), 120],
  ] as const) {
    memory.fill(0);
    expect(put(USER_BYTES - bytes + 1)).toBe(EFAULT);
    expect(memory.every((byte) => byte === 0)).toBe(true);
    expect(put(USER_BYTES - bytes)).toBe(0);
    expect(memory.subarray(0, USER_BYTES - bytes).every((byte) => byte === 0)).toBe(true);
  }
  putStat(memory, 16, stat);
  const view = new DataView(memory.buffer, 16);
  // Offsets of include/uapi/asm-generic/stat.h.
  expect([view.getBigInt64(0, true), view.getBigInt64(8, true), view.getUint32(16, true)]).toEqual([3n, 12n, 0o100644]);
  expect([view.getBigInt64(48, true), view.getInt32(56, true), view.getBigInt64(88, true)]).toEqual([
    2n ** 40n,
    4096,
    5n,
  ]);
});

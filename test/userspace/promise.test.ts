/** Promises: what a file must hold, as lines, and what counts as broken. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkFile, readPromises } from "../../userspace/index.ts";
import { fillUnits, firstWrong, RECORD_BYTES, UNIT_BYTES } from "../../userspace/promise.ts";

const PATH = "/srv/0/1";
const UNITS = 4;

/** A file of which each unit is of the generation given. */
function fileOf(...generations: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(generations.length * UNIT_BYTES);
  for (const [unit, generation] of generations.entries())
    fillUnits(bytes, unit * UNIT_BYTES, PATH, unit * UNIT_BYTES, UNIT_BYTES, generation);
  return bytes;
}

const promised = (text: string) => readPromises(text).files.get(PATH)!;
const ALL = promised(`synced ${PATH} 3 ${UNITS * UNIT_BYTES}\n`);

describe("readPromises", () => {
  it("takes the newest generation of each part, whatever came first", () => {
    const { generations, bytes } = promised(
      `synced ${PATH} 2 1024\nsynced ${PATH} 5 512 512\nsynced ${PATH} 4 1024\nsynced ${PATH} 6 512 4096\n`,
    );
    expect(generations.slice(0, 2)).toEqual([4, 5]);
    expect([generations[2], generations[8], bytes]).toEqual([undefined, 6, 4608]);
  });

  it("forgets a file that was dropped, and expects it anew when it is synced again", () => {
    expect(readPromises(`synced ${PATH} 9 4096\ndropped ${PATH}\n`).files.size).toBe(0);
    expect(promised(`synced ${PATH} 9 4096\ndropped ${PATH}\nsynced ${PATH} 1 512\n`).generations).toEqual([1]);
  });

  it("passes over other lines, and over a last line that was cut", () => {
    const { files, wrong } = readPromises(`hello\n[    0.1] synced /a 1 512\nwrong /b 4096\nsynced /c 1 51`);
    expect([...files.keys()]).toEqual(["/a"]);
    expect(wrong).toEqual(["wrong /b 4096"]);
  });
});

describe("checkFile", () => {
  it("holds for the promised generation and for any later one, unit by unit, and for a longer file", () => {
    expect(checkFile(PATH, fileOf(3, 3, 3, 3), ALL)).toBeUndefined();
    expect(checkFile(PATH, fileOf(3, 8, 3, 4, 1), ALL)).toBeUndefined();
  });

  it("names a file that is missing, or too short", () => {
    expect(checkFile(PATH, undefined, ALL)).toMatch(/is missing/);
    expect(checkFile(PATH, fileOf(3, 3, 3), ALL)).toMatch(/has 12288 bytes; 16384/);
  });

  it("names a unit that is too old, or of another place or file", () => {
    expect(checkFile(PATH, fileOf(3, 2, 3, 3), ALL)).toMatch(/offset 4096 is of generation 2; 3/);
    const moved = fileOf(3, 3, 3, 3);
    moved.copyWithin(0, UNIT_BYTES, 2 * UNIT_BYTES);
    expect(checkFile(PATH, moved, ALL)).toMatch(/offset 0 holds nothing/);
    expect(checkFile("/srv/0/2", fileOf(3, 3, 3, 3), ALL)).toMatch(/offset 0 holds nothing/);
  });

  it("takes no mixture of old and new in a unit, unless the disk may tear one", () => {
    const torn = fileOf(3, 3, 3, 3);
    torn.set(fileOf(3, 3, 4, 3).subarray(2 * UNIT_BYTES, 2 * UNIT_BYTES + RECORD_BYTES), 2 * UNIT_BYTES);
    expect(checkFile(PATH, torn, ALL)).toMatch(/offset 8704 is of generation 3, the rest of its unit of 4/);
    expect(checkFile(PATH, torn, ALL, { mayTearUnits: true })).toBeUndefined();
  });

  it("says nothing of what was not promised", () => {
    const bytes = fileOf(3, 3, 3, 3).fill(0, UNIT_BYTES, 2 * UNIT_BYTES);
    const parts = promised(`synced ${PATH} 3 4096\nsynced ${PATH} 3 8192 8192\n`);
    expect(checkFile(PATH, bytes, parts)).toBeUndefined();
    expect(checkFile(PATH, bytes, ALL)).toMatch(/offset 4096 holds nothing/);
  });

  it("finds any one byte that is not as it was written", () => {
    const bytes = fileOf(3, 3, 3, 3);
    const last = bytes.length - 1;
    fc.assert(
      fc.property(fc.nat({ max: last }), fc.integer({ min: 1, max: 255 }), (at, change) => {
        bytes[at]! ^= change;
        expect(checkFile(PATH, bytes, ALL)).toBeDefined();
        expect(firstWrong(bytes, 0, PATH, 0, bytes.length)).toBe(at - (at % RECORD_BYTES));
        bytes[at]! ^= change;
      }),
    );
  });
});

it("a record is text that says whose it is", () => {
  const bytes = new Uint8Array(RECORD_BYTES);
  fillUnits(bytes, 0, PATH, 3 * RECORD_BYTES, RECORD_BYTES, 26);
  const text = new TextDecoder().decode(bytes);
  expect(text).toMatch(/^[0-9a-f]{8} 00000003 0000001a [0-9a-f]{8} [ -_]{472} {3}\n$/);
});

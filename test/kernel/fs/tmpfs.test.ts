/** tmpfs below the VFS: its tables, holes, limits, and that all of it is in its memory. The calls: test/contract/file_system.ts. */
import { fc, test } from "@fast-check/vitest";
import { expect, it } from "vitest";
import { EEXIST, EFBIG, ENODATA, ENOENT, ENOSPC, ENOTEMPTY, ENXIO, ERANGE } from "../../../kernel/abi/errno.ts";
import type { Nanos } from "../../../kernel/abi/units.ts";
import {
  EOF_COOKIE,
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  RENAME_EXCHANGE,
  RENAME_WHITEOUT,
} from "../../../kernel/fs/vfs/file_system.ts";
import { Tmpfs } from "../../../kernel/fs/tmpfs/tmpfs.ts";
import { type GrowingArena, growingArena, load, save } from "../../../kernel/lib/growing_arena.ts";

const SEED = 20_261_128;
const FILE = { mode: 0o100644, uid: 0, gid: 0 };
const DIR = { mode: 0o040755, uid: 0, gid: 0 };
const text = (s: string): Uint8Array => new TextEncoder().encode(s);
const numbered = (n: number): Uint8Array => text(`name ${(n * 7) % 299}`);

function made(pages: number, inodes: number): { readonly fs: Tmpfs; readonly memory: GrowingArena } {
  const memory = growingArena();
  const fs = new Tmpfs({ memory, pages, inodes, now: () => 0 as Nanos });
  fs.reset();
  return { fs, memory };
}

const step = fc.record({
  what: fc.integer({ min: 0, max: 11 }),
  dir: fc.nat(3),
  name: fc.nat(4),
  to: fc.nat(3),
  newName: fc.nat(4),
  at: fc.nat(9 * 4096),
});

/** Directories are the root and whatever directory has one of the first inode numbers; all of it by number, nothing by path. */
function play(fs: Tmpfs, op: typeof step extends fc.Arbitrary<infer T> ? T : never): number {
  const stat = { mode: 0, links: 0 } as Parameters<Tmpfs["getattr"]>[1];
  const dirOf = (n: number): number =>
    fs.getattr(n + 1, stat) === 0 && (stat.mode & 0o170000) === 0o040000 ? n + 1 : 1;
  const [dir, name, to, newName] = [dirOf(op.dir), text(`n${op.name}`), dirOf(op.to), text(`n${op.newName}`)];
  const ino = fs.lookup(dir, name);
  const isDir = ino > 0 && fs.getattr(ino, stat) === 0 && (stat.mode & 0o170000) === 0o040000;
  switch (op.what) {
    case 0:
      return fs.mkdir(dir, name, DIR);
    case 1:
      return isDir ? fs.rmdir(dir, name) : fs.unlink(dir, name);
    case 2:
    case 3: {
      const other = fs.lookup(to, newName);
      const otherDir = other > 0 && fs.getattr(other, stat) === 0 && (stat.mode & 0o170000) === 0o040000;
      // What the VFS checks: both of one type, neither above the other.
      if (ino <= 0 || ino === other || (other > 0 && otherDir !== isDir) || isDir) return 0;
      return fs.rename(dir, name, to, newName, op.what === 2 ? 0 : op.at % 2 === 0 ? RENAME_EXCHANGE : RENAME_WHITEOUT);
    }
    case 4:
      return ino > 0 && !isDir ? fs.link(ino, to, newName) : 0;
    case 5:
      return ino > 0 && !isDir ? fs.truncate(ino, op.at) : 0;
    case 6:
      return ino > 0 ? fs.setxattr(ino, `user.${op.newName}`, new Uint8Array(op.at % 5000), 0) : 0;
    case 7:
      return ino > 0 && !isDir ? fs.fallocate(ino, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, op.at, 5000) : 0;
    case 8:
    case 9:
      return ino > 0 && !isDir ? fs.write(ino, op.at, new Uint8Array(6000).fill(op.name), 0) : 0;
    default:
      return fs.create(dir, name, FILE);
  }
}

test.prop([fc.array(step, { maxLength: 60, size: "max" })], { seed: SEED, numRuns: 200 })(
  "the tables agree after each step, and what was saved goes on as what was not",
  (steps) => {
    const one = made(24, 12);
    const other = made(24, 12);
    for (const op of steps) {
      load(other.memory, save(one.memory));
      expect(play(other.fs, op)).toBe(play(one.fs, op));
      one.fs.check();
    }
    expect(save(other.memory)).toEqual(save(one.memory));
  },
);

it("write() stops where the pages end, and a hole takes none", () => {
  const { fs } = made(3, 8);
  const ino = fs.create(1, text("f"), FILE);
  expect(fs.write(ino, 10 * 4096 + 100, text("x"), 0)).toBe(1);
  expect(fs.write(ino, 4096, new Uint8Array(5 * 4096).fill(1), 0)).toBe(2 * 4096);
  expect(fs.write(ino, 20 * 4096, text("y"), 0)).toBe(ENOSPC);
  expect(fs.write(ino, 2 ** 43, text("y"), 0)).toBe(EFBIG);
  const into = new Uint8Array(8);
  expect([fs.read(ino, 10 * 4096 + 98, into), ...into.subarray(0, 3)]).toEqual([3, 0, 0, 0x78]);
  expect([fs.seek(ino, 0, false), fs.seek(ino, 4096, true), fs.seek(ino, 3 * 4096, false)]).toEqual([
    4096, 12_288, 40_960,
  ]);
  expect([fs.seek(ino, 10 * 4096, true), fs.seek(ino, 4097, false), fs.seek(ino, 2 ** 20, false)]).toEqual([
    10 * 4096 + 101,
    4097,
    ENXIO,
  ]);
  expect(fs.fallocate(ino, 0, 0, 4096)).toBe(ENOSPC);
  expect(fs.fallocate(ino, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, 4096, 4096)).toBe(0);
  expect(fs.fallocate(ino, 0, 0, 4096)).toBe(0);
  fs.check();
});

it("an inode without names lives until it is released; a full table of inodes is a full disk", () => {
  const { fs } = made(4, 3);
  const ino = fs.create(1, text("f"), FILE);
  expect(fs.create(1, text("g"), FILE)).toBeGreaterThan(0);
  expect(fs.create(1, text("h"), FILE)).toBe(ENOSPC);
  fs.hold(ino);
  expect(fs.unlink(1, text("f"))).toBe(0);
  expect(fs.write(ino, 0, text("still"), 0)).toBe(5);
  expect(fs.create(1, text("h"), FILE)).toBe(ENOSPC);
  fs.release(ino);
  expect(fs.create(1, text("h"), FILE)).toBe(ino);
  expect(fs.create(1, text("h"), FILE)).toBe(EEXIST);
  expect(fs.unlink(1, text("f"))).toBe(ENOENT);
  fs.check();
});

it("readdir() goes on behind the last entry told while others come and go", () => {
  const { fs } = made(4, 20);
  for (const name of ["a", "b", "c", "d"]) fs.create(1, text(name), FILE);
  const told: string[] = [];
  const take = (cookie: number, count: number): number =>
    fs.readdir(1, cookie, (name) => told.length < count && told.push(new TextDecoder().decode(name)) > 0);
  const cookie = take(0, 4);
  fs.unlink(1, text("c"));
  fs.unlink(1, text("a"));
  fs.create(1, text("e"), FILE);
  expect(take(cookie, 99)).toBe(EOF_COOKIE);
  expect(told).toEqual([".", "..", "a", "b", "d", "e"]);
  expect(fs.rmdir(1, text("d"))).toBe(0);
  const sub = fs.mkdir(1, text("s"), DIR);
  fs.create(sub, text("x"), FILE);
  expect(fs.rmdir(1, text("s"))).toBe(ENOTEMPTY);
});

it("attributes are bytes under a name, and take pages", () => {
  const { fs } = made(2, 4);
  const ino = fs.create(1, text("f"), FILE);
  expect(fs.setxattr(ino, "user.a", text("one"), 2)).toBe(ENODATA);
  expect(fs.setxattr(ino, "user.a", text("one"), 1)).toBe(0);
  expect(fs.setxattr(ino, "user.a", text("one"), 1)).toBe(EEXIST);
  expect(fs.setxattr(ino, "user.b", new Uint8Array(9000), 0)).toBe(ENOSPC);
  expect(fs.setxattr(ino, "user.b", text(""), 0)).toBe(0);
  const into = new Uint8Array(20);
  expect(fs.listxattr(ino, into)).toBe(14);
  expect(new TextDecoder().decode(into.subarray(0, 14))).toBe("user.a\0user.b\0");
  expect([fs.listxattr(ino, new Uint8Array(0)), fs.listxattr(ino, new Uint8Array(3))]).toEqual([14, ERANGE]);
  expect([fs.getxattr(ino, "user.a", into), fs.getxattr(ino, "user.a", new Uint8Array(2))]).toEqual([3, ERANGE]);
  expect([fs.removexattr(ino, "user.a"), fs.removexattr(ino, "user.a")]).toEqual([0, ENODATA]);
  fs.check();
});

it("names are found whatever chain they are in, as they come and go", () => {
  const { fs } = made(0, 300);
  for (let n = 0; n < 299; n++) fs.create(1, numbered(n), FILE);
  for (let n = 0; n < 299; n += 2) expect(fs.unlink(1, numbered((n * 5) % 299))).toBe(0);
  fs.check();
  const left = Array.from({ length: 299 }, (_, n) => fs.lookup(1, numbered((n * 5) % 299)) > 0);
  expect(left).toEqual(Array.from({ length: 299 }, (_, n) => n % 2 === 1));
});

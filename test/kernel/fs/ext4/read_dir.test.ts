import { fc } from "@fast-check/vitest";
import { describe, expect, it } from "vitest";
import { inodeFlags } from "../../../../kernel/fs/ext4/inode.ts";
import { inodeAt } from "../../../../kernel/fs/ext4/group.ts";
import { INODE_FLAG, INO_ROOT, S_IFDIR, S_IFREG } from "../../../../kernel/fs/ext4/layout.ts";
import { DX_HASH_LEGACY, DX_HASH_TEA } from "../../../../kernel/fs/ext4/layout_dir.ts";
import { ext4Create, ext4Link, ext4Mkdir, ext4Unlink } from "../../../../kernel/fs/ext4/namei.ts";
import { readDir } from "../../../../kernel/fs/ext4/read_dir.ts";
import { EOF_COOKIE } from "../../../../kernel/fs/vfs/file_system.ts";
import { MIB } from "./image_tools.ts";
import { colliding, newRig } from "./rig.ts";
import type { Rig, RigOptions } from "./rig.ts";
import { bytesOf, textOf } from "./tree_model.ts";

const SEED = 20_261_129;
const OWNER = { uid: 0, gid: 0 };
const SMALL = { sizeBytes: 4 * MIB, journalBytes: MIB };
const VARIANTS: readonly (readonly [title: string, options: RigOptions])[] = [
  ["half MD4", SMALL],
  ["TEA, with names of one hash", { ...SMALL, hash: DX_HASH_TEA }],
  ["legacy hash", { ...SMALL, hash: DX_HASH_LEGACY }],
  ["inline at first", { ...SMALL, words: "inline_data" }],
  ["by place", { ...SMALL, words: "^dir_index" }],
  ["by place, inline at first", { ...SMALL, words: "^dir_index,inline_data" }],
];

const nameOf = (n: number): string => (n % 3 === 0 ? textOf(colliding(n)) : `${n}`.padEnd(1 + (n % 90), "-"));

/** A directory whose names are links of one file. */
class Dir {
  readonly rig: Rig;
  readonly dir: number;
  readonly #file: number;
  readonly names = new Set<string>();

  constructor(options: RigOptions, count: number) {
    this.rig = newRig(options);
    this.dir = this.rig.call((edit) => ext4Mkdir(edit, INO_ROOT, bytesOf("d"), { ...OWNER, mode: S_IFDIR | 0o755 }));
    this.#file = this.rig.call((edit) => ext4Create(edit, INO_ROOT, bytesOf("f"), { ...OWNER, mode: S_IFREG }));
    for (let n = 0; n < count; n++) this.add(nameOf(n));
  }

  add(name: string): void {
    if (this.names.has(name)) return;
    expect(this.rig.call((edit) => ext4Link(edit, this.#file, this.dir, bytesOf(name)))).toBe(0);
    this.names.add(name);
  }

  remove(name: string): void {
    if (!this.names.delete(name)) return;
    expect(this.rig.call((edit) => ext4Unlink(edit, this.dir, bytesOf(name), false))).toBe(0);
  }

  /** Up to `most` entries from a cookie on: the cookie to go on with. */
  read(cookie: number, most: number, told: string[]): number {
    let left = most;
    return readDir(this.rig.image, this.rig.sb, this.dir, cookie, (name) => {
      if (left-- === 0) return false;
      told.push(textOf(name));
      return true;
    });
  }
}

describe("readDir()", () => {
  it.each(VARIANTS)("tells what stays once, while other names come and go: %s", (_title, options) => {
    const change = fc.record({
      most: fc.integer({ min: 1, max: 12 }),
      add: fc.nat({ max: 3 }),
      remove: fc.nat({ max: 3 }),
    });
    fc.assert(
      fc.property(fc.nat({ max: 60 }), fc.array(change, { minLength: 10, maxLength: 40 }), (count, changes) => {
        const dir = new Dir(options, count);
        const stays = new Set(dir.names);
        const ever = new Set(dir.names);
        const told: string[] = [];
        let fresh = 1000;
        let cookie = 0;
        for (let n = 0; cookie !== EOF_COOKIE; n++) {
          expect(n).toBeLessThan(2000);
          const { most, add, remove } = changes[n % changes.length]!;
          cookie = dir.read(cookie, most, told);
          expect(cookie).toBeGreaterThanOrEqual(0);
          if (n >= changes.length) continue;
          for (let k = 0; k < add; k++) {
            const name = nameOf(fresh++);
            dir.add(name);
            ever.add(name);
          }
          for (let k = 0; k < remove; k++) {
            const gone = [...dir.names][(n * 7 + k * 13) % Math.max(1, dir.names.size)];
            if (gone === undefined) continue;
            dir.remove(gone);
            stays.delete(gone);
          }
        }
        expect(told.slice(0, 2)).toEqual([".", ".."]);
        const names = told.slice(2);
        expect(new Set(names).size).toBe(names.length);
        expect(names.filter((name) => !ever.has(name))).toEqual([]);
        expect([...stays].filter((name) => !names.includes(name))).toEqual([]);
      }),
      { seed: SEED, numRuns: 25, endOnFailure: true },
    );
  });

  it("gives cookies that hold while a directory of one block becomes a hash tree, and a tree's leaves are split", () => {
    const dir = new Dir({ ...SMALL, words: "inline_data" }, 5);
    const before: string[] = [];
    const cookie = dir.read(0, 4, before);
    for (let n = 5; n < 600; n++) dir.add(nameOf(n));
    expect(inodeFlags(dir.rig.image.view, inodeAt(dir.rig.image, dir.rig.sb, dir.dir)) & INODE_FLAG.index).not.toBe(0);
    const after: string[] = [];
    expect(dir.read(cookie, 1000, after)).toBe(EOF_COOKIE);
    expect(new Set([...before, ...after]).size).toBe(before.length + after.length);
    for (let n = 0; n < 5; n++) expect([...before, ...after]).toContain(nameOf(n));
  });

  it("tells each entry the cookie behind it", () => {
    const dir = new Dir(SMALL, 80);
    const all: string[] = [];
    dir.read(0, 1000, all);
    expect(all.length).toBe(82);
    const cookies: number[] = [];
    readDir(dir.rig.image, dir.rig.sb, dir.dir, 0, (_name, _ino, _type, next) => cookies.push(next) > 0);
    for (const [n, cookie] of cookies.entries()) {
      const rest: string[] = [];
      expect(dir.read(cookie, 1000, rest)).toBe(EOF_COOKIE);
      expect(rest).toEqual(all.slice(n + 1));
    }
  });
});

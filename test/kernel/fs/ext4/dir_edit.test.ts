import { describe, expect, it } from "vitest";
import { ENOENT } from "../../../../kernel/abi/errno.ts";
import { lookup, walkDir } from "../../../../kernel/fs/ext4/dir.ts";
import {
  addEntry,
  initDir,
  isEmptyDir,
  removeEntry,
  replaceEntry,
  setParent,
} from "../../../../kernel/fs/ext4/dir_edit.ts";
import { inodeAt } from "../../../../kernel/fs/ext4/group.ts";
import { dxLevels } from "../../../../kernel/fs/ext4/htree.ts";
import { mapBlock } from "../../../../kernel/fs/ext4/file.ts";
import { inodeFlags } from "../../../../kernel/fs/ext4/inode.ts";
import { addLink, editInode, sealInode } from "../../../../kernel/fs/ext4/inode_edit.ts";
import { INODE, INODE_FLAG, INO_ROOT, S_IFDIR, S_IFREG } from "../../../../kernel/fs/ext4/layout.ts";
import { DIRENT, DX_HASH_LEGACY, DX_HASH_TEA, FT_DIR, FT_REG } from "../../../../kernel/fs/ext4/layout_dir.ts";
import { newInode } from "../../../../kernel/fs/ext4/ialloc.ts";
import { setLe16 } from "../../../../kernel/lib/bytes.ts";
import { ext4Tools } from "../../../harness/qemu/tools.ts";
import { MIB } from "./image_tools.ts";
import { colliding, lottery, newRig } from "./rig.ts";
import type { Rig, RigOptions } from "./rig.ts";

const NODE = { uid: 0, gid: 0 };
/** Names are bytes; as text each byte is one letter. */
const bytesOf = (name: string): Uint8Array => Uint8Array.from(name, (letter) => letter.charCodeAt(0));
const textOf = (name: Uint8Array): string => String.fromCharCode(...name);

/** A directory in the root with names of one file, which the model has as a set. */
class Names {
  readonly dir: number;
  readonly file: number;
  readonly model = new Set<string>();
  readonly #rig: Rig;

  constructor(rig: Rig) {
    const { edit } = rig;
    this.#rig = rig;
    this.file = newInode(edit, INO_ROOT, { ...NODE, mode: S_IFREG | 0o644 });
    this.dir = newInode(edit, INO_ROOT, { ...NODE, mode: S_IFDIR | 0o755 });
    const at = editInode(edit, this.dir);
    // Two links, as "." and the name in the root make.
    setLe16(edit.blocks.view, at + INODE.i_links_count, 2);
    expect(initDir(edit, this.dir, INO_ROOT)).toBe(0);
    expect(addEntry(edit, INO_ROOT, bytesOf("dir"), this.dir, FT_DIR)).toBe(0);
    addLink(edit.blocks.view, editInode(edit, INO_ROOT));
    sealInode(edit, INO_ROOT);
    this.add("a file needs a name");
  }

  add(name: string): void {
    this.addBytes(bytesOf(name));
  }

  remove(name: string): void {
    this.removeBytes(bytesOf(name));
  }

  addBytes(name: Uint8Array): void {
    expect(addEntry(this.#rig.edit, this.dir, name, this.file, FT_REG)).toBe(0);
    this.model.add(textOf(name));
  }

  removeBytes(name: Uint8Array): void {
    expect(removeEntry(this.#rig.edit, this.dir, name)).toBe(0);
    this.model.delete(textOf(name));
  }

  /** All links of the file are names in here: past 65,000 the count is not looked at. */
  settle(): void {
    const { edit } = this.#rig;
    setLe16(edit.blocks.view, editInode(edit, this.file) + INODE.i_links_count, this.model.size);
    sealInode(edit, this.file);
    sealInode(edit, this.dir);
    edit.groups.finish();
    this.#rig.call(() => 0);
  }

  get at(): number {
    return inodeAt(this.#rig.image, this.#rig.sb, this.dir);
  }

  list(): string[] {
    const { image, sb } = this.#rig;
    const found: string[] = [];
    walkDir(image, sb, this.at, {
      entry(at, _ino, length) {
        found.push(textOf(image.bytes.subarray(at + DIRENT.bytes, at + DIRENT.bytes + length)));
        return true;
      },
    });
    return found.filter((name) => name !== "." && name !== "..").sort();
  }

  levels(): number {
    const { image, sb } = this.#rig;
    const mapped = { pblk: 0, length: 0, unwritten: false };
    expect(mapBlock(image, sb, this.at, 0, mapped)).toBe(0);
    return (inodeFlags(image.view, this.at) & INODE_FLAG.index) === 0
      ? -1
      : dxLevels(image.view, image.at(mapped.pblk));
  }

  check(): void {
    const { image, sb } = this.#rig;
    this.settle();
    expect(this.#rig.damage()).toEqual([]);
    expect(this.list()).toEqual([...this.model].sort());
    for (const name of this.model) expect(lookup(image, sb, this.at, bytesOf(name))).toBe(this.file);
    expect(lookup(image, sb, this.at, bytesOf("a name that is not there"))).toBe(ENOENT);
  }
}

const MIB16 = { sizeBytes: 16 * MIB };
const VARIANTS: readonly (readonly [title: string, options: RigOptions])[] = [
  ["4 KiB", { ...MIB16, blockSize: 4096 }],
  ["1 KiB, TEA", { ...MIB16, hash: DX_HASH_TEA }],
  ["1 KiB, no checksums, block maps", { ...MIB16, words: "^metadata_csum,^64bit,^extent" }],
  ["1 KiB, names hashed as unsigned bytes", { ...MIB16, hash: DX_HASH_TEA, unsigned: true }],
  ["2 KiB, no dir_index", { ...MIB16, blockSize: 2048, words: "^dir_index" }],
  [
    "1 KiB, legacy hash, inodes of 128 bytes",
    { ...MIB16, inodeSize: 128, words: "^filetype,^extra_isize", hash: DX_HASH_LEGACY },
  ],
];
const fsckOf = (rig: Rig): string => (ext4Tools ? rig.fsck() : "");

describe("dir_edit", () => {
  it.each(VARIANTS)(
    "addEntry() and removeEntry() keep 1,500 names findable, and e2fsck content: %s",
    (_title, options) => {
      const rig = newRig(options);
      const names = new Names(rig);
      const below = lottery(11);
      for (let n = 0; n < 1500; n++) {
        names.add(`${n}\u00ff${"-".repeat(below(60))}`);
        if (n % 500 === 499) names.check();
      }
      expect(fsckOf(rig)).toBe("");
      for (const name of names.model) if (below(3) > 0) names.remove(name);
      names.check();
      for (let n = 0; n < 700; n++) names.add(`again ${n}${"=".repeat(below(240))}`);
      names.check();
      expect(fsckOf(rig)).toBe("");
      for (const name of names.model) names.remove(name);
      expect(isEmptyDir(rig.image, rig.sb, names.at)).toBe(true);
      names.add("one");
      expect(isEmptyDir(rig.image, rig.sb, names.at)).toBe(false);
      names.check();
      expect(fsckOf(rig)).toBe("");
    },
  );

  it("htreeAdd() splits index nodes: 20,000 names in blocks of 1 KiB make two levels, as debugfs reads them", () => {
    const rig = newRig(MIB16);
    const names = new Names(rig);
    for (let n = 0; n < 20_000; n++) names.add(`name ${n}`);
    names.check();
    expect(names.levels()).toBe(1);
    expect(fsckOf(rig)).toBe("");
    if (!ext4Tools) return;
    const dump = rig.debugfs("htree_dump /dir");
    expect(dump).toContain("Indirect levels: 1");
    expect([...names.model].slice(0, 200).filter((name) => !dump.includes(` ${name} `))).toEqual([]);
  });

  it("htreeAdd() splits a leaf whose names have one hash, and a search walks on through all of them", () => {
    const rig = newRig({ ...MIB16, hash: DX_HASH_TEA });
    const names = new Names(rig);
    for (let n = 0; n < 64; n++) names.add(`before ${n}`);
    for (let n = 0; n < 200; n++) names.addBytes(colliding(n));
    names.check();
    expect(fsckOf(rig)).toBe("");
    for (let n = 0; n < 200; n += 2) names.removeBytes(colliding(n));
    for (let n = 64; n < 400; n++) names.add(`after ${n}`);
    names.check();
    expect(fsckOf(rig)).toBe("");
  });

  it("replaceEntry() and setParent() change one number, also in a hash tree's root", () => {
    const rig = newRig(MIB16);
    const { edit, sb, image } = rig;
    const names = new Names(rig);
    for (let n = 0; n < 100; n++) names.add(`name ${n}`);
    expect(names.levels()).toBe(0);
    const other = newInode(edit, INO_ROOT, { ...NODE, mode: S_IFREG | 0o644 });
    expect(replaceEntry(edit, names.dir, bytesOf("name 5"), other, FT_REG)).toBe(0);
    expect(replaceEntry(edit, names.dir, bytesOf("name"), other, FT_REG)).toBe(ENOENT);
    expect(lookup(image, sb, names.at, bytesOf("name 5"))).toBe(other);
    names.model.delete("name 5");
    names.settle();
    expect(rig.damage()).toEqual([]);
    expect(setParent(edit, names.dir, 11)).toBe(0);
    names.settle();
    expect(rig.damage().sort()).toEqual([
      `directory: ".." of directory ${names.dir} is inode 11, it lies in 2`,
      "links: inode 11 says 2 links, and has 3",
      "links: inode 2 says 4 links, and has 3",
    ]);
  });
});

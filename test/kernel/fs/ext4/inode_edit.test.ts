import { fc, test } from "@fast-check/vitest";
import { expect, it } from "vitest";
import { EEXIST, EMLINK } from "../../../../kernel/abi/errno.ts";
import { inodeAt } from "../../../../kernel/fs/ext4/group.ts";
import { inodeFlags } from "../../../../kernel/fs/ext4/inode.ts";
import {
  LINKS_MAX,
  TOUCH_ATIME,
  deviceOf,
  editInode,
  getattr,
  sealInode,
  setDevice,
  setInodeSize,
  setattr,
  touch,
} from "../../../../kernel/fs/ext4/inode_edit.ts";
import {
  INODE,
  INODE_FLAG,
  INO_ROOT,
  RO_COMPAT,
  S_IFCHR,
  S_IFDIR,
  S_IFREG,
  SB,
} from "../../../../kernel/fs/ext4/layout.ts";
import { ext4Create, ext4Link, ext4Mkdir, ext4Rmdir } from "../../../../kernel/fs/ext4/namei.ts";
import { ext4Rename } from "../../../../kernel/fs/ext4/rename.ts";
import type { Stat } from "../../../../kernel/fs/vfs/file_system.ts";
import { le32, setLe16 } from "../../../../kernel/lib/bytes.ts";
import { ext4Tools } from "../../../harness/qemu/tools.ts";
import { MIB } from "./image_tools.ts";
import { NOW, newRig } from "./rig.ts";
import type { Rig } from "./rig.ts";
import { bytesOf } from "./tree_model.ts";

const OWNER = { uid: 0, gid: 0 };
const SMALL = { sizeBytes: 4 * MIB, journalBytes: MIB };
const stat = {} as Stat;

const statOf = ({ image, sb }: Rig, ino: number): Stat => {
  expect(getattr(image, sb, ino, stat)).toBe(0);
  return stat;
};

test.prop(
  [fc.integer({ min: -(2 ** 31), max: 2 ** 34 - 2 ** 31 - 1 }), fc.integer({ min: 0, max: 999_999_999 }), fc.boolean()],
  { seed: 20_261_128, numRuns: 200 },
)(
  "setattr() keeps times to the nanosecond from 1901 to 2446, and clamps them in inodes of 128 bytes",
  (sec, nsec, large) => {
    const rig = large ? LARGE : NARROW;
    const { image, sb } = rig;
    expect(rig.call((edit) => setattr(edit, INO_ROOT, { mtime: [sec, nsec], uid: 70_000, gid: 3, mode: 0o7123 }))).toBe(
      0,
    );
    const { mtimeSec, mtimeNsec, ctimeSec, uid, gid, mode } = statOf(rig, INO_ROOT);
    expect([mtimeSec, mtimeNsec]).toEqual(large ? [sec, nsec] : [Math.min(sec, 2 ** 31 - 1), 0]);
    expect([ctimeSec, uid, gid, mode]).toEqual([NOW, 70_000, 3, S_IFDIR | 0o7123]);
    expect(inodeAt(image, sb, INO_ROOT)).toBeGreaterThan(0);
  },
);
const LARGE = newRig(SMALL);
const NARROW = newRig({ ...SMALL, inodeSize: 128, words: "^extra_isize" });

it.skipIf(!ext4Tools)("setattr() writes a time as debugfs reads it", () => {
  const rig = newRig(SMALL);
  rig.call((edit) => setattr(edit, INO_ROOT, { mtime: [2 ** 32 + 86_400 * 365, 123_456_789] }));
  expect(rig.debugfs("stat <2>")).toContain("mtime: 0x01e13380:1d6f3455 -- ");
  expect(rig.debugfs("stat <2>")).toMatch(/mtime:.* 2107/);
});

it("touch() changes the times that it was told", () => {
  const rig = newRig(SMALL);
  rig.call((edit) => setattr(edit, INO_ROOT, { atime: [1, 2], mtime: [3, 4] }));
  rig.call((edit) => {
    touch(edit, INO_ROOT, TOUCH_ATIME);
    return 0;
  });
  const { atimeSec, atimeNsec, mtimeSec, mtimeNsec } = statOf(rig, INO_ROOT);
  expect([atimeSec, atimeNsec, mtimeSec, mtimeNsec]).toEqual([NOW, 123_456_789, 3, 4]);
});

test.prop([fc.nat({ max: 4095 }), fc.nat({ max: 2 ** 20 - 1 })], { seed: 20_261_128, numRuns: 300 })(
  "setDevice() and deviceOf() hold every device number",
  (major, minor) => {
    const view = new DataView(new ArrayBuffer(128));
    setLe16(view, INODE.i_mode, S_IFCHR);
    setDevice(view, 0, major * 2 ** 20 + minor);
    expect(deviceOf(view, 0)).toBe(major * 2 ** 20 + minor);
    expect(le32(view, INODE.i_block) !== 0).toBe(major < 256 && minor < 256 && major + minor > 0);
  },
);

it("setInodeSize() marks a file system with a file of 2 GiB", () => {
  const rig = newRig({ ...SMALL, words: "^large_file" });
  const marked = (): boolean => {
    const at = rig.image.at(rig.sb.superBlock) + rig.sb.superOffset;
    return (le32(rig.image.view, at + SB.s_feature_ro_compat) & RO_COMPAT.large_file) !== 0;
  };
  const ino = rig.call((edit) => ext4Create(edit, INO_ROOT, bytesOf("f"), { ...OWNER, mode: S_IFREG }));
  const grow = (size: number): number =>
    rig.call((edit) => {
      setInodeSize(edit, ino, size);
      sealInode(edit, ino);
      return 0;
    });
  grow(2 ** 31 - 1);
  expect(marked()).toBe(false);
  grow(2 ** 31);
  expect(marked()).toBe(true);
  expect(statOf(rig, ino).size).toBe(2 ** 31);
  expect(rig.damage()).toEqual([]);
});

/** A directory that says it has so many links. */
function crowded(words: string, links: number): { readonly rig: Rig; readonly dir: number } {
  const rig = newRig({ ...SMALL, words });
  const dir = rig.call((edit) => ext4Mkdir(edit, INO_ROOT, bytesOf("d"), { ...OWNER, mode: S_IFDIR }));
  for (let n = 0; n < 60; n++)
    rig.call((edit) => ext4Create(edit, dir, bytesOf(`${n}`.padEnd(30, ".")), { ...OWNER, mode: S_IFREG }));
  rig.call((edit) => {
    setLe16(edit.blocks.view, editInode(edit, dir) + INODE.i_links_count, links);
    sealInode(edit, dir);
    return 0;
  });
  return { rig, dir };
}

it("past 65,000 links an indexed directory says 1 and stays there (dir_nlink)", () => {
  const { rig, dir } = crowded("", LINKS_MAX);
  expect(inodeFlags(rig.image.view, inodeAt(rig.image, rig.sb, dir)) & INODE_FLAG.index).not.toBe(0);
  const mkdir = (name: string): number =>
    rig.call((edit) => ext4Mkdir(edit, dir, bytesOf(name), { ...OWNER, mode: S_IFDIR }));
  expect(mkdir("a")).toBeGreaterThan(0);
  expect(statOf(rig, dir).links).toBe(1);
  expect(mkdir("b")).toBeGreaterThan(0);
  expect(statOf(rig, dir).links).toBe(1);
  expect(rig.call((edit) => ext4Rmdir(edit, dir, bytesOf("a"), false))).toBe(0);
  expect(statOf(rig, dir).links).toBe(1);
  expect(rig.damage()).toEqual([]);
});

it.each(["^dir_nlink", "^dir_index"])("mkdir and rename end with EMLINK at 65,000 links: %s", (words) => {
  const { rig, dir } = crowded(words, LINKS_MAX);
  const other = rig.call((edit) => ext4Mkdir(edit, INO_ROOT, bytesOf("e"), { ...OWNER, mode: S_IFDIR }));
  expect(other).toBeGreaterThan(0);
  expect(rig.call((edit) => ext4Mkdir(edit, dir, bytesOf("a"), { ...OWNER, mode: S_IFDIR }))).toBe(EMLINK);
  expect(rig.call((edit) => ext4Rename(edit, INO_ROOT, bytesOf("e"), dir, bytesOf("e"), 0, false))).toBe(EMLINK);
  expect(rig.call((edit) => ext4Create(edit, dir, bytesOf("f"), { ...OWNER, mode: S_IFREG }))).toBeGreaterThan(0);
});

it("a file with 65,000 links gets no further one", () => {
  const rig = newRig(SMALL);
  const ino = rig.call((edit) => ext4Create(edit, INO_ROOT, bytesOf("f"), { ...OWNER, mode: S_IFREG }));
  expect(rig.call((edit) => ext4Link(edit, ino, INO_ROOT, bytesOf("f")))).toBe(EEXIST);
  rig.call((edit) => {
    setLe16(edit.blocks.view, editInode(edit, ino) + INODE.i_links_count, LINKS_MAX);
    sealInode(edit, ino);
    return 0;
  });
  expect(rig.call((edit) => ext4Link(edit, ino, INO_ROOT, bytesOf("g")))).toBe(EMLINK);
});

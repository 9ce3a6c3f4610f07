import { expect, it } from "vitest";
import { EFSCORRUPTED } from "../../../../kernel/abi/errno.ts";
import { direntBytes, lookup } from "../../../../kernel/fs/ext4/dir.ts";
import { endLeaf, setRecLen, writeEntry } from "../../../../kernel/fs/ext4/dir_block.ts";
import { addEntry, findEntry } from "../../../../kernel/fs/ext4/dir_edit.ts";
import { dirSeed } from "../../../../kernel/fs/ext4/dir_grow.ts";
import { mapBlock } from "../../../../kernel/fs/ext4/file.ts";
import { inodeAt } from "../../../../kernel/fs/ext4/group.ts";
import { dxBlock, dxCountOffset } from "../../../../kernel/fs/ext4/htree.ts";
import { inlineRegions } from "../../../../kernel/fs/ext4/inline_dir.ts";
import { editInode } from "../../../../kernel/fs/ext4/inode_edit.ts";
import { INODE_FLAG, INO_JOURNAL, INO_ROOT, S_IFDIR, S_IFREG } from "../../../../kernel/fs/ext4/layout.ts";
import { DIRENT, DX_ENTRY, FT_REG } from "../../../../kernel/fs/ext4/layout_dir.ts";
import { XATTR_ENTRY } from "../../../../kernel/fs/ext4/layout_inode.ts";
import { ext4Create, ext4Mkdir, ext4Unlink } from "../../../../kernel/fs/ext4/namei.ts";
import { ext4Rename } from "../../../../kernel/fs/ext4/rename.ts";
import { inodeFlags } from "../../../../kernel/fs/ext4/inode.ts";
import { ibodyArea, walkXattrs } from "../../../../kernel/fs/ext4/xattr.ts";
import { removeXattr, setXattr } from "../../../../kernel/fs/ext4/xattr_edit.ts";
import { le16, setLe16, setLe32 } from "../../../../kernel/lib/bytes.ts";
import { MIB } from "./image_tools.ts";
import { newRig } from "./rig.ts";
import type { Rig, RigOptions } from "./rig.ts";
import { bytesOf } from "./tree_model.ts";

const OWNER = { uid: 0, gid: 0 };
const SMALL: RigOptions = { sizeBytes: 4 * MIB, journalBytes: MIB };
const NAME = bytesOf("name");
const mapped = { pblk: 0, length: 0, unwritten: false };

const create = (rig: Rig, dir: number, name: Uint8Array): number =>
  rig.call((edit) => ext4Create(edit, dir, name, { ...OWNER, mode: S_IFREG | 0o644 }));
const mkdir = (rig: Rig, name: string): number =>
  rig.call((edit) => ext4Mkdir(edit, INO_ROOT, bytesOf(name), { ...OWNER, mode: S_IFDIR | 0o755 }));

/** Block of a directory, for writing. */
function blockOf({ edit, sb }: Rig, dir: number, lblk: number): number {
  expect(mapBlock(edit.blocks, sb, editInode(edit, dir), lblk, mapped)).toBe(0);
  return edit.blocks.writable(mapped.pblk);
}

it.each([
  ["is free", 900],
  ["is reserved", INO_JOURNAL],
  ["is the root", INO_ROOT],
])("a name whose inode %s is not followed: EFSCORRUPTED", (_title, ino) => {
  const rig = newRig(SMALL);
  create(rig, INO_ROOT, NAME);
  const spot = { block: 0, at: 0, before: 0 };
  expect(findEntry(rig.image, rig.sb, inodeAt(rig.image, rig.sb, INO_ROOT), NAME, spot)).toBe(0);
  setLe32(rig.image.view, rig.image.writable(spot.block) + spot.at + DIRENT.inode, ino);
  rig.image.settle();
  expect(rig.call((edit) => ext4Unlink(edit, INO_ROOT, NAME, false))).toBe(EFSCORRUPTED);
  expect(rig.call((edit) => ext4Rename(edit, INO_ROOT, NAME, INO_ROOT, bytesOf("n"), 0, false))).toBe(EFSCORRUPTED);
});

it("values of attributes that overlap are not laid out beyond the inode", () => {
  const rig = newRig({ ...SMALL, inodeSize: 512 });
  const ino = create(rig, INO_ROOT, NAME);
  for (const name of ["user.a", "user.b", "user.c"])
    expect(rig.call((edit) => setXattr(edit, ino, name, bytesOf("12345678".repeat(10)), 0))).toBe(0);
  const { view } = rig.image;
  const at = editInode(rig.edit, ino);
  const area = ibodyArea(view, rig.sb, at)!;
  let lowest = area.end;
  walkXattrs(view, area, ({ value }) => (lowest = Math.min(lowest, value)) > 0);
  walkXattrs(view, area, (xattr) => {
    setLe16(view, xattr.at + XATTR_ENTRY.e_value_offs, lowest - area.base);
    setLe32(view, xattr.at + XATTR_ENTRY.e_value_size, area.end - lowest);
    return true;
  });
  rig.image.settle();
  expect(rig.call((edit) => removeXattr(edit, ino, "user.a"))).toBe(EFSCORRUPTED);
});

it("an inline directory whose entries cannot be is not converted", () => {
  const rig = newRig({ ...SMALL, words: "inline_data" });
  const dir = mkdir(rig, "d");
  const [first] = inlineRegions(rig.image.view, rig.sb, editInode(rig.edit, dir));
  setRecLen(rig.sb, rig.image.view, first!.from, 0);
  rig.image.settle();
  expect(create(rig, dir, NAME)).toBe(EFSCORRUPTED);
});

/** A directory with a hash tree of two leaves. */
function indexed(rig: Rig): number {
  const dir = mkdir(rig, "d");
  for (let n = 0; n < 5; n++) create(rig, dir, bytesOf(`${n}`.padEnd(200, "x")));
  expect(inodeFlags(rig.image.view, inodeAt(rig.image, rig.sb, dir)) & INODE_FLAG.index).not.toBe(0);
  return dir;
}

it("a leaf of unused entries with one name among them is packed, not split", () => {
  const rig = newRig(SMALL);
  const { edit, sb, image } = rig;
  const dir = indexed(rig);
  const file = create(rig, INO_ROOT, NAME);
  const root = blockOf(rig, dir, 0);
  for (const leaf of [0, 1].map((n) => dxBlock(image.view, root, true, n))) {
    const at = blockOf(rig, dir, leaf);
    edit.blocks.bytes.fill(0, at, at + sb.blockSize);
    let offset = direntBytes(100);
    writeEntry(edit.blocks, sb, at, offset, bytesOf(`${leaf}`.padEnd(100, "y")), file, FT_REG);
    let last = 0;
    for (; offset + 100 < sb.blockSize - 12; offset += 100) {
      setRecLen(sb, image.view, at + offset, 100);
      last = offset;
    }
    endLeaf(edit.blocks, sb, dirSeed(edit, dir, editInode(edit, dir)), at, last);
  }
  const long = bytesOf("z".repeat(255));
  expect(rig.call(() => addEntry(edit, dir, long, file, FT_REG))).toBe(0);
  expect(lookup(image, sb, inodeAt(image, sb, dir), long)).toBe(file);
});

it("a hash tree whose root names itself is not walked", () => {
  const rig = newRig(SMALL);
  const dir = indexed(rig);
  const root = blockOf(rig, dir, 0);
  const first = root + dxCountOffset(true);
  for (let n = 0; n < le16(rig.image.view, first + 2); n++)
    setLe32(rig.image.view, first + n * DX_ENTRY.bytes + DX_ENTRY.block, 0);
  rig.image.settle();
  expect(create(rig, dir, NAME)).toBe(EFSCORRUPTED);
});

import { describe, expect, it } from "vitest";
import { inodeSeed, setOrphanBlockChecksum } from "../../../../kernel/fs/ext4/csum.ts";
import { mapBlock } from "../../../../kernel/fs/ext4/file.ts";
import { inodeAt } from "../../../../kernel/fs/ext4/group.ts";
import { inodeGeneration, inodeLinks } from "../../../../kernel/fs/ext4/inode.ts";
import { sealInode, setInodeSize } from "../../../../kernel/fs/ext4/inode_edit.ts";
import { INO_ROOT, RO_COMPAT, SB, S_IFDIR, S_IFREG } from "../../../../kernel/fs/ext4/layout.ts";
import { ORPHAN_TAIL } from "../../../../kernel/fs/ext4/layout_inode.ts";
import { UNMAP_CREDITS_MIN, mapCreate } from "../../../../kernel/fs/ext4/map_edit.ts";
import {
  ext4Create,
  ext4Link,
  ext4Mkdir,
  ext4Rmdir,
  ext4Tmpfile,
  ext4Unlink,
} from "../../../../kernel/fs/ext4/namei.ts";
import { processOrphans } from "../../../../kernel/fs/ext4/orphan.ts";
import { WHOLE, evictInode, orphanAdd, orphanDel, setOrphanPresent } from "../../../../kernel/fs/ext4/orphan_edit.ts";
import { readSuper } from "../../../../kernel/fs/ext4/super.ts";
import type { Super } from "../../../../kernel/fs/ext4/super.ts";
import { editSuper, sealSuper } from "../../../../kernel/fs/ext4/super_edit.ts";
import { le32, setLe32 } from "../../../../kernel/lib/bytes.ts";
import { ext4Tools } from "../../../harness/qemu/tools.ts";
import { MIB } from "./image_tools.ts";
import { NOW, newRig } from "./rig.ts";
import type { Rig } from "./rig.ts";
import { bytesOf } from "./tree_model.ts";

const OWNER = { uid: 0, gid: 0 };
const SMALL = { sizeBytes: 4 * MIB, journalBytes: MIB };
const WORDS = ["", "orphan_file"];

const create = (rig: Rig, name: string): number =>
  rig.call((edit) => ext4Create(edit, INO_ROOT, bytesOf(name), { ...OWNER, mode: S_IFREG | 0o644 }));

const wordOf = ({ image, sb }: Rig, field: number): number =>
  le32(image.view, image.at(sb.superBlock) + sb.superOffset + field);

/** Of the file system as it is now: the rig's own was read when it was made. */
const superNow = ({ image, sb }: Rig): Super => {
  const now = readSuper(image.view, image.at(sb.superBlock) + sb.superOffset, image.count * image.blockSize);
  if ("reason" in now) throw new Error(now.reason);
  return now;
};

/** Blocks 0, 3, 6 ... of a file: as many extents. */
function scatter(rig: Rig, ino: number, count: number): void {
  const mapped = { pblk: 0, length: 0, unwritten: false, isNew: false };
  expect(
    rig.call((edit) => {
      for (let n = 0; n < count; n++) expect(mapCreate(edit, ino, 3 * n, 1, 0, mapped)).toBe(0);
      setInodeSize(edit, ino, (3 * count - 2) * rig.sb.blockSize);
      sealInode(edit, ino);
      return 0;
    }),
  ).toBe(0);
}

/** Each slot of the orphan file that holds one number gets another. */
function fillFile(rig: Rig, from: number, to: number): void {
  rig.call(({ blocks, sb }) => {
    const at = inodeAt(blocks, sb, sb.orphanFileIno);
    const seed = inodeSeed(sb, sb.orphanFileIno, inodeGeneration(blocks.view, at));
    const mapped = { pblk: 0, length: 0, unwritten: false };
    for (let lblk = 0; mapBlock(blocks, sb, at, lblk, mapped) === 0 && mapped.pblk > 0; lblk++) {
      const block = blocks.writable(mapped.pblk);
      for (let offset = 0; offset < sb.blockSize - ORPHAN_TAIL.bytes; offset += 4)
        if (le32(blocks.view, block + offset) === from) setLe32(blocks.view, block + offset, to);
      setOrphanBlockChecksum(sb, seed, blocks.bytes, blocks.view, block, mapped.pblk);
    }
    return 0;
  });
}

describe("orphan_edit", () => {
  it.each(WORDS)("a crash leaves orphans that recovery deletes: %s", (words) => {
    const rig = newRig({ ...SMALL, words });
    const names = Array.from({ length: 9 }, (_, n) => `file ${n}`);
    const files = names.map((name) => create(rig, name));
    const dir = rig.call((edit) => ext4Mkdir(edit, INO_ROOT, bytesOf("d"), { ...OWNER, mode: S_IFDIR | 0o755 }));
    for (const ino of files) scatter(rig, ino, 7);
    const clean = rig.damage();
    expect(clean).toEqual([]);
    const held = names.slice(0, 6).map((name) => rig.call((edit) => ext4Unlink(edit, INO_ROOT, bytesOf(name), true)));
    expect(held).toEqual(files.slice(0, 6));
    expect(rig.call((edit) => ext4Rmdir(edit, INO_ROOT, bytesOf("d"), true))).toBe(dir);
    // One is released before the crash, out of the middle.
    expect(rig.call((edit) => Number(evictInode(edit, files[2]!, WHOLE)))).toBe(1);
    rig.call((edit) => {
      setOrphanPresent(edit, words !== "");
      return 0;
    });
    expect(wordOf(rig, SB.s_last_orphan) !== 0).toBe(words === "");
    const { image } = rig;
    const { edit } = rig;
    setOrphanPresent(edit, words !== "");
    const now = superNow(rig);
    const result = processOrphans(image, now, editSuper(edit), NOW);
    sealSuper(edit);
    expect(result).toEqual({ deleted: 6, truncated: 0, faults: [] });
    rig.call(() => 0);
    expect(rig.damage()).toEqual([]);
    for (const ino of files.slice(6)) expect(inodeLinks(image.view, inodeAt(image, rig.sb, ino))).toBe(1);
    if (ext4Tools) expect(rig.fsck()).toBe("");
  });

  it.each(WORDS)("orphanAdd() adds once, orphanDel() says whether it was there: %s", (words) => {
    const rig = newRig({ ...SMALL, words });
    const [one, two, three] = ["1", "2", "3"].map((name) => create(rig, name)) as [number, number, number];
    rig.call((edit) => {
      for (const ino of [one, two, one, three, two]) orphanAdd(edit, ino);
      expect(orphanDel(edit, two)).toBe(true);
      expect(orphanDel(edit, two)).toBe(false);
      expect(orphanDel(edit, one)).toBe(true);
      expect(orphanDel(edit, three)).toBe(true);
      return 0;
    });
    expect(wordOf(rig, SB.s_last_orphan)).toBe(0);
    expect(rig.damage()).toEqual([]);
  });

  it("orphan_present is set with the first orphan in the file, and a full file leaves the rest to the list", () => {
    const rig = newRig({ sizeBytes: 16 * MIB, inodes: 256, words: "orphan_file" });
    const one = create(rig, "one");
    rig.call((edit) => {
      orphanAdd(edit, one);
      expect(wordOf(rig, SB.s_feature_ro_compat) & RO_COMPAT.orphan_present).not.toBe(0);
      expect(wordOf(rig, SB.s_last_orphan)).toBe(0);
      return 0;
    });
    fillFile(rig, 0, 99);
    const files = Array.from({ length: 5 }, (_, n) => create(rig, `f${n}`));
    rig.call((edit) => {
      for (const ino of files) orphanAdd(edit, ino);
      expect(wordOf(rig, SB.s_last_orphan)).toBe(files.at(-1));
      for (const ino of files) expect(orphanDel(edit, ino)).toBe(true);
      expect(wordOf(rig, SB.s_last_orphan)).toBe(0);
      expect(orphanDel(edit, one)).toBe(true);
      return 0;
    });
    fillFile(rig, 99, 0);
    expect(rig.damage()).toEqual([]);
  });

  it("evictInode() goes on where its budget ended, and the image is one of an orphan in between", () => {
    const rig = newRig({ sizeBytes: 16 * MIB });
    const ino = create(rig, "f");
    scatter(rig, ino, 8000);
    expect(rig.damage()).toEqual([]);
    expect(rig.call((edit) => ext4Unlink(edit, INO_ROOT, bytesOf("f"), true))).toBe(ino);
    let calls = 0;
    for (let done = 0; done === 0; calls++) {
      done = rig.call((edit) => Number(evictInode(edit, ino, UNMAP_CREDITS_MIN)));
      expect(wordOf(rig, SB.s_last_orphan)).toBe(done === 1 ? 0 : ino);
    }
    expect(calls).toBeGreaterThan(1);
    expect(rig.damage()).toEqual([]);
  });

  it("ext4Tmpfile() is an orphan until it is linked", () => {
    const rig = newRig(SMALL);
    const ino = rig.call((edit) => ext4Tmpfile(edit, INO_ROOT, { ...OWNER, mode: S_IFREG | 0o600 }));
    expect(wordOf(rig, SB.s_last_orphan)).toBe(ino);
    expect(rig.call((edit) => ext4Link(edit, ino, INO_ROOT, bytesOf("named")))).toBe(0);
    expect(wordOf(rig, SB.s_last_orphan)).toBe(0);
    expect(rig.damage()).toEqual([]);
  });
});

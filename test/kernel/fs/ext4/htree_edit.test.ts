import { describe, expect, it } from "vitest";
import { ENOSPC } from "../../../../kernel/abi/errno.ts";
import { lookup } from "../../../../kernel/fs/ext4/dir.ts";
import { addEntry } from "../../../../kernel/fs/ext4/dir_edit.ts";
import { mapBlock } from "../../../../kernel/fs/ext4/file.ts";
import { inodeAt } from "../../../../kernel/fs/ext4/group.ts";
import { dxLevels } from "../../../../kernel/fs/ext4/htree.ts";
import { editInode, sealInode } from "../../../../kernel/fs/ext4/inode_edit.ts";
import { INODE, INO_ROOT, S_IFDIR, S_IFREG } from "../../../../kernel/fs/ext4/layout.ts";
import { FT_REG } from "../../../../kernel/fs/ext4/layout_dir.ts";
import { ext4Create, ext4Mkdir } from "../../../../kernel/fs/ext4/namei.ts";
import { setLe16 } from "../../../../kernel/lib/bytes.ts";
import { ext4Tools } from "../../../harness/qemu/tools.ts";
import { MIB } from "./image_tools.ts";
import { newRig } from "./rig.ts";
import type { Rig, RigOptions } from "./rig.ts";
import { bytesOf } from "./tree_model.ts";

const OWNER = { uid: 0, gid: 0 };

interface Filled {
  readonly rig: Rig;
  readonly dir: number;
  readonly file: number;
  /** Names that were put in before ENOSPC. */
  readonly count: number;
}

/** Names of one file: its link count does not say how many, past 65,000. */
function fill(options: RigOptions, most: number): Filled {
  const rig = newRig(options);
  const dir = rig.call((edit) => ext4Mkdir(edit, INO_ROOT, bytesOf("dir"), { ...OWNER, mode: S_IFDIR | 0o755 }));
  const file = rig.call((edit) => ext4Create(edit, dir, bytesOf("file"), { ...OWNER, mode: S_IFREG }));
  let count = 0;
  rig.call((edit) => {
    while (count < most) {
      const result = addEntry(edit, dir, bytesOf(nameOf(count)), file, FT_REG);
      // The index is full: nothing was changed.
      if (result === ENOSPC) break;
      expect(result).toBe(0);
      count++;
    }
    setLe16(edit.blocks.view, editInode(edit, file) + INODE.i_links_count, (count + 1) & 0xffff);
    sealInode(edit, file);
    return 0;
  });
  return { rig, dir, file, count };
}

function levelsOf({ rig: { image, sb }, dir }: Filled): number {
  const mapped = { pblk: 0, length: 0, unwritten: false };
  expect(mapBlock(image, sb, inodeAt(image, sb, dir), 0, mapped)).toBe(0);
  return dxLevels(image.view, image.at(mapped.pblk));
}

/** One name in seven is looked up. */
function expectFound({ rig: { image, sb }, dir, file, count }: Filled): void {
  const at = inodeAt(image, sb, dir);
  for (let n = 0; n < count; n += 7) expect(lookup(image, sb, at, bytesOf(nameOf(n)))).toBe(file);
}

/** Three fill a leaf. */
const nameOf = (n: number): string => `${n}`.padEnd(255, "x");

describe("htree_edit", () => {
  it("ends with ENOSPC when root and nodes are full; large_dir allows one level more", () => {
    const most = 40_000;
    const small = fill({ sizeBytes: 40 * MIB }, most);
    expect(small.count).toBeLessThan(most);
    expect(levelsOf(small)).toBe(1);
    expectFound(small);
    expect(small.rig.damage()).toEqual([]);
    const large = fill({ sizeBytes: 40 * MIB, words: "large_dir" }, small.count + 2000);
    expect(large.count).toBe(small.count + 2000);
    expect(levelsOf(large)).toBe(2);
    expectFound(large);
    expect(large.rig.damage()).toEqual([]);
    if (ext4Tools) expect(large.rig.fsck()).toBe("");
  });
});

import { describe, expect, it } from "vitest";
import { EEXIST, EINVAL, ENODATA, ENOSPC, EOPNOTSUPP, ERANGE } from "../../../../kernel/abi/errno.ts";
import { inodeAt } from "../../../../kernel/fs/ext4/group.ts";
import { inodeFileAcl, inodeSectors } from "../../../../kernel/fs/ext4/inode.ts";
import { editInode, sealInode } from "../../../../kernel/fs/ext4/inode_edit.ts";
import { COMPAT, INODE, INO_ROOT, SB, S_IFREG } from "../../../../kernel/fs/ext4/layout.ts";
import { XATTR_HEADER } from "../../../../kernel/fs/ext4/layout_inode.ts";
import { ext4Create, ext4Unlink } from "../../../../kernel/fs/ext4/namei.ts";
import { getXattr, listXattr, removeXattr, setXattr } from "../../../../kernel/fs/ext4/xattr_edit.ts";
import { setXattrBlockChecksum } from "../../../../kernel/fs/ext4/csum.ts";
import { sectorsIn, setSectors } from "../../../../kernel/fs/ext4/truncate.ts";
import { XATTR_CREATE, XATTR_REPLACE } from "../../../../kernel/fs/vfs/file_system.ts";
import { le32, setLe32 } from "../../../../kernel/lib/bytes.ts";
import { ext4Tools } from "../../../harness/qemu/tools.ts";
import { MIB } from "./image_tools.ts";
import { newRig } from "./rig.ts";
import type { Rig, RigOptions } from "./rig.ts";
import { bytesOf, textOf } from "./tree_model.ts";

const SMALL = { sizeBytes: 4 * MIB, journalBytes: MIB };
const NONE = new Uint8Array(0);

class File {
  readonly rig: Rig;
  readonly ino: number;

  constructor(rig: Rig, name = "f") {
    this.rig = rig;
    this.ino = rig.call((edit) => ext4Create(edit, INO_ROOT, bytesOf(name), { mode: S_IFREG | 0o644, uid: 0, gid: 0 }));
  }

  get at(): number {
    return inodeAt(this.rig.image, this.rig.sb, this.ino);
  }

  get block(): number {
    return inodeFileAcl(this.rig.sb, this.rig.image.view, this.at);
  }

  set(name: string, value: string, flags = 0): number {
    return this.rig.call((edit) => setXattr(edit, this.ino, name, bytesOf(value), flags));
  }

  remove(name: string): number {
    return this.rig.call((edit) => removeXattr(edit, this.ino, name));
  }

  get(name: string): string | number {
    const into = new Uint8Array(4096);
    const length = getXattr(this.rig.image, this.rig.sb, this.ino, name, into);
    return length < 0 ? length : textOf(into.subarray(0, length));
  }

  list(): string[] {
    const into = new Uint8Array(4096);
    return textOf(into.subarray(0, listXattr(this.rig.image, this.rig.sb, this.ino, into)))
      .split("\0")
      .slice(0, -1);
  }
}
const fileOn = (options: RigOptions = SMALL): File => new File(newRig(options));

describe("xattr_edit", () => {
  it("setXattr() ends as Linux does: EEXIST, ENODATA, EOPNOTSUPP, EINVAL, ERANGE, ENOSPC", () => {
    const file = fileOn();
    expect(file.set("user.a", "one", XATTR_REPLACE)).toBe(ENODATA);
    expect(file.set("user.a", "one", XATTR_CREATE)).toBe(0);
    expect(file.set("user.a", "two", XATTR_CREATE)).toBe(EEXIST);
    expect(file.set("user.a", "two", XATTR_REPLACE)).toBe(0);
    expect(file.get("user.a")).toBe("two");
    expect(file.get("user.b")).toBe(ENODATA);
    expect(file.remove("user.b")).toBe(ENODATA);
    expect(file.set("nobody.a", "")).toBe(EOPNOTSUPP);
    expect(file.set("system.data", "")).toBe(EOPNOTSUPP);
    expect(file.get("system.posix_acl_access")).toBe(EOPNOTSUPP);
    expect(file.set("user.", "")).toBe(EINVAL);
    expect(file.set(`user.${"n".repeat(250)}`, "")).toBe(0);
    expect(file.set(`user.${"n".repeat(251)}`, "")).toBe(ERANGE);
    expect(file.set("user.b", "v".repeat(1000))).toBe(ENOSPC);
    expect(getXattr(file.rig.image, file.rig.sb, file.ino, "user.a", new Uint8Array(2))).toBe(ERANGE);
    expect(getXattr(file.rig.image, file.rig.sb, file.ino, "user.a", NONE)).toBe(3);
    expect(listXattr(file.rig.image, file.rig.sb, file.ino, new Uint8Array(5))).toBe(ERANGE);
    expect(file.rig.damage()).toEqual([]);
  });

  it("a value moves between inode and block, and the block goes with its last attribute", () => {
    const file = fileOn();
    const free = inodeSectors(file.rig.sb, file.rig.image.view, file.at);
    expect(file.set("user.small", "in the inode")).toBe(0);
    expect(file.block).toBe(0);
    expect(file.set("user.large", "v".repeat(500))).toBe(0);
    const { block } = file;
    expect(block).toBeGreaterThan(0);
    expect(file.set("user.small", "w".repeat(300))).toBe(0);
    expect(file.list()).toEqual(["user.large", "user.small"]);
    expect(file.set("user.large", "back")).toBe(0);
    expect(file.list()).toEqual(["user.large", "user.small"]);
    expect(file.block).toBe(block);
    expect(file.rig.damage()).toEqual([]);
    expect(file.remove("user.small")).toBe(0);
    expect(file.block).toBe(0);
    expect(inodeSectors(file.rig.sb, file.rig.image.view, file.at)).toBe(free);
    expect(file.get("user.large")).toBe("back");
    expect(file.rig.damage()).toEqual([]);
    if (ext4Tools) expect(file.rig.fsck()).toBe("");
  });

  it("a block keeps its entries in Linux's order, and debugfs reads them", () => {
    const file = fileOn({ ...SMALL, inodeSize: 128, words: "^extra_isize" });
    for (const name of ["user.bb", "security.z", "user.a", "trusted.c", "user.aa"])
      expect(file.set(name, name)).toBe(0);
    expect(file.list()).toEqual(["user.a", "user.aa", "user.bb", "trusted.c", "security.z"]);
    expect(file.rig.damage()).toEqual([]);
    if (!ext4Tools) return;
    expect(file.rig.fsck()).toBe("");
    expect(file.rig.debugfs("ea_get -V f trusted.c").trim()).toBe("trusted.c");
  });

  it("a block that is shared is copied for who writes, and freed by the last one", () => {
    const one = fileOn({ ...SMALL, inodeSize: 128, words: "^extra_isize" });
    const { rig } = one;
    const other = new File(rig, "g");
    expect(one.set("user.a", "shared")).toBe(0);
    const { block } = one;
    // As Linux does it for equal content.
    rig.call(({ blocks, sb }) => {
      const at = editInode(rig.edit, other.ino);
      setLe32(blocks.view, at + INODE.i_file_acl_lo, block);
      setSectors(sb, blocks.view, at, sectorsIn(sb));
      sealInode(rig.edit, other.ino);
      const shared = blocks.writable(block);
      setLe32(blocks.view, shared + XATTR_HEADER.h_refcount, 2);
      setXattrBlockChecksum(sb, blocks.bytes, blocks.view, shared, block);
      return 0;
    });
    expect(rig.damage()).toEqual([]);
    expect(other.set("user.a", "mine")).toBe(0);
    expect(other.block).not.toBe(block);
    expect([one.get("user.a"), other.get("user.a")]).toEqual(["shared", "mine"]);
    expect(rig.damage()).toEqual([]);
    expect(rig.call((edit) => ext4Unlink(edit, INO_ROOT, bytesOf("f"), false))).toBe(0);
    expect(rig.edit.groups.isClusterFree(block)).toBe(true);
    expect(rig.damage()).toEqual([]);
    if (ext4Tools) expect(rig.fsck()).toBe("");
  });

  it("the first attribute marks the file system (ext_attr)", () => {
    const file = fileOn({ ...SMALL, words: "^ext_attr" });
    const marked = (): boolean => {
      const { image, sb } = file.rig;
      return (le32(image.view, image.at(sb.superBlock) + sb.superOffset + SB.s_feature_compat) & COMPAT.ext_attr) !== 0;
    };
    expect(marked()).toBe(false);
    expect(file.set("user.a", "")).toBe(0);
    expect(marked()).toBe(true);
    expect(file.get("user.a")).toBe("");
  });
});

import { fc } from "@fast-check/vitest";
import { describe, expect, it } from "vitest";
import { ENAMETOOLONG, ENOENT } from "../../../../kernel/abi/errno.ts";
import type { Edit } from "../../../../kernel/fs/ext4/edit.ts";
import { mapBlock, readLink } from "../../../../kernel/fs/ext4/file.ts";
import { inodeAt, inodeBlock } from "../../../../kernel/fs/ext4/group.ts";
import { isInline } from "../../../../kernel/fs/ext4/inline.ts";
import { inodeFileAcl, inodeType } from "../../../../kernel/fs/ext4/inode.ts";
import { editInode, getattr, sealInode, setTime, setattr } from "../../../../kernel/fs/ext4/inode_edit.ts";
import { INODE, INO_ROOT, S_IFDIR, S_IFLNK, S_IFREG } from "../../../../kernel/fs/ext4/layout.ts";
import { DX_HASH_TEA } from "../../../../kernel/fs/ext4/layout_dir.ts";
import {
  ext4Create,
  ext4Link,
  ext4Mkdir,
  ext4Rmdir,
  ext4Symlink,
  ext4Unlink,
} from "../../../../kernel/fs/ext4/namei.ts";
import { WHOLE, evictInode } from "../../../../kernel/fs/ext4/orphan_edit.ts";
import { parentOf } from "../../../../kernel/fs/ext4/path.ts";
import { ext4Rename } from "../../../../kernel/fs/ext4/rename.ts";
import { RENAME_EXCHANGE } from "../../../../kernel/fs/vfs/file_system.ts";
import type { NewNode, Stat } from "../../../../kernel/fs/vfs/file_system.ts";
import { ext4Tools } from "../../../harness/qemu/tools.ts";
import { MIB } from "./image_tools.ts";
import { newRig } from "./rig.ts";
import type { Rig, RigOptions } from "./rig.ts";
import { STEPS, apply, attempt, bytesOf, expectSame, newModel, textOf } from "./tree_model.ts";
import type { Step } from "./tree_model.ts";

const SEED = 20_261_128;
const which = fc.nat({ max: 9999 });
const steps = fc.array(
  fc.record({ do: fc.constantFrom(...STEPS), dir: which, to: which, name: which, newName: which, how: which }),
  { minLength: 20, maxLength: 60 },
);

/** A journal of 1 MiB is the least there can be. */
const SMALL = { sizeBytes: 4 * MIB, journalBytes: MIB };
const VARIANTS: readonly (readonly [title: string, options: RigOptions])[] = [
  ["4 KiB blocks", { sizeBytes: 16 * MIB, blockSize: 4096 }],
  ["1 KiB blocks, TEA", { ...SMALL, hash: DX_HASH_TEA }],
  ["inline data", { ...SMALL, words: "inline_data", inodeSize: 256 }],
  ["inline data in inodes of 512 bytes, no dir_index", { ...SMALL, words: "inline_data,^dir_index", inodeSize: 512 }],
  ["no checksums", { ...SMALL, words: "^metadata_csum" }],
  ["checksums of descriptors only", { ...SMALL, words: "^metadata_csum,uninit_bg" }],
  ["no dir_index", { ...SMALL, words: "^dir_index" }],
  ["orphan file", { ...SMALL, words: "orphan_file" }],
  [
    "inodes of 128 bytes, no filetype, no journal",
    { sizeBytes: 4 * MIB, words: "^filetype,^has_journal,^extra_isize", inodeSize: 128 },
  ],
  ["block maps", { ...SMALL, words: "^metadata_csum,^64bit,^extent" }],
  ["bigalloc", { ...SMALL, words: "bigalloc", clusterSize: 8192 }],
  ["few inodes, few blocks", { sizeBytes: MIB, inodes: 64, words: "^has_journal" }],
];

describe("names", () => {
  it.each(VARIANTS)("are what the model says after each step, and the checker is content: %s", (title, options) => {
    fc.assert(
      fc.property(steps, (list: readonly Step[]) => {
        const rig = newRig(options);
        const model = newModel(rig);
        for (const step of list) {
          apply(rig, model, step);
          expect(rig.damage()).toEqual([]);
        }
        expectSame(rig, model);
      }),
      { seed: SEED + title.length, numRuns: 8, endOnFailure: true },
    );
  });

  it.skipIf(!ext4Tools).each(VARIANTS)("leave an image that e2fsck is content with: %s", (_title, options) => {
    for (const list of fc.sample(steps, { seed: SEED, numRuns: 3 })) {
      const rig = newRig(options);
      const model = newModel(rig);
      for (const step of list) apply(rig, model, step);
      expect(rig.fsck()).toBe("");
    }
  });
});

/** Blocks of directories and attributes, and the blocks of the tables that hold the inodes. */
function metadataOf({ image, sb }: Rig, inodes: readonly number[]): number[] {
  const found = new Set<number>();
  const mapped = { pblk: 0, length: 0, unwritten: false };
  for (const ino of inodes) {
    const at = inodeAt(image, sb, ino);
    found.add(inodeBlock(image, sb, ino));
    if (inodeFileAcl(sb, image.view, at) > 0) found.add(inodeFileAcl(sb, image.view, at));
    if (inodeType(image.view, at) !== S_IFDIR || isInline(image.view, at)) continue;
    for (let n = 0; mapBlock(image, sb, at, n, mapped) === 0 && mapped.pblk > 0; n++) found.add(mapped.pblk);
  }
  return [...found];
}

describe("names of a damaged file system", () => {
  const spoil = fc.record({ block: which, offset: which, byte: fc.nat({ max: 255 }) });

  it.each(VARIANTS.slice(1, 6))("end with an errno at worst: %s", (title, options) => {
    fc.assert(
      fc.property(steps, fc.array(spoil, { minLength: 1, maxLength: 40 }), steps, (before, spoils, after) => {
        const rig = newRig(options);
        const model = newModel(rig);
        for (const step of before) apply(rig, model, step);
        const blocks = metadataOf(rig, [...model.keys()]);
        for (const { block, offset, byte } of spoils) {
          const at = rig.image.writable(blocks[block % blocks.length]!);
          // Heads of blocks and of inodes are where it matters.
          const place = offset % 2 === 0 ? offset % 300 : offset % rig.sb.blockSize;
          rig.image.bytes[at + place] = byte;
        }
        rig.image.settle();
        for (const step of after) attempt(rig, model, step);
      }),
      { seed: SEED + title.length, numRuns: 5, endOnFailure: true },
    );
  });
});

describe("namei", () => {
  const OWNER = { uid: 1, gid: 2 };
  const node = (mode: number): NewNode => ({ ...OWNER, mode });
  const stat = {} as Stat;
  const statOf = ({ image, sb }: Rig, ino: number): Stat => {
    expect(getattr(image, sb, ino, stat)).toBe(0);
    return { ...stat };
  };
  const past = { atime: [5, 0], mtime: [6, 0] } as const;
  const name = bytesOf("name");

  it("new inodes take the group of a directory with set-group-ID, directories the bit as well", () => {
    const rig = newRig(SMALL);
    const dir = rig.call((edit) => ext4Mkdir(edit, INO_ROOT, bytesOf("d"), node(S_IFDIR | 0o755)));
    rig.call((edit) => setattr(edit, dir, { mode: 0o2755, gid: 70_000 }));
    const file = rig.call((edit) => ext4Create(edit, dir, bytesOf("f"), node(S_IFREG | 0o644)));
    const inner = rig.call((edit) => ext4Mkdir(edit, dir, bytesOf("e"), node(S_IFDIR | 0o700)));
    const link = rig.call((edit) => ext4Symlink(edit, inner, bytesOf("l"), node(S_IFLNK | 0o777), bytesOf("/")));
    expect([file, inner, link].map((ino) => statOf(rig, ino).gid)).toEqual([70_000, 70_000, 70_000]);
    expect(statOf(rig, inner).mode).toBe(S_IFDIR | 0o2700);
    expect(statOf(rig, file).mode).toBe(S_IFREG | 0o644);
    expect(rig.damage()).toEqual([]);
  });

  it("times are Linux's: of a directory mtime and ctime, of what was linked, unlinked or renamed ctime", () => {
    const rig = newRig(SMALL);
    const [one, two] = ["one", "two"].map((text) =>
      rig.call((edit) => ext4Mkdir(edit, INO_ROOT, bytesOf(text), node(S_IFDIR | 0o755))),
    ) as [number, number];
    const file = rig.call((edit) => ext4Create(edit, one, name, node(S_IFREG | 0o644)));
    /** Names of the times that a call changed, of each inode. */
    const changed = (op: (edit: Edit) => number): string[] => {
      for (const ino of [one, two, file])
        rig.call((edit) => {
          setattr(edit, ino, past);
          const at = editInode(edit, ino);
          setTime(edit.sb, edit.blocks.view, at, INODE.i_ctime, INODE.i_ctime_extra, 7, 0);
          sealInode(edit, ino);
          return 0;
        });
      expect(rig.call(op)).toBeGreaterThanOrEqual(0);
      return [one, two, file].map((ino) => {
        const { atimeSec, mtimeSec, ctimeSec } = statOf(rig, ino);
        return [atimeSec !== 5 && "a", mtimeSec !== 6 && "m", ctimeSec !== 7 && "c"].filter(Boolean).join("");
      });
    };
    expect(changed((edit) => ext4Link(edit, file, two, name))).toEqual(["", "mc", "c"]);
    expect(changed((edit) => ext4Unlink(edit, two, name, false))).toEqual(["", "mc", "c"]);
    expect(changed((edit) => ext4Rename(edit, one, name, two, name, 0, false))).toEqual(["mc", "mc", "c"]);
    expect(changed((edit) => ext4Rename(edit, two, name, two, bytesOf("n"), 0, false))).toEqual(["", "mc", "c"]);
    expect(changed((edit) => ext4Create(edit, one, name, node(S_IFREG)))).toEqual(["mc", "", ""]);
    expect(changed((edit) => ext4Rename(edit, one, name, two, bytesOf("n"), RENAME_EXCHANGE, false))).toEqual([
      "mc",
      "mc",
      "c",
    ]);
    expect(changed((edit) => ext4Mkdir(edit, two, bytesOf("dir"), node(S_IFDIR)))).toEqual(["", "mc", ""]);
    expect(changed((edit) => ext4Rmdir(edit, two, bytesOf("dir"), false))).toEqual(["", "mc", ""]);
  });

  it("a directory that was removed and is held takes no names, and still says where it was", () => {
    const rig = newRig(SMALL);
    const dir = rig.call((edit) => ext4Mkdir(edit, INO_ROOT, bytesOf("d"), node(S_IFDIR)));
    expect(rig.call((edit) => ext4Rmdir(edit, INO_ROOT, bytesOf("d"), true))).toBe(dir);
    expect(rig.call((edit) => ext4Create(edit, dir, name, node(S_IFREG)))).toBe(ENOENT);
    expect(rig.call((edit) => ext4Rename(edit, INO_ROOT, bytesOf("lost+found"), dir, name, 0, false))).toBe(ENOENT);
    expect(parentOf(rig.image, rig.sb, dir)).toBe(INO_ROOT);
    expect(rig.call((edit) => Number(evictInode(edit, dir, WHOLE)))).toBe(1);
    expect(rig.damage()).toEqual([]);
  });

  it.each([1, 59, 60, 500, 1023])("a symbolic link of %i bytes is kept as Linux keeps it", (length) => {
    const rig = newRig(SMALL);
    const target = "t".repeat(length);
    const ino = rig.call((edit) => ext4Symlink(edit, INO_ROOT, name, node(S_IFLNK | 0o777), bytesOf(target)));
    const { size, sectors } = statOf(rig, ino);
    expect([size, sectors]).toEqual([length, length < 60 ? 0 : rig.sb.blockSize / 512]);
    expect(textOf(readLink(rig.image, rig.sb, inodeAt(rig.image, rig.sb, ino)) as Uint8Array)).toBe(target);
    expect(rig.damage()).toEqual([]);
    if (ext4Tools) expect(rig.fsck()).toBe("");
    const longer = bytesOf("t".repeat(rig.sb.blockSize));
    expect(rig.call((edit) => ext4Symlink(edit, INO_ROOT, bytesOf("l"), node(S_IFLNK), longer))).toBe(ENAMETOOLONG);
  });
});

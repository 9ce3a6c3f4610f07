/** Inodes on fresh file systems whose inode tables were never written: everything behind the first inodes is garbage. */
import { fc, test } from "@fast-check/vitest";
import { expect, it } from "vitest";
import { ENOSPC } from "../../../../kernel/abi/errno.ts";
import { Checker } from "../../../../kernel/fs/ext4/check.ts";
import { setGroupChecksum, setInodeChecksum } from "../../../../kernel/fs/ext4/csum.ts";
import { addName, removeName } from "../../../../kernel/fs/ext4/dir_replay.ts";
import { imageEdit } from "../../../../kernel/fs/ext4/edit.ts";
import type { Edit } from "../../../../kernel/fs/ext4/edit.ts";
import { descAt, gdFlags, gdInodeTable, groupOfInode, inodeAt, setGdFlags } from "../../../../kernel/fs/ext4/group.ts";
import { freeInode, INODE_CREDITS, newInode } from "../../../../kernel/fs/ext4/ialloc.ts";
import { inodeFlags, inodeLinks, inodeMode } from "../../../../kernel/fs/ext4/inode.ts";
import {
  BG_INODE_ZEROED,
  INO_ROOT,
  INODE,
  INODE_FLAG,
  S_IFBLK,
  S_IFDIR,
  S_IFIFO,
  S_IFREG,
} from "../../../../kernel/fs/ext4/layout.ts";
import { writableInode } from "../../../../kernel/fs/ext4/orphan.ts";
import { prng, next32 } from "../../../../kernel/lib/prng.ts";
import { ext4Tools } from "../../../harness/qemu/tools.ts";
import { CountingBlocks } from "./counting_blocks.ts";
import { features, fsck, made, MIB, settled } from "./image_tools.ts";

const SEED = 20_261_128;
const OWNER = { uid: 70_001, gid: 65_537 };

/** Inode tables that no mkfs zeroed, as with lazy_itable_init: garbage in every block without an inode in use. */
function soil(words: string, size = 4, blocksPerGroup = 512) {
  const { image, sb } = made({
    sizeBytes: size * MIB,
    blockSize: 1024,
    blocksPerGroup,
    inodes: 256,
    features: features(words),
  });
  const state = prng(SEED);
  for (let group = 0; group < sb.groups; group++) {
    const desc = descAt(image, sb, group);
    const table = gdInodeTable(sb, image.view, desc);
    const used = group === 0 ? Math.ceil(sb.firstIno / sb.inodesPerBlock) : 0;
    for (let n = used; n < sb.itableBlocks; n++) {
      const at = image.writable(table + n);
      for (let byte = 0; byte < sb.blockSize; byte += 4) image.view.setUint32(at + byte, next32(state));
    }
    setGdFlags(image.view, desc, gdFlags(image.view, desc) & ~BG_INODE_ZEROED);
    setGroupChecksum(sb, image.bytes, image.view, desc, group);
  }
  return { image, sb };
}

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("new" as const),
      type: fc.constantFrom(S_IFREG, S_IFIFO, S_IFBLK),
      count: fc.integer({ min: 1, max: 30 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("free" as const), which: fc.nat({ max: 999 }) }) },
);

const nameOf = (ino: number): Uint8Array => Uint8Array.from(`f${ino}`, (letter) => letter.charCodeAt(0));

test.prop(
  [
    fc.constantFrom("^filetype", "^filetype,^flex_bg", "^filetype,^metadata_csum,uninit_bg"),
    fc.array(step, { minLength: 1, maxLength: 25 }),
  ],
  { seed: SEED, numRuns: 25 },
)("newInode() and freeInode() hand each number out once, over tables of garbage (model: a set)", (words, steps) => {
  const { image, sb } = soil(`^has_journal,${words}`);
  const blocks = new CountingBlocks(image);
  const edit: Edit = imageEdit(blocks, sb, { sec: 2 ** 31 + 5, nsec: 7, below: (bound) => bound - 1 });
  const used = new Set<number>();
  const total = sb.inodesCount - sb.firstIno;
  for (const action of steps) {
    if (action.do === "free") {
      const ino = [...used][action.which % Math.max(1, used.size)];
      if (ino === undefined) continue;
      expect(removeName(image, sb, INO_ROOT, writableInode(image, sb, INO_ROOT), nameOf(ino), ino)).toBe(true);
      freeInode(edit, ino);
      const at = writableInode(image, sb, ino);
      image.view.setUint16(at + INODE.i_links_count, 0, true);
      image.view.setUint32(at + INODE.i_dtime, 1, true);
      setInodeChecksum(sb, image.bytes, image.view, at, ino);
      used.delete(ino);
      continue;
    }
    for (let n = 0; n < action.count; n++) {
      blocks.reset();
      const ino = newInode(edit, INO_ROOT, { mode: action.type | 0o640, ...OWNER, rdev: 300 * 2 ** 20 + 70_000 });
      edit.groups.finish();
      expect(blocks.changed.size).toBeLessThanOrEqual(INODE_CREDITS);
      if (used.size === total) {
        expect(ino).toBe(ENOSPC);
        break;
      }
      expect(ino).toBeGreaterThan(sb.firstIno);
      expect(used.has(ino)).toBe(false);
      used.add(ino);
      const at = inodeAt(image, sb, ino);
      expect([inodeMode(image.view, at), inodeLinks(image.view, at)]).toEqual([action.type | 0o640, 1]);
      // No room left in the root, with its one block: the name stays out, and so does the inode.
      if (addName(image, sb, INO_ROOT, writableInode(image, sb, INO_ROOT), nameOf(ino), ino, 0) !== 0) {
        freeInode(edit, ino);
        const gone = writableInode(image, sb, ino);
        image.bytes.fill(0, gone, gone + sb.inodeSize);
        used.delete(ino);
        break;
      }
    }
  }
  edit.groups.finish();
  expect(edit.groups.space!.freeInodes).toBe(total - used.size);
  settled(image, sb);
  expect(new Checker().run(image, sb).damage).toEqual([]);
});

it("newInode() leaves no garbage beside the first inode of a block that was never written", () => {
  const { image, sb } = soil("^has_journal,^flex_bg");
  const edit = imageEdit(image, sb);
  // The first inode of a block of the table, and so the only one in use there.
  let ino = newInode(edit, INO_ROOT, { mode: S_IFREG | 0o600, ...OWNER });
  while ((ino - 1) % sb.inodesPerBlock !== 0) ino = newInode(edit, INO_ROOT, { mode: S_IFREG | 0o600, ...OWNER });
  const at = inodeAt(image, sb, ino);
  const behind = image.bytes.subarray(at + sb.inodeSize, at + sb.blockSize);
  expect(behind.some((byte) => byte !== 0)).toBe(false);
});

it.skipIf(!ext4Tools)("newInode() writes records that e2fsck takes, over tables of garbage", () => {
  for (const words of ["^has_journal,^filetype", "^has_journal,^filetype,^metadata_csum,uninit_bg"]) {
    const { image, sb } = soil(words);
    const edit = imageEdit(image, sb, { sec: 1_700_000_000 });
    for (const type of [S_IFREG, S_IFIFO, S_IFBLK, S_IFREG, S_IFREG, S_IFREG]) {
      const ino = newInode(edit, INO_ROOT, { mode: type | 0o600, ...OWNER, rdev: 2 ** 20 + 3 });
      expect(addName(image, sb, INO_ROOT, writableInode(image, sb, INO_ROOT), nameOf(ino), ino, 0)).toBe(0);
    }
    edit.groups.finish();
    settled(image, sb);
    expect(fsck(image)).toBe("");
  }
});

it("newInode() puts directories of the root apart, those below by their parent, files in the directory's group", () => {
  const { image, sb } = made({
    sizeBytes: 32 * MIB,
    blockSize: 1024,
    blocksPerGroup: 1024,
    groupsPerFlex: 4,
    inodes: 2048,
    features: features("^has_journal"),
  });
  const state = prng(SEED);
  const edit = imageEdit(image, sb, { below: (bound) => next32(state) % bound });
  const flexOf = (ino: number): number => Math.floor(groupOfInode(sb, ino) / sb.groupsPerFlex);
  const node = { mode: S_IFDIR | 0o755, ...OWNER };
  const tops = Array.from({ length: 8 }, () => newInode(edit, INO_ROOT, node));
  // Of eight flex groups those with copies of the superblock have less room than the average, and get none.
  const counts = tops.map((top) => tops.filter((other) => flexOf(other) === flexOf(top)).length);
  expect(new Set(tops.map(flexOf)).size).toBeGreaterThanOrEqual(4);
  expect(Math.max(...counts)).toBeLessThanOrEqual(2);
  for (const top of tops) {
    const below = newInode(edit, top, node);
    expect(flexOf(below)).toBe(flexOf(top));
    expect(flexOf(newInode(edit, below, { mode: S_IFREG | 0o644, ...OWNER }))).toBe(flexOf(top));
  }
});

it("newInode() inherits the flags that suit the type", () => {
  const { image, sb } = made({ sizeBytes: 4 * MIB, blockSize: 1024, inodes: 64, features: features("^has_journal") });
  const edit = imageEdit(image, sb);
  const dir = newInode(edit, INO_ROOT, { mode: S_IFDIR | 0o755, ...OWNER });
  const [noatime, dirsync, immutable] = [0x80, 0x10000, INODE_FLAG.immutable];
  const at = writableInode(image, sb, dir);
  image.view.setUint32(
    at + INODE.i_flags,
    noatime | dirsync | immutable | INODE_FLAG.journal_data | INODE_FLAG.index,
    true,
  );
  const flagsOf = (type: number): number =>
    inodeFlags(image.view, inodeAt(image, sb, newInode(edit, dir, { mode: type | 0o600, ...OWNER })));
  expect(flagsOf(S_IFDIR)).toBe(noatime | dirsync | INODE_FLAG.journal_data | INODE_FLAG.extents);
  expect(flagsOf(S_IFREG)).toBe(noatime | INODE_FLAG.journal_data | INODE_FLAG.extents);
  expect(flagsOf(S_IFIFO)).toBe(noatime);
});

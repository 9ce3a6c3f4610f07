/** Recovery's truncation, which trusts nothing, and the one of a mounted file system leave the same on healthy files. */
import { fc, test } from "@fast-check/vitest";
import { expect } from "vitest";
import { Checker } from "../../../../kernel/fs/ext4/check.ts";
import { setInodeChecksum } from "../../../../kernel/fs/ext4/csum.ts";
import { addName } from "../../../../kernel/fs/ext4/dir_replay.ts";
import { imageEdit } from "../../../../kernel/fs/ext4/edit.ts";
import { walkMap } from "../../../../kernel/fs/ext4/file.ts";
import { inodeAt } from "../../../../kernel/fs/ext4/group.ts";
import { newInode } from "../../../../kernel/fs/ext4/ialloc.ts";
import { INO_ROOT, S_IFREG } from "../../../../kernel/fs/ext4/layout.ts";
import { mapCreate } from "../../../../kernel/fs/ext4/map_edit.ts";
import { writableInode } from "../../../../kernel/fs/ext4/orphan.ts";
import { truncateMap } from "../../../../kernel/fs/ext4/truncate.ts";
import { features, made, MIB, settled } from "./image_tools.ts";

const SEED = 20_261_128;

test.prop(
  [
    fc.constantFrom("none,filetype,sparse_super", "^has_journal"),
    fc.array(fc.integer({ min: 0, max: 70_000 }), { minLength: 1, maxLength: 20 }),
    fc.integer({ min: 0, max: 70_000 }),
  ],
  { seed: SEED, numRuns: 25 },
)("truncateMap() of recovery keeps what lies before, and frees the rest with its nodes", (words, places, from) => {
  const { image, sb } = made({ sizeBytes: 4 * MIB, blockSize: 1024, inodes: 64, features: features(words) });
  const edit = imageEdit(image, sb);
  const ino = newInode(edit, INO_ROOT, { mode: S_IFREG | 0o600, uid: 0, gid: 0 });
  expect(ino).toBeGreaterThan(0);
  const name = Uint8Array.of(0x66);
  expect(addName(image, sb, INO_ROOT, writableInode(image, sb, INO_ROOT), name, ino, 1)).toBe(0);
  const out = { pblk: 0, length: 0, unwritten: false, isNew: false };
  for (const lblk of places) expect(mapCreate(edit, ino, lblk, 1, 0, out)).toBe(0);
  edit.groups.finish();
  const contents = (): Buffer =>
    Buffer.concat(Array.from({ length: image.count }, (_, n) => image.bytes.subarray(image.at(n), image.at(n) + 1024)));
  const [before, mark] = [contents(), image.mark()];
  truncateMap(image, sb, edit.groups, ino, writableInode(image, sb, ino), from);
  edit.groups.finish();
  // A crash state is undone for the next one: nothing was written but in private copies.
  image.rollback(mark);
  expect(Buffer.compare(contents(), before)).toBe(0);
  const again = imageEdit(image, sb);
  const at = writableInode(image, sb, ino);
  truncateMap(image, sb, again.groups, ino, at, from);
  image.view.setUint32(at + 4, 80_000 * sb.blockSize, true);
  setInodeChecksum(sb, image.bytes, image.view, at, ino);
  again.groups.finish();
  settled(image, sb);
  expect(new Checker().run(image, sb).damage).toEqual([]);
  const left: number[] = [];
  walkMap(image, sb, inodeAt(image, sb, ino), {
    run: (lblk, _pblk, length) => {
      for (let n = 0; n < length; n++) left.push(lblk + n);
      return true;
    },
    node: () => true,
    mapDamage: (what) => expect.fail(what),
  });
  expect(left).toEqual([...new Set(places.filter((lblk) => lblk < from))].sort((a, b) => a - b));
});

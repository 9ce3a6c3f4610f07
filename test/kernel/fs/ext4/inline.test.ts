import { fc } from "@fast-check/vitest";
import { describe, expect, it } from "vitest";
import { ENOSPC } from "../../../../kernel/abi/errno.ts";
import { readFile } from "../../../../kernel/fs/ext4/file.ts";
import { inodeAt } from "../../../../kernel/fs/ext4/group.ts";
import {
  convertInline,
  inlineMost,
  inlineTruncate,
  inlineWrite,
  isInline,
  mayInline,
} from "../../../../kernel/fs/ext4/inline.ts";
import { inodeSizeBytes } from "../../../../kernel/fs/ext4/inode.ts";
import { INO_ROOT, S_IFDIR, S_IFREG } from "../../../../kernel/fs/ext4/layout.ts";
import { ext4Create, ext4Mkdir, ext4Unlink } from "../../../../kernel/fs/ext4/namei.ts";
import { setXattr } from "../../../../kernel/fs/ext4/xattr_edit.ts";
import { ext4Tools } from "../../../harness/qemu/tools.ts";
import { MIB } from "./image_tools.ts";
import { newRig } from "./rig.ts";
import type { Rig } from "./rig.ts";
import { bytesOf, textOf } from "./tree_model.ts";

const SEED = 20_261_128;
const OWNER = { uid: 0, gid: 0 };
const options = (inodeSize: number): Parameters<typeof newRig>[0] => ({
  sizeBytes: 4 * MIB,
  journalBytes: MIB,
  words: "inline_data",
  inodeSize,
});

const create = (rig: Rig, name: string): number =>
  rig.call((edit) => ext4Create(edit, INO_ROOT, bytesOf(name), { ...OWNER, mode: S_IFREG | 0o644 }));

function contentOf({ image, sb }: Rig, ino: number): string {
  const at = inodeAt(image, sb, ino);
  const into = new Uint8Array(inodeSizeBytes(sb, image.view, at));
  expect(readFile(image, sb, at, 0, into)).toBe(into.length);
  return textOf(into);
}

const inlineNow = ({ image, sb }: Rig, ino: number): boolean => isInline(image.view, inodeAt(image, sb, ino));

describe("inline data", () => {
  const step = fc.record({
    do: fc.constantFrom("write" as const, "truncate" as const, "attribute" as const, "convert" as const),
    offset: fc.nat({ max: 180 }),
    length: fc.integer({ min: 1, max: 120 }),
  });

  it.each([256, 512])("a file in an inode of %i bytes is what was written, until it is converted", (inodeSize) => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
        const rig = newRig(options(inodeSize));
        const ino = create(rig, "f");
        let model = "";
        for (const [n, { do: what, offset, length }] of steps.entries()) {
          const most = inlineMost(rig.image, rig.sb, inodeAt(rig.image, rig.sb, ino));
          const text = String.fromCharCode(97 + (n % 26)).repeat(length);
          if (what === "write") {
            const result = rig.call((edit) => inlineWrite(edit, ino, offset, bytesOf(text)));
            expect(result).toBe(offset + length > most ? ENOSPC : 0);
            if (result === 0) model = model.padEnd(offset, "\0").slice(0, offset) + text + model.slice(offset + length);
          } else if (what === "truncate" && inlineNow(rig, ino)) {
            const result = rig.call((edit) => inlineTruncate(edit, ino, offset));
            expect(result).toBe(offset > most ? ENOSPC : 0);
            if (result === 0) model = model.slice(0, offset).padEnd(offset, "\0");
          } else if (what === "attribute") {
            const result = rig.call((edit) => setXattr(edit, ino, `user.${n % 3}`, bytesOf(text), 0));
            expect(result === 0 || result === ENOSPC).toBe(true);
          } else if (what === "convert" && n === steps.length - 1 && inlineNow(rig, ino)) {
            expect(rig.call((edit) => convertInline(edit, ino))).toBe(0);
            expect(inlineNow(rig, ino)).toBe(false);
          }
          expect(contentOf(rig, ino)).toBe(model);
          expect(rig.damage()).toEqual([]);
        }
      }),
      { seed: SEED, numRuns: 40, endOnFailure: true },
    );
  });

  it("inlineMost() is Linux's number: 60 bytes, and what the inode has left", () => {
    const rig = newRig(options(256));
    const ino = create(rig, "f");
    const at = inodeAt(rig.image, rig.sb, ino);
    expect(mayInline(rig.image, rig.sb, at)).toBe(true);
    // 128 bytes of an inode of 256: 32 of i_extra_isize, magic, entry of 20, 4 zeroes, and 68.
    expect(inlineMost(rig.image, rig.sb, at)).toBe(60 + 68);
    expect(rig.call((edit) => setXattr(edit, ino, "user.a", bytesOf("v".repeat(20)), 0))).toBe(0);
    expect(inlineMost(rig.image, rig.sb, inodeAt(rig.image, rig.sb, ino))).toBe(60 + 68 - 20 - 20);
    const none = newRig({ ...options(128), words: "^extra_isize" });
    expect(mayInline(none.image, none.sb, inodeAt(none.image, none.sb, create(none, "f")))).toBe(false);
  });

  it.skipIf(!ext4Tools)("e2fsck is content with files and directories inline, grown, shrunk, converted", () => {
    const rig = newRig(options(256));
    for (let n = 0; n < 8; n++) {
      const ino = create(rig, `f${n}`);
      expect(rig.call((edit) => inlineWrite(edit, ino, 0, bytesOf("x".repeat(16 * n + 1))))).toBe(0);
      if (n % 4 === 3) expect(rig.call((edit) => inlineTruncate(edit, ino, 5 * n))).toBe(0);
      if (n % 4 === 2) expect(rig.call((edit) => convertInline(edit, ino))).toBe(0);
    }
    const dirs = [0, 1, 2].map((n) =>
      rig.call((edit) => ext4Mkdir(edit, INO_ROOT, bytesOf(`d${n}`), { ...OWNER, mode: S_IFDIR | 0o755 })),
    );
    for (const [n, dir] of dirs.entries())
      for (let k = 0; k < 5 * n; k++)
        expect(
          rig.call((edit) => ext4Create(edit, dir, bytesOf(`name ${k}`), { ...OWNER, mode: S_IFREG | 0o644 })),
        ).toBeGreaterThan(0);
    expect(dirs.map((dir) => inlineNow(rig, dir))).toEqual([true, true, false]);
    expect(rig.damage()).toEqual([]);
    expect(rig.fsck()).toBe("");
    expect(rig.debugfs("cat f5")).toBe("x".repeat(81));
    expect(rig.debugfs("ls d1")).toContain("name 4");
    expect(rig.call((edit) => ext4Unlink(edit, INO_ROOT, bytesOf("f5"), false))).toBe(0);
    expect(rig.fsck()).toBe("");
  });
});

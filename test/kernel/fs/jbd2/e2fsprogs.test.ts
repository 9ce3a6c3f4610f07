/** What e2fsprogs makes of journals that we wrote, on images that it made. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SimDisk } from "../../../../drivers/index.ts";
import { findProgram } from "../../../../harness/tools.js";
import { BlockImage, imageBuffer } from "../../../../kernel/fs/block_image.ts";
import { isRefusal, readSuper } from "../../../../kernel/fs/ext4/super.ts";
import { setSuperChecksum } from "../../../../kernel/fs/ext4/csum.ts";
import { INCOMPAT, SB } from "../../../../kernel/fs/ext4/layout.ts";
import { journalMap } from "../../../../kernel/fs/ext4/recover.ts";
import { openJbd2 } from "../../../../kernel/fs/jbd2/jbd2.ts";
import type { Jbd2 } from "../../../../kernel/fs/jbd2/jbd2.ts";
import { le32, setLe32 } from "../../../../kernel/lib/bytes.ts";
import { growingArena } from "../../../../kernel/lib/growing_arena.ts";
import { ext4Tools } from "../../../harness/qemu/tools.ts";

const SUPER_AT = 1024;

let folder = "";
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), "orrery-e2fs-"))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const tool = (name: string, ...args: string[]): { status: number | null; text: string } => {
  const run = spawnSync(findProgram(name)!, args, { encoding: "utf8" });
  return { status: run.status, text: run.stdout + run.stderr };
};

interface Mounted {
  readonly disk: SimDisk;
  readonly jbd2: Jbd2;
  /** Blocks that nothing of the file system uses. */
  readonly spare: number;
  readonly blockSize: number;
}

/** A file system of mke2fs, marked as one that is mounted, with our journal on it. */
function mount(path: string, features: string, blockSize: number, csum: 0 | 1 | 2 | 3, wide: boolean): Mounted {
  const made = tool("mkfs.ext4", "-q", "-F", "-b", String(blockSize), "-O", features, "-J", "size=4", path, "24M");
  expect(made.status, made.text).toBe(0);
  const bytes = new Uint8Array(readFileSync(path));
  const view = new DataView(bytes.buffer);
  const sb = readSuper(view, SUPER_AT, bytes.length);
  if (isRefusal(sb)) throw new Error(sb.reason);
  setLe32(
    view,
    SUPER_AT + SB.s_feature_incompat,
    le32(view, SUPER_AT + SB.s_feature_incompat) | INCOMPAT.needs_recovery,
  );
  setSuperChecksum(sb, bytes, view, SUPER_AT);
  const buffer = imageBuffer(bytes.length);
  buffer.set(bytes);
  const map = journalMap(new BlockImage(buffer, blockSize, sb.blocksCount), sb);
  if (!(map instanceof Int32Array)) throw new Error(map.reason);
  const disk = new SimDisk({ sectors: bytes.length / 512, image: bytes, atomicBytes: 512 });
  const superblock = bytes.slice(map[0]! * blockSize, (map[0]! + 1) * blockSize);
  const jbd2 = openJbd2({
    device: disk,
    memory: growingArena(),
    blockSize,
    count: sb.blocksCount,
    slots: 2048,
    log: { superblock, map },
    features: { csum, wide },
    epochSec: 1_790_000_000,
  });
  if ("reason" in jbd2) throw new Error(jbd2.reason);
  jbd2.reset();
  return { disk, jbd2, spare: sb.blocksCount - 300, blockSize };
}

const settle = (jbd2: Jbd2): void => {
  while (jbd2.step());
};

/** Changes blocks as one committed transaction; a value begins with the magic. */
function transaction(
  { jbd2, spare, blockSize }: Mounted,
  blocks: number,
  value: number,
  forget: readonly number[],
): number {
  const { buffers } = jbd2;
  expect(jbd2.begin(blocks)).toBe(0);
  for (let n = 0; n < blocks; n++) {
    const at = buffers.fresh(spare + n);
    buffers.bytes.fill(value, at, at + blockSize);
    if (n % 2 === 0) buffers.view.setUint32(at, 0xc03b3998);
  }
  for (const n of forget) buffers.forget(spare + n);
  const { tid } = jbd2;
  jbd2.merge();
  jbd2.requestCommit(tid);
  settle(jbd2);
  expect(jbd2.committed(tid)).toBe(true);
  return tid;
}

const FORMS = [
  ["metadata_csum,64bit", 1024, 3, true],
  ["metadata_csum,64bit", 4096, 3, true],
  ["metadata_csum,^64bit", 1024, 2, false],
  ["^metadata_csum,64bit", 1024, 1, true],
  ["^metadata_csum,64bit", 4096, 2, true],
  ["^metadata_csum,^64bit", 1024, 0, false],
] as const;

describe.skipIf(!ext4Tools)("journals that we wrote (skipped without e2fsprogs)", () => {
  it.each(FORMS)(
    "are replayed by e2fsck and listed by debugfs: %s, blocks of %i, csum v%i, 64bit %s",
    (features, size, csum, wide) => {
      const path = join(folder, `${features}-${size}-${csum}.img`);
      const mounted = mount(path, features, size, csum, wide);
      const first = transaction(mounted, 150, 0x11, []);
      const second = transaction(mounted, 20, 0x22, [3, 5]);
      const third = transaction(mounted, 2, 0x33, [150 - 1]);
      expect([second, third]).toEqual([first + 1, first + 2]);
      // What is cut off: everything that was called committed is durable.
      const image = mounted.disk.cache!.crash(() => false);
      writeFileSync(path, image);
      const log = tool("debugfs", "-R", "logdump -a", path).text;
      for (const tid of [first, second, third])
        expect(log).toMatch(new RegExp(`Found expected sequence ${tid}, type 2 \\(commit block\\)`));
      expect(log).toMatch(new RegExp(`Found expected sequence ${second}, type 5 \\(revoke table\\)`));
      expect(log).not.toMatch(/checksum|CSUM|corrupt/i);
      const replay = tool("e2fsck", "-y", "-E", "journal_only", path);
      expect(replay.text).toMatch(/recovering journal/);
      expect(replay.text).not.toMatch(/corrupt|checksum|invalid/i);
      const after = readFileSync(path);
      const byte = (n: number): number => after[(mounted.spare + n) * size + 100]!;
      // Forgotten in the second and third: not replayed from the first.
      expect([0, 1, 2, 3, 4, 5, 19, 20, 148, 149].map(byte)).toEqual([
        0x33, 0x33, 0x22, 0, 0x22, 0, 0x22, 0x11, 0x11, 0,
      ]);
      expect(after.readUInt32BE((mounted.spare + 2) * size)).toBe(0xc03b3998);
      const check = tool("e2fsck", "-fn", path);
      expect(check.status, check.text).toBe(0);
    },
  );

  it("are empty after empty(): e2fsck has nothing to replay, and the next mount goes on", () => {
    const path = join(folder, "empty.img");
    const mounted = mount(path, "metadata_csum,64bit", 1024, 3, true);
    for (let n = 0; n < 60; n++) transaction(mounted, 60, n, []);
    while (mounted.jbd2.empty() !== 0) mounted.jbd2.step();
    const image = mounted.disk.cache!.crash(() => false);
    writeFileSync(path, image);
    expect(tool("debugfs", "-R", "logdump", path).text).toMatch(/Journal starts at block 0/);
    tool("e2fsck", "-y", "-E", "journal_only", path);
    const check = tool("e2fsck", "-fn", path);
    expect(check.status, check.text).toBe(0);
    expect(readFileSync(path)[mounted.spare * 1024 + 100]).toBe(59);
  });
});

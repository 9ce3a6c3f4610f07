/** What a mounted ext4 owes beside holding bytes: limits, errors, direct writes, holes, open files without a name. */
import { describe, expect, it } from "vitest";
import {
  EFBIG,
  EFSCORRUPTED,
  EINVAL,
  EIO,
  EIOCBQUEUED,
  ENOSPC,
  ENXIO,
  EPERM,
  EROFS,
} from "../../../../kernel/abi/errno.ts";
import { nanos } from "../../../../kernel/abi/units.ts";
import { type BareFs, bareFs } from "../../../../kernel/fs/bare_fs.ts";
import { runCall } from "../../../../kernel/fs/ext4/call.ts";
import { setSuperChecksum } from "../../../../kernel/fs/ext4/csum.ts";
import { editInode, sealInode } from "../../../../kernel/fs/ext4/inode_edit.ts";
import { INCOMPAT, INODE, INODE_FLAG, RO_COMPAT, SB } from "../../../../kernel/fs/ext4/layout.ts";
import { MOUNT_DEFAULTS, mountOptions } from "../../../../kernel/fs/ext4/mount_options.ts";
import { isRefusal, readSuper } from "../../../../kernel/fs/ext4/super.ts";
import { FALLOC_KEEP_SIZE, IO_APPEND, IO_DIRECT, type StatFs } from "../../../../kernel/fs/vfs/file_system.ts";
import { SimDisk } from "../../../../drivers/index.ts";
import { features, MIB } from "./image_tools.ts";
import {
  bytesOf,
  call,
  contentOf,
  damageOf,
  emptyImage,
  mounted,
  type MountedRig,
  pattern,
  statOf,
} from "./mounted_rig.ts";

const FILE = { mode: 0o100644, uid: 0, gid: 0 };

const create = (bare: BareFs, name: string): number => {
  const ino = bare.run(() => bare.fs.create(2, bytesOf(name), FILE));
  expect(ino).toBeGreaterThan(10);
  return ino;
};
const write = (bare: BareFs, ino: number, at: number, data: Uint8Array, how = 0): number => {
  let done = 0;
  while (done < data.length) {
    const from = done;
    const wrote = bare.run(() => bare.fs.write(ino, at + from, data.subarray(from), how));
    if (wrote < 0) return wrote;
    done += wrote;
  }
  return done;
};
const read = (bare: BareFs, ino: number): Uint8Array =>
  contentOf({ fs: bare.fs, run: (one) => bare.run(one) }, ino, statOf(bare, ino).size);
const fsync = (bare: BareFs, ino: number, dataOnly = false): number => {
  const words = call();
  return bare.run(() => bare.fs.fsync(ino, dataOnly, words));
};
const truncate = (bare: BareFs, ino: number, size: number): number => {
  const words = call();
  return bare.run(() => bare.fs.truncate(ino, size, words));
};
const statfs = (bare: BareFs): StatFs => {
  const out = {} as StatFs;
  expect(bare.run(() => bare.fs.statfs(out))).toBe(0);
  return out;
};
const clean = ({ bare, disk }: MountedRig): void => {
  expect(bare.unmount()).toBe(0);
  expect(damageOf(disk.image)).toEqual([]);
};

describe("space", () => {
  it("ENOSPC comes from write(), before anything changed, and what was promised is written", () => {
    const rig = mounted({ sizeBytes: 4 * MIB });
    const { bare } = rig;
    const ino = create(bare, "f");
    const { blocksAvailable, blockSize } = statfs(bare);
    const data = pattern(1, (blocksAvailable + 400) * blockSize);
    let done = 0;
    let last = 1;
    while (last > 0) {
      last = bare.run(() => bare.fs.write(ino, done, data.subarray(done), 0));
      if (last > 0) done += last;
    }
    expect(last).toBe(ENOSPC);
    expect(statOf(bare, ino).size).toBe(done);
    expect(fsync(bare, ino)).toBe(0);
    expect(Buffer.compare(read(bare, ino), data.subarray(0, done))).toBe(0);
    expect(truncate(bare, ino, 0)).toBe(0);
    expect(write(bare, ino, 0, data.subarray(0, done / 2))).toBe(Math.ceil(done / 2));
    clean(rig);
  });

  it("delayed blocks count as used before they have a place", () => {
    const rig = mounted();
    const { bare } = rig;
    const ino = create(bare, "f");
    const before = statfs(bare).blocksFree;
    write(bare, ino, 0, pattern(1, 10_000));
    expect([statOf(bare, ino).sectors, statfs(bare).blocksFree]).toEqual([20, before - 10]);
    expect(bare.fs.fs.space.reservedClusters).toBe(10);
    fsync(bare, ino);
    expect([statOf(bare, ino).sectors, statfs(bare).blocksFree]).toEqual([20, before - 10]);
    expect(bare.fs.fs.space.reservedClusters).toBe(0);
    // What was never written back needs no place at all.
    write(bare, ino, 100_000, pattern(2, 5000));
    expect(bare.fs.fs.space.reservedClusters).toBeGreaterThan(0);
    truncate(bare, ino, 10_000);
    expect(bare.fs.fs.space.reservedClusters).toBe(0);
    clean(rig);
  });

  it("a file without a name lives while it is held, is an orphan after a crash, and then gone", () => {
    const rig = mounted({ slow: true });
    const { bare, disk } = rig;
    const before = statfs(bare).blocksFree;
    const ino = create(bare, "f");
    bare.fs.hold(ino);
    bare.fs.hold(ino);
    write(bare, ino, 0, pattern(1, 300_000));
    expect(bare.run(() => bare.fs.unlink(2, bytesOf("f")))).toBe(0);
    expect(bare.sync()).toBe(0);
    expect([statOf(bare, ino).links, Buffer.compare(read(bare, ino), pattern(1, 300_000))]).toEqual([0, 0]);
    const after = mounted({ image: disk.crash(() => false) });
    expect(statfs(after.bare).blocksFree).toBe(before);
    clean(after);
    expect([bare.fs.release(ino), statfs(bare).blocksFree < before]).toEqual([0, true]);
    expect([bare.fs.release(ino), bare.sync()]).toEqual([0, 0]);
    while (bare.fs.step());
    clean(rig);
    expect(bare.fs.fs.space.freeClusters).toBe(before);
  });

  it("a file in thousands of pieces is cut off in steps, and what its caller gave up is carried on", () => {
    const rig = mounted({ buffers: 400, slow: true });
    const { bare } = rig;
    const ino = create(bare, "f");
    for (let n = 0; n < 3000; n++) write(bare, ino, n * 2048, Uint8Array.of(1 + (n % 200)));
    expect(bare.sync()).toBe(0);
    // Its map is not in memory any more, nor anything else.
    for (let n = 0; n < 400; n++) create(bare, `other${n}`);
    expect(bare.sync()).toBe(0);
    // The caller comes until the new size is there, and never again.
    const words = call();
    while (words[0] === 0) {
      expect([0, EIOCBQUEUED]).toContain(bare.fs.truncate(ino, 5000, words));
      if (!bare.fs.step())
        rig.clock.now = Math.max(rig.clock.now + 1, Math.min(rig.disk.nextAtNs, rig.clock.now + 1e9));
    }
    expect(statOf(bare, ino).size).toBe(5000);
    expect(write(bare, ino, 6000, bytesOf("behind"))).toBe(6);
    const want = new Uint8Array(6006);
    for (let n = 0; n < 3; n++) want[n * 2048] = 1 + n;
    want.set(bytesOf("behind"), 6000);
    expect(Buffer.compare(read(bare, ino), want)).toBe(0);
    expect(statOf(bare, ino).sectors).toBeLessThan(20);
    clean(rig);
  });
});

it("a directory that was synced shows its size when it grows", () => {
  const { bare } = mounted();
  expect([fsync(bare, 2), statOf(bare, 2).size]).toEqual([0, 1024]);
  for (let n = 0; n < 60; n++) create(bare, `a name of some length ${n}`);
  expect(statOf(bare, 2).size).toBeGreaterThan(1024);
  expect(fsync(bare, 2)).toBe(0);
});

describe("limits", () => {
  it("EFBIG at the end of what a map can hold; fewer bytes before it", () => {
    const { bare } = mounted({ blockSize: 4096, sizeBytes: 16 * MIB });
    const ino = create(bare, "f");
    const most = (2 ** 32 - 1) * 4096;
    const at = (offset: number): number => bare.run(() => bare.fs.write(ino, offset, bytesOf("abc"), 0));
    expect([at(most), at(most + 5), at(most - 2)]).toEqual([EFBIG, EFBIG, 2]);
    expect([truncate(bare, ino, most + 1), truncate(bare, ino, most)]).toEqual([EFBIG, 0]);
    expect(statOf(bare, ino).size).toBe(most);
  });

  it("immutable and append-only files", () => {
    const { bare } = mounted();
    const ino = create(bare, "f");
    write(bare, ino, 0, bytesOf("old"));
    const setFlag = (flag: number): void => {
      const { fs } = bare.fs;
      const done = runCall(fs, 1, (edit) => {
        const at = editInode(edit, ino);
        const flags = edit.blocks.view.getUint32(at + INODE.i_flags, true);
        edit.blocks.view.setUint32(at + INODE.i_flags, (flags & INODE_FLAG.extents) | flag, true);
        sealInode(edit, ino);
        return 0;
      });
      expect(done).toBe(0);
    };
    setFlag(INODE_FLAG.append);
    expect([write(bare, ino, 0, bytesOf("new")), truncate(bare, ino, 1)]).toEqual([EPERM, EPERM]);
    expect(write(bare, ino, 0, bytesOf(" new"), IO_APPEND)).toBe(4);
    setFlag(INODE_FLAG.immutable);
    expect([write(bare, ino, 0, bytesOf("x"), IO_APPEND), truncate(bare, ino, 1)]).toEqual([EPERM, EPERM]);
    expect(read(bare, ino)).toEqual(bytesOf("old new"));
  });
});

describe("holes", () => {
  it("SEEK_DATA and SEEK_HOLE see delayed, written and unwritten blocks", () => {
    const { bare } = mounted();
    const ino = create(bare, "f");
    const seek = (offset: number, hole: boolean): number => bare.run(() => bare.fs.seek(ino, offset, hole));
    write(bare, ino, 10 * 1024, pattern(1, 1024));
    const look = (): number[] => [seek(0, false), seek(10 * 1024, true), seek(0, true), seek(11 * 1024, false)];
    truncate(bare, ino, 64 * 1024);
    expect(look()).toEqual([10 * 1024, 11 * 1024, 0, ENXIO]);
    fsync(bare, ino);
    expect(look()).toEqual([10 * 1024, 11 * 1024, 0, ENXIO]);
    const words = call();
    expect(bare.run(() => bare.fs.fallocate(ino, FALLOC_KEEP_SIZE, 20 * 1024, 8 * 1024, words))).toBe(0);
    expect(seek(11 * 1024, false)).toBe(ENXIO);
    write(bare, ino, 22 * 1024, pattern(2, 100));
    expect([seek(11 * 1024, false), seek(22 * 1024, true), seek(64 * 1024, true)]).toEqual([
      22 * 1024,
      23 * 1024,
      ENXIO,
    ]);
  });
});

describe("O_DIRECT", () => {
  it.each([false, true])(
    "is aligned, on the disk when it ends, and agrees with the page cache (slow disk: %s)",
    (slow) => {
      const rig = mounted({ slow });
      const { bare, disk } = rig;
      const ino = create(bare, "f");
      const direct = (at: number, data: Uint8Array, how = 0): number =>
        bare.run(() => bare.fs.write(ino, at, data, IO_DIRECT | how));
      expect([direct(100, new Uint8Array(512)), direct(512, new Uint8Array(100))]).toEqual([EINVAL, EINVAL]);
      write(bare, ino, 0, pattern(1, 20_480));
      const data = pattern(2, 4096);
      expect(direct(1024, data)).toBe(4096);
      expect(
        disk.image.indexOf(data[0]!) >= 0 && Buffer.from(disk.image).includes(Buffer.from(data.subarray(0, 1024))),
      ).toBe(true);
      const want = pattern(1, 20_480);
      want.set(data, 1024);
      expect(Buffer.compare(read(bare, ino), want)).toBe(0);
      write(bare, ino, 3000, pattern(3, 10));
      const into = new Uint8Array(1024);
      expect(bare.run(() => bare.fs.read(ino, 2560, into, IO_DIRECT))).toBe(1024);
      expect(into.subarray(440, 450)).toEqual(pattern(3, 10));
      expect(bare.run(() => bare.fs.read(ino, 1, into, IO_DIRECT))).toBe(EINVAL);
      expect(direct(0, pattern(4, 512), IO_APPEND)).toBe(512);
      expect(direct(0, pattern(4, 512), IO_APPEND)).toBe(512);
      expect(statOf(bare, ino).size).toBe(21_504);
      clean(rig);
    },
  );
});

describe("errors", () => {
  it("a write that the disk failed is told by one fsync", () => {
    const { bare } = mounted({
      blockSize: 4096,
      sizeBytes: 16 * MIB,
      faults: [{ kind: "eio-write", from: 20_000, to: 32_000, times: 1 }],
    });
    const ino = create(bare, "f");
    // So much that some of it comes to lie in the last third of the disk.
    write(bare, ino, 0, pattern(1, 9 * MIB));
    expect([fsync(bare, ino), fsync(bare, ino)]).toEqual([EIO, 0]);
  });

  it("a journal that cannot be written makes the file system read-only", () => {
    const rig = mounted({ faults: [{ kind: "eio-write", after: 3 }] });
    const { bare } = rig;
    create(bare, "f");
    expect(bare.sync()).toBe(EIO);
    expect(bare.run(() => bare.fs.create(2, bytesOf("g"), FILE))).toBe(EROFS);
    expect([bare.fs.readOnly, bare.unmount()]).toEqual([true, EIO]);
  });

  it.each(["continue", "remount-ro", "panic"] as const)("errors=%s: damage is counted, and acted on", (how) => {
    const rig = mounted({ mount: `errors=${how}` });
    const { bare, disk } = rig;
    const ino = create(bare, "f");
    write(bare, ino, 0, pattern(1, 3000));
    expect(bare.sync()).toBe(0);
    const done = runCall(bare.fs.fs, 1, (edit) => {
      edit.blocks.view.setUint16(editInode(edit, ino) + INODE.i_block, 0x1234, true);
      sealInode(edit, ino);
      return 0;
    });
    expect(done).toBe(0);
    const { fs } = bare.fs;
    fs.cache.invalidate(fs.inodes.mapping[fs.inodes.find(ino)]! as never, 0, 10);
    expect(bare.run(() => bare.fs.read(ino, 0, new Uint8Array(10), 0))).toBe(EFSCORRUPTED);
    const made = bare.run(() => bare.fs.create(2, bytesOf("g"), FILE));
    expect([made > 0 ? "made" : made, bare.fs.panicked]).toEqual([
      how === "continue" ? "made" : EROFS,
      how === "panic",
    ]);
    while (bare.fs.step());
    bare.unmount();
    const at = new DataView(disk.image.buffer, 1024);
    expect(at.getUint32(SB.s_error_count, true)).toBeGreaterThan(0);
    expect(at.getUint16(SB.s_state, true) & 2).toBe(2);
    expect(at.getUint8(SB.s_last_error_errcode)).toBe(5);
    const sb = readSuper(at, 0, disk.image.length);
    expect(isRefusal(sb)).toBe(false);
  });
});

const setBits = (field: number, bits: number) => (view: DataView) =>
  view.setUint32(field, view.getUint32(field, true) | bits, true);

const attempt = (change: (view: DataView) => void, mount = "", seal = true): BareFs | string => {
  const image = emptyImage({});
  const view = new DataView(image.buffer, 1024, 1024);
  change(view);
  if (seal) setSuperChecksum({ metadataCsum: true } as never, image, new DataView(image.buffer), 1024);
  const options = mountOptions(mount);
  if (typeof options === "string") return options;
  const bare = bareFs({
    device: new SimDisk({ sectors: image.length / 512, image }),
    mount: options,
    now: () => nanos(0),
  });
  return isRefusal(bare) ? bare.reason : bare;
};

describe("mount", () => {
  it("refuses what it does not know, in one line that says what", () => {
    expect(attempt(setBits(SB.s_feature_incompat, INCOMPAT.encrypt))).toContain("encrypt");
    expect(attempt(setBits(SB.s_feature_incompat, INCOMPAT.mmp))).toContain("mmp");
    expect(attempt((view) => view.setUint32(SB.s_mtime, 77, true), "", false)).toContain("checksum of the superblock");
    expect(attempt(() => {}, "journal_async_commit")).toContain("journal_async_commit");
    expect(attempt(() => {}, "data=some")).toContain('"data=some" is not known');
    const large = mounted;
    expect(() => large({ blockSize: 8192, sizeBytes: 64 * MIB })).toThrow("larger than a page");
    expect(() => large({ features: features("^has_journal"), mount: "data=journal" })).toThrow("needs a journal");
  });

  it("goes read-only for a ro_compat feature that it does not know, and with ro", () => {
    for (const bare of [attempt(setBits(SB.s_feature_ro_compat, RO_COMPAT.quota)), attempt(() => {}, "ro")]) {
      if (typeof bare === "string") throw new Error(bare);
      expect([bare.fs.readOnly, bare.run(() => bare.fs.create(2, bytesOf("f"), FILE))]).toEqual([true, EROFS]);
      expect(bare.unmount()).toBe(0);
    }
  });

  it("says that it is mounted while it is, and counts mounts", () => {
    const { bare, disk } = mounted({ features: features("orphan_file") });
    const view = new DataView(disk.image.buffer, 1024);
    const word = (field: number): number => view.getUint32(field, true);
    expect(word(SB.s_feature_incompat) & INCOMPAT.needs_recovery).not.toBe(0);
    expect(word(SB.s_feature_ro_compat) & RO_COMPAT.orphan_present).not.toBe(0);
    expect(view.getUint16(SB.s_mnt_count, true)).toBe(1);
    create(bare, "f");
    expect(bare.unmount()).toBe(0);
    expect(word(SB.s_feature_incompat) & INCOMPAT.needs_recovery).toBe(0);
    expect(word(SB.s_feature_ro_compat) & RO_COMPAT.orphan_present).toBe(0);
    expect(word(SB.s_free_inodes_count)).toBe(bare.fs.fs.space.freeInodes);
    expect(damageOf(disk.image, true)).toEqual([]);
    expect(MOUNT_DEFAULTS.data).toBe("ordered");
  });
});

/** ext4 as every file system has to be: test/contract/file_system.ts, over a disk in memory. */
import { expect } from "vitest";
import { nanos } from "../../../../kernel/abi/units.ts";
import { bareFs } from "../../../../kernel/fs/bare_fs.ts";
import { mountOptions } from "../../../../kernel/fs/ext4/mount_options.ts";
import { isRefusal } from "../../../../kernel/fs/ext4/super.ts";
import { SimDisk } from "../../../../drivers/index.ts";
import { fileSystemContract, type FileSystemMade } from "../../../contract/file_system.ts";
import { features, MIB } from "./image_tools.ts";
import { call, emptyImage, type MountedOptions } from "./mounted_rig.ts";

/** What a small one has left when an unnamed file has taken the rest. */
const SMALL_BYTES = 220 * 1024;

function make(options: MountedOptions, small: boolean, now: () => number): FileSystemMade {
  const image = emptyImage(options);
  const disk = new SimDisk({ sectors: image.length / 512, image });
  const mount = mountOptions(options.mount ?? "");
  if (typeof mount === "string") throw new Error(mount);
  const bare = bareFs({
    device: disk,
    mount,
    now: () => nanos(now()),
    bootSec: 0,
    pages: 128,
    buffers: 512,
    inodes: 64,
  });
  if (isRefusal(bare)) throw new Error(bare.reason);
  const { fs, cache } = bare;
  if (small) {
    const out = { blocksAvailable: 0, blockSize: 0 } as Parameters<typeof fs.statfs>[0];
    fs.statfs(out);
    const ino = bare.run(() => fs.tmpfile(2, { mode: 0o100600, uid: 0, gid: 0 }));
    expect(ino).toBeGreaterThan(0);
    const words = call();
    const ballast = out.blocksAvailable * out.blockSize - SMALL_BYTES;
    expect(bare.run(() => fs.fallocate(ino, 0, 0, ballast, words))).toBe(0);
  }
  const { image: content } = disk;
  return {
    fs,
    save() {
      const state = bare.save();
      const saved = new Uint8Array(content.length + state.length);
      saved.set(content);
      saved.set(state, content.length);
      return saved;
    },
    load(saved) {
      content.set(saved.subarray(0, content.length));
      bare.load(saved.subarray(content.length));
    },
    check() {
      cache.check();
      fs.fs.journal.check();
    },
  };
}

const KINDS: readonly (readonly [string, MountedOptions])[] = [
  ["ext4", { sizeBytes: 4 * MIB, blockSize: 1024 }],
  ["ext4 with inline data, no journal", { sizeBytes: 4 * MIB, features: features("inline_data,^has_journal") }],
];

for (const [name, options] of KINDS)
  fileSystemContract({ name, make: (small, now) => make(options, small, now), rootNames: ["lost+found"] }, 20);

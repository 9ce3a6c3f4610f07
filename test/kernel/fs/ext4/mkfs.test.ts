import { spawnSync } from "node:child_process";
import { expect, it } from "vitest";
import { Checker } from "../../../../kernel/fs/ext4/check.ts";
import { ext4Tools } from "../../../harness/qemu/tools.ts";
import { features, fsck, inFile, made, MIB, TEST_NOW, TEST_UUID, toolOutput } from "./image_tools.ts";

interface Case {
  readonly size: number;
  readonly features?: string;
  readonly blockSize?: number;
}

const CASES: readonly Case[] = [
  { size: 64 },
  { size: 16, blockSize: 4096 },
  { size: 256, blockSize: 2048 },
  { size: 64, features: "fast_commit,orphan_file,metadata_csum_seed" },
  { size: 64, features: "^has_journal" },
  { size: 48, features: "^64bit,^metadata_csum" },
];

const nameOf = ({ size, features: words, blockSize }: Case): string =>
  `${size}M -b ${blockSize ?? "default"} -O ${words ?? "default"}`;

/** dumpe2fs's words, without what must differ. */
const described = (path: string): string[] =>
  toolOutput("dumpe2fs", path)
    .split("\n")
    .filter((line) => !/^(Lifetime writes|Directory Hash Seed|Checksum|Filesystem volume name):/.test(line))
    .map((line) =>
      line
        .replace(/,? ?ITABLE_ZEROED/, "")
        .replace(/\) csum 0x[0-9a-f]{4}/, ")")
        .replace(/ \[\]$/, ""),
    );

it.for(CASES)("makeExt4() makes a file system that the checker finds clean: $size MiB, $features", (test) => {
  const { image, sb } = made({
    sizeBytes: test.size * MIB,
    features: features(test.features ?? ""),
    ...(test.blockSize === undefined ? {} : { blockSize: test.blockSize }),
  });
  expect(new Checker().run(image, sb).damage).toEqual([]);
});

it.skipIf(!ext4Tools).for(CASES)("makeExt4() lays groups out as mke2fs does, and e2fsck is content: %o", (test) => {
  const { image } = made({
    sizeBytes: test.size * MIB,
    features: features(test.features ?? ""),
    ...(test.blockSize === undefined ? {} : { blockSize: test.blockSize }),
  });
  expect(fsck(image), nameOf(test)).toBe("");
  inFile(image, (path) => {
    const ours = described(path);
    const args = ["-q", "-F", "-t", "ext4", "-U", TEST_UUID];
    if (test.features !== undefined) args.push("-O", test.features);
    if (test.blockSize !== undefined) args.push("-b", String(test.blockSize));
    spawnSync("mkfs.ext4", [...args, `${path}.theirs`, `${test.size}M`], {
      env: {
        ...process.env,
        PATH: `${process.env["PATH"]}:/usr/sbin`,
        E2FSPROGS_FAKE_TIME: String(TEST_NOW),
        TZ: "UTC",
      },
    });
    expect(ours, nameOf(test)).toEqual(described(`${path}.theirs`));
  });
});

/** The checkers' words, sorted; and fsck.fat's own on an image that was spoiled in known ways. */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { askChecker, foreignOf, needCheckers, sortWords, withFiles } from "../../../../harness/crash/foreign/fsck.ts";
import { EXFAT_WORDS, FAT_WORDS, LINUX_WORDS } from "../../../../harness/crash/foreign/without_journal.ts";
import { GUEST_FS } from "../../../../harness/crash/guest_fs.ts";
import { findTool, needTool } from "../../../../harness/qemu/packages.ts";
import { scratch } from "../../orrery.ts";

const NONE = new Set<string>();

it("withFiles() gives what is indented to the files before it, and ERROR lines their own", () => {
  const lines = [
    "/F1",
    "  Contains a free cluster (9).",
    "/A/F1  and",
    "/F2",
    "  share clusters.",
    "Reclaimed 1 unused",
  ];
  expect(withFiles([...lines, "ERROR: /A/f3: broken cluster chain."])).toEqual([
    { line: "Contains a free cluster (9).", files: ["F1"] },
    { line: "share clusters.", files: ["A/F1", "F2"] },
    { line: "Reclaimed 1 unused", files: [] },
    { line: "ERROR: /A/f3: broken cluster chain.", files: ["A/f3"] },
  ]);
});

it("sortWords(): what no table knows is damage, and so is all that is said of a file that was synced", () => {
  const findings = withFiles([
    "/F1",
    "  Contains a free cluster (9).",
    "Dirty bit is set.",
    "Both FATs appear corrupt",
  ]);
  expect(sortWords(findings, FAT_WORDS, NONE)).toEqual({
    damage: ["Both FATs appear corrupt"],
    expected: ["untaken clusters", "dirty"],
  });
  expect(sortWords(findings.slice(0, 2), FAT_WORDS, new Set(["f1"]))).toEqual({
    damage: ["F1, which was synced: Contains a free cluster (9)."],
    expected: ["dirty"],
  });
  // Of a file system with a journal everything is.
  expect(sortWords(findings, [], NONE)).toMatchObject({ damage: { length: 3 }, expected: [] });
});

it("a checker that is not installed is one line with the command that installs it, and code 4", () => {
  const vfat = foreignOf(GUEST_FS.vfat);
  const without = { ...vfat, before: { ...vfat.before!, program: "fsck.none" } };
  const said = (): unknown => {
    try {
      return needCheckers(without);
    } catch (error) {
      return error;
    }
  };
  expect(said()).toMatchObject({
    exitCode: 4,
    message: expect.stringMatching(/fsck\.none is not on PATH; run "apt-get/),
  });
});

const kinds = (lines: readonly string[], words: typeof EXFAT_WORDS) => sortWords(withFiles(lines), words, NONE);

it("each sentence of fsck.exfat and of Linux has its kind", () => {
  const said = [
    "ERROR: /A/f1: cluster 0x9 is marked as free at 0x2001e0",
    "ERROR: /A/f1: less clusters are allocated. truncates to 4096 bytes at 0x1",
    "ERROR: /A/f1: the checksum of a file is wrong at 0x2001e0",
    "ERROR: /A/f1: cluster is already allocated for the other file. truncated to 0 bytes at 0x1",
  ];
  expect(kinds(said, EXFAT_WORDS)).toEqual({
    damage: [],
    expected: ["untaken clusters", "size and clusters", "entries", "shared clusters"],
  });
  expect(kinds(["checksum of boot region is not correct. 0, but expected 0x1"], EXFAT_WORDS).damage).toHaveLength(1);
  expect(kinds(["exFAT-fs (vda): error, invalid access to FAT", "BUG: kernel NULL pointer"], LINUX_WORDS)).toEqual({
    damage: ["BUG: kernel NULL pointer"],
    expected: ["unreadable"],
  });
});

const fat = ["mkfs.fat", "fsck.fat"].every((program) => findTool(program) !== undefined);

/** FAT16 as mkfs.fat makes it of 64 MiB: four sectors, two tables of 128, a root directory. */
const FAT_AT = 4 * 512;
const ROOT_AT = FAT_AT + 2 * 128 * 512;
const MIB = 2 ** 20;

it.skipIf(!fat)("fsck.fat's words on a spoiled image are all known (needs dosfstools)", async () => {
  const path = join(scratch(), "fat.img");
  const { program, args } = GUEST_FS.vfat;
  writeFileSync(path, Buffer.alloc(64 * MIB));
  execFileSync(needTool(program, "test"), [...args([]), path], { stdio: "ignore" });
  const checker = foreignOf(GUEST_FS.vfat).before!;
  expect(await askChecker(checker, path)).toEqual([]);
  const image = readFileSync(path);
  const entry = (n: number, name: string, attributes: number, cluster: number, size: number): void => {
    const at = ROOT_AT + n * 32;
    image.write(name.padEnd(11), at, "latin1");
    image[at + 11] = attributes;
    image.writeUInt16LE(cluster, at + 26);
    image.writeUInt32LE(size, at + 28);
  };
  entry(0, "F1", 0x20, 5, 9_000);
  entry(1, "F2", 0x20, 5, 100);
  entry(2, "D1", 0x10, 9, 0);
  for (const cluster of [5, 7]) image.writeUInt16LE(0xffff, FAT_AT + cluster * 2);
  image[0x25] = 1;
  writeFileSync(path, image);
  expect(sortWords(await askChecker(checker, path), checker.expected, NONE)).toEqual({
    damage: [],
    expected: ["tables differ", "size and clusters", "shared clusters", "untaken clusters", "lost clusters", "dirty"],
  });
  const owed = sortWords(await askChecker(checker, path), checker.expected, new Set(["f2"])).damage;
  expect(owed).toContain("F2, which was synced: share clusters.");
});

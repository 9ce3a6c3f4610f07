/**
 * What our checker flags, e2fsck -fn flags, and the other way round: random damage of one structure at a time, on small
 * file systems of eleven sets of features. Where they differ there is a reason, listed here and in docs/caveats/ext4.md.
 *
 * FSCK_CASES=4000 npx vitest run test/harness/ext4/fsck_agrees.test.ts     a longer campaign
 */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { DamagedImage, KINDS } from "../../../harness/ext4/damage/damage.ts";
import { SMALL_IMAGES } from "../../../harness/ext4/damage/small_images.ts";
import type { SmallImage } from "../../../harness/ext4/damage/small_images.ts";
import { findTool } from "../../../harness/qemu/packages.ts";
import { BlockImage, Checker, ext4Layout, isRefusal, readSuper } from "../../../kernel/index.ts";
import { nextBelow, prng } from "../../../kernel/lib/prng.ts";
import { scratch as folderFor } from "../orrery.ts";
import { ext4Tools } from "../qemu/tools.ts";

const CASES = Number(process.env["FSCK_CASES"] ?? 100);
/** Bits anywhere are mostly in data, and made images mostly end e2fsck's patience. */
const TRIED = KINDS.filter((kind) => kind !== "flip" && kind !== "hostile");

const FSCK_KIB_MAX = 1 << 19;

interface Difference {
  readonly who: "ours" | "e2fsck";
  /** Of whoever flags it. */
  readonly words: RegExp;
  readonly why: string;
}

const DIFFERENCES: readonly Difference[] = [
  { who: "ours", words: /is on the orphan list/, why: "e2fsck -n does not look at the list's head" },
  { who: "ours", words: /a name of inode \d+ is there twice/, why: "e2fsck compares names in hashed directories only" },
  { who: "ours", words: /eh_depth is wrong/, why: "e2fsck goes by the parent's depth; Linux refuses the node" },
  { who: "ours", words: /has file_type 0, not/, why: "e2fsck -n passes over a type that is only missing" },
  { who: "ours", words: /the hash of the block is wrong/, why: "h_hash is not e2fsck's business" },
  {
    who: "ours",
    words: /^the journal/,
    why: "e2fsck -n does not read a journal that need not be replayed; Linux does",
  },
  { who: "ours", words: /has inline data, and no attribute system.data/, why: "with up to 60 bytes e2fsck needs none" },
  { who: "e2fsck", words: /Resize inode not valid/, why: "what the resize inode reserves is not compared" },
  { who: "e2fsck", words: /quota inode/, why: "numbers of quota inodes are not looked at without the feature" },
  {
    who: "e2fsck",
    words: /invalid dtime|mtime|Filesystem creation time/,
    why: "times in the superblock are not judged",
  },
];

const checker = new Checker();

/** Empty when it is clean. */
function ours({ scratch }: DamagedImage): string[] {
  const sb = readSuper(scratch.view, ext4Layout.SUPER_OFFSET, scratch.sizeBytes);
  if (isRefusal(sb)) return [sb.reason];
  return checker.run(new BlockImage(scratch.bytes, sb.blockSize, sb.blocksCount), sb).damage.map(({ text }) => text);
}

/** Lines that ask for something to be mended; with -n the exit code does not count all of them. */
function theirs({ scratch }: DamagedImage, file: string): string[] {
  writeFileSync(file, scratch.bytes.subarray(0, scratch.sizeBytes));
  // Some damage makes e2fsck ask for all the memory there is.
  const bounded = `ulimit -v ${FSCK_KIB_MAX}; exec "$0" -fn "$1"`;
  const { status, stdout, stderr } = spawnSync("sh", ["-c", bounded, findTool("e2fsck")!, file], { encoding: "utf8" });
  if (status === 0 && !/\? no/.test(stdout)) return [];
  const lines = `${stdout}${stderr}`.split("\n").filter((line) => line !== "" && !/^Pass|^e2fsck \d/.test(line));
  return lines.length > 0 ? lines : [`it ended with ${status}`];
}

it.skipIf(!ext4Tools)(
  `e2fsck -fn and our checker agree on ${CASES} damages, but for listed differences (needs e2fsprogs)`,
  { timeout: 60_000 + 500 * CASES },
  () => {
    const images = new Map<SmallImage, DamagedImage>();
    const file = join(folderFor(), "image");
    const unexplained: string[] = [];
    const counts = { both: 0, neither: 0, differ: 0 };
    for (let seed = 1; seed <= CASES; seed++) {
      const state = prng(seed);
      const name = SMALL_IMAGES[nextBelow(state, SMALL_IMAGES.length)]!;
      const image = images.get(name) ?? new DamagedImage(name, true);
      images.set(name, image);
      const what = image.damage(state, TRIED[nextBelow(state, TRIED.length)]);
      const [mine, e2fsck] = [ours(image), theirs(image, file)];
      image.scratch.restore();
      if (mine.length > 0 === e2fsck.length > 0) {
        counts[mine.length > 0 ? "both" : "neither"]++;
        continue;
      }
      counts.differ++;
      const who = mine.length > 0 ? "ours" : "e2fsck";
      const words = who === "ours" ? mine : e2fsck;
      if (!DIFFERENCES.some((one) => one.who === who && words.some((line) => one.words.test(line))))
        unexplained.push(`${seed}: ${who} only: ${what}: ${words.slice(0, 3).join(" | ")}`);
    }
    expect(unexplained).toEqual([]);
    expect(counts.both).toBeGreaterThan(CASES * 0.4);
    expect(counts.neither).toBeGreaterThan(CASES * 0.15);
    expect(counts.differ).toBeLessThan(CASES * 0.1);
  },
);

/** What damage on purpose has found, each counted in blocks that are looked at, not in time. */
import { expect, it } from "vitest";
import { DamagedImage, recoveredBytes } from "../../../../harness/ext4/damage/damage.ts";
import { ABSENT_NAME, HOSTILE } from "../../../../harness/ext4/damage/hostile.ts";
import { SMALL_IMAGES, smallImage } from "../../../../harness/ext4/damage/small_images.ts";
import { EFSCORRUPTED, ENOENT } from "../../../../kernel/abi/errno.ts";
import {
  BlockImage,
  Checker,
  ext4Layout,
  inodeAt,
  isRefusal,
  lookup,
  readSuper,
  resolve,
  walkDir,
} from "../../../../kernel/index.ts";
import { prng } from "../../../../kernel/lib/prng.ts";

/** Blocks are counted as they are asked for. */
class Counting extends BlockImage {
  looks = 0;
  override at(block: number): number {
    this.looks++;
    return super.at(block);
  }
}

const imageOf = ({ scratch, sb }: DamagedImage): Counting => new Counting(scratch.bytes, sb.blockSize, sb.blocksCount);
const named = (name: string): (typeof HOSTILE)[number] => HOSTILE.find((one) => one.name === name)!;

it("walkDir() of a directory that is one block four million times ends", () => {
  const damaged = new DamagedImage("plain", true);
  for (let seed = 0; seed < 60; seed++) {
    const what = named("tower")(damaged, prng(seed));
    const image = imageOf(damaged);
    const ino = Number(/^inode (\d+)/.exec(what)![1]);
    const ended = walkDir(image, damaged.sb, inodeAt(image, damaged.sb, ino), { entry: () => true });
    expect([0, EFSCORRUPTED]).toContain(ended);
    expect(image.looks).toBeLessThan(10 * damaged.sb.blocksCount);
    damaged.scratch.restore();
  }
});

it("lookup() in a hash tree that leads to itself, every entry with the name's hash, ends", () => {
  const damaged = new DamagedImage("block4k", true);
  for (let seed = 0; seed < 60; seed++) {
    named("flatHash")(damaged, prng(seed));
    const image = imageOf(damaged);
    const ino = resolve(image, damaged.sb, Buffer.from("wide"), true);
    const before = image.looks;
    expect([ENOENT, EFSCORRUPTED]).toContain(lookup(image, damaged.sb, inodeAt(image, damaged.sb, ino), ABSENT_NAME));
    expect(image.looks - before).toBeLessThan(10 * damaged.sb.blocksCount);
    damaged.scratch.restore();
  }
});

/** With fast commits orphans were taken for free inodes by the survey that follows the replay. */
it.each(SMALL_IMAGES)("%s: what a stopped Linux left is recovered without damage, orphans and all", (name) => {
  const bytes = recoveredBytes(smallImage(name));
  const sb = readSuper(new DataView(bytes.buffer), ext4Layout.SUPER_OFFSET, bytes.length);
  if (isRefusal(sb)) throw new Error(sb.reason);
  expect(new Checker().run(new BlockImage(bytes, sb.blockSize, sb.blocksCount), sb).damage).toEqual([]);
});

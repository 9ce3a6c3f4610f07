/**
 * Judges crash states of an ext4: recovered as Linux or e2fsck does it, checked as a whole, and asked for what had been
 * promised. All of it on the state's overlay, which is then as it was.
 *
 * - new Ext4Judge(disk, policy)      panics on an image that holds no ext4: see blockSizeOf() of explore.ts
 * - judge.remembers = false          every state is looked at anew, to measure what that costs
 * - judge.verdict(torn, markers)     of the state that the disk shows now
 *
 * Many states recover to the same content: its verdict is remembered by a key of all blocks but the journal's, which
 * after a recovery is empty. `recovered` counts the different ones.
 */
import { Checker, isRefusal, journalMap, readSuper, recover } from "../../kernel/index.ts";
import type { BlockImage, Policy } from "../../kernel/index.ts";
import { assert } from "../../kernel/lib/assert.ts";
import type { CrashDisk } from "./crash_disk.ts";
import { CLEAN } from "./verdict.ts";
import type { Promises, Verdict, VerdictClass } from "./verdict.ts";

const SUPER_AT = 1024;
/** Time of deletion of orphans: not 0, which would say that they were not deleted. */
export const RECOVERY_SEC = 1_767_225_600;

export class Ext4Judge {
  readonly #disk: CrashDisk;
  readonly #policy: Policy;
  readonly #checker = new Checker();
  readonly #known = new Map<string, Verdict>();
  readonly #structure = new Map<number, Verdict>();
  promises: Promises | undefined;
  remembers = true;
  recovered = 0;

  constructor(disk: CrashDisk, policy: Policy) {
    this.#disk = disk;
    this.#policy = policy;
    const { image } = disk;
    const sb = superOf(image);
    assert(!isRefusal(sb), "Ext4Judge: the image holds no ext4");
    const journal = sb.journalIno === 0 ? undefined : journalMap(image, sb);
    if (journal instanceof Int32Array) for (const block of journal) disk.skip[block] = 1;
  }

  verdict(torn: boolean, markers: number): Verdict {
    const { image } = this.#disk;
    const before = superOf(image);
    if (isRefusal(before)) return { class: torn ? "superblockTear" : "refused", why: before.reason };
    const done = recover(image, before, { policy: this.#policy, now: RECOVERY_SEC });
    if (isRefusal(done)) return { class: torn ? tearOf(done.reason) : "refused", why: done.reason };
    if (done.damage.length > 0) return { class: "recovery", why: done.damage[0]! };
    if (!this.remembers) this.#forget();
    const content = this.#disk.dataKey();
    const key = `${content} ${markers}`;
    let found = this.#known.get(key);
    if (found === undefined) this.#known.set(key, (found = this.#look(content, markers)));
    return found;
  }

  #forget(): void {
    this.#known.clear();
    this.#structure.clear();
  }

  #look(content: number, markers: number): Verdict {
    const { image } = this.#disk;
    const sb = superOf(image);
    if (isRefusal(sb)) return { class: "refused", why: `after recovery: ${sb.reason}` };
    let structure = this.#structure.get(content);
    if (structure === undefined) {
      this.recovered++;
      const report = this.#checker.run(image, sb);
      const first = report.damage[0];
      structure = first === undefined ? CLEAN : { class: "structure", why: `${first.kind}: ${first.text}` };
      this.#structure.set(content, structure);
    }
    if (structure.class !== "clean") return structure;
    return this.promises?.broken(this.#disk, sb, markers) ?? CLEAN;
  }
}

/** Of an image as it is now. */
export const superOf = (image: BlockImage) => {
  const block = Math.floor(SUPER_AT / image.blockSize);
  const at = image.at(block) + SUPER_AT - block * image.blockSize;
  return readSuper(image.view, at, image.count * image.blockSize);
};

/** What was torn within its checksum; `refused` when the tear does not explain it. */
function tearOf(reason: string): VerdictClass {
  if (reason.includes("superblock")) return "superblockTear";
  return /^journal transaction \d+ is corrupt$/.test(reason) ? "commitTear" : "refused";
}

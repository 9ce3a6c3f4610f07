import { fc } from "@fast-check/vitest";
import { describe, expect, it } from "vitest";
import { DX_HASH_TEA } from "../../../../kernel/fs/ext4/layout_dir.ts";
import { ext4Tools } from "../../../harness/qemu/tools.ts";
import { MIB } from "./image_tools.ts";
import { newRig } from "./rig.ts";
import type { RigOptions } from "./rig.ts";
import { STEPS, apply, expectSame, newModel } from "./tree_model.ts";
import type { Step } from "./tree_model.ts";

const SEED = 20_261_128;
const which = fc.nat({ max: 9999 });
const steps = fc.array(
  fc.record({ do: fc.constantFrom(...STEPS), dir: which, to: which, name: which, newName: which, how: which }),
  { minLength: 20, maxLength: 60 },
);

/** A journal of 1 MiB is the least there can be. */
const SMALL = { sizeBytes: 4 * MIB, journalBytes: MIB };
const VARIANTS: readonly (readonly [title: string, options: RigOptions])[] = [
  ["4 KiB blocks", { sizeBytes: 16 * MIB, blockSize: 4096 }],
  ["1 KiB blocks, TEA", { ...SMALL, hash: DX_HASH_TEA }],
  ["inline data", { ...SMALL, words: "inline_data", inodeSize: 256 }],
  ["inline data in inodes of 512 bytes, no dir_index", { ...SMALL, words: "inline_data,^dir_index", inodeSize: 512 }],
  ["no checksums", { ...SMALL, words: "^metadata_csum" }],
  ["checksums of descriptors only", { ...SMALL, words: "^metadata_csum,uninit_bg" }],
  ["no dir_index", { ...SMALL, words: "^dir_index" }],
  ["orphan file", { ...SMALL, words: "orphan_file" }],
  [
    "inodes of 128 bytes, no filetype, no journal",
    { sizeBytes: 4 * MIB, words: "^filetype,^has_journal,^extra_isize", inodeSize: 128 },
  ],
  ["few inodes, few blocks", { sizeBytes: MIB, inodes: 64, words: "^has_journal" }],
];

describe("names", () => {
  it.each(VARIANTS)("are what the model says after each step, and the checker is content: %s", (title, options) => {
    fc.assert(
      fc.property(steps, (list: readonly Step[]) => {
        const rig = newRig(options);
        const model = newModel(rig);
        for (const step of list) {
          apply(rig, model, step);
          expect(rig.damage()).toEqual([]);
        }
        expectSame(rig, model);
      }),
      { seed: SEED + title.length, numRuns: 8, endOnFailure: true },
    );
  });

  it.skipIf(!ext4Tools).each(VARIANTS)("leave an image that e2fsck is content with: %s", (_title, options) => {
    for (const list of fc.sample(steps, { seed: SEED, numRuns: 3 })) {
      const rig = newRig(options);
      const model = newModel(rig);
      for (const step of list) apply(rig, model, step);
      expect(rig.fsck()).toBe("");
    }
  });
});

import { fc, test } from "@fast-check/vitest";
import { expect, it } from "vitest";
import { BlockImage } from "../../../kernel/fs/block_image.ts";
import { crc32c } from "../../../kernel/lib/crc32c.ts";

const SEED = 20_261_121;
const SIZE = 16;
const COUNT = 8;

const block = fc.integer({ min: 0, max: COUNT - 1 });
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("write" as const), block, byte: fc.integer({ min: 0, max: 255 }) }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("share" as const), block, from: block }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom("mark" as const, "rollback" as const, "settle" as const) }) },
);

const fresh = (): BlockImage => {
  const bytes = new Uint8Array(SIZE * COUNT * 40);
  for (let i = 0; i < SIZE * COUNT; i++) bytes[i] = Math.floor(i / SIZE);
  return new BlockImage(bytes, SIZE, COUNT);
};

const contentOf = (image: BlockImage, n: number): number[] => [
  ...image.bytes.subarray(image.at(n), image.at(n) + SIZE),
];

test.prop([fc.array(step, { maxLength: 40 })], { seed: SEED, numRuns: 300 })(
  "BlockImage is a table of contents that is copied at each mark (model: arrays)",
  (steps) => {
    const image = fresh();
    let model = Array.from({ length: COUNT }, (_, n) => Array.from({ length: SIZE }, () => n));
    let base = structuredClone(model);
    let saved: { readonly mark: ReturnType<BlockImage["mark"]>; readonly model: number[][] }[] = [];
    for (const s of steps) {
      if (s.do === "write") {
        image.bytes[image.writable(s.block)] = s.byte;
        model[s.block]![0] = s.byte;
      } else if (s.do === "share") {
        if (!image.shareable(s.from)) continue;
        image.point(s.block, image.where[s.from]!);
        model[s.block] = [...model[s.from]!];
      } else if (s.do === "mark") saved.push({ mark: image.mark(), model: structuredClone(model) });
      else if (s.do === "rollback") {
        const last = saved.pop();
        if (last === undefined) continue;
        image.rollback(last.mark);
        model = last.model;
      } else {
        image.settle();
        base = structuredClone(model);
        saved = [];
      }
      for (let n = 0; n < COUNT; n++) {
        expect(contentOf(image, n)).toEqual(model[n]);
        expect(image.ownCrc(n)).toBe(crc32c(0, Uint8Array.from(model[n]!), 0, SIZE));
      }
      const differing = model.flatMap((content, n) => (String(content) === String(base[n]) ? [] : [n]));
      expect(new Set(image.changed())).toEqual(new Set([...image.changed(), ...differing]));
    }
  },
);

it("BlockImage.at() is -1 for what is not there, and a version stays when private copies go", () => {
  const image = fresh();
  expect([image.at(-1), image.at(COUNT), image.at(2 ** 40)]).toEqual([-1, -1, -1]);
  const slot = image.addVersion(new Uint8Array(SIZE).fill(9));
  const mark = image.mark();
  image.point(3, slot);
  image.bytes[image.writable(3)] = 1;
  expect(contentOf(image, 3)[0]).toBe(1);
  image.rollback(mark);
  expect(contentOf(image, 3)[0]).toBe(3);
  image.point(3, slot);
  expect(contentOf(image, 3)).toEqual(Array.from({ length: SIZE }, () => 9));
});

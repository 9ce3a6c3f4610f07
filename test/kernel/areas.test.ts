/** A task's mappings against one number a page. */
import { fc, test } from "@fast-check/vitest";
import { expect, it } from "vitest";
import { ENOMEM } from "../../kernel/abi/errno.ts";
import { AREAS_MAX } from "../../kernel/abi/limits.ts";
import { Areas, State } from "../../kernel/areas.ts";
import { Arena } from "../../kernel/lib/arena.ts";

const SEED = 20_261_128;
const PAGES = 200;
const made = (rows: number): Areas => new Areas(new Arena(new SharedArrayBuffer(Areas.bytes(rows))), rows);
const nothing = (): number[] => Array.from({ length: PAGES }, () => 0);
const range = fc.tuple(fc.nat(PAGES), fc.nat(PAGES)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
const op = fc.record({ row: fc.nat(1), range, state: fc.nat(2), pages: fc.nat(30) });

test.prop([fc.array(op, { maxLength: 150 })], { seed: SEED })("ranges say what one number a page says", (ops) => {
  const areas = made(2);
  const model = [nothing(), nothing()];
  for (const {
    row,
    range: [first, end],
    state,
    pages,
  } of ops) {
    const mine = model[row]!;
    const painted = mine.map((was, page) => (page >= first && page < end ? state : was));
    if (areas.paint(row, first, end, state) === 0) model[row] = painted;
    else expect(painted.filter((as, page) => as !== 0 && as !== painted[page - 1]).length).toBeGreaterThan(AREAS_MAX);
    for (const p of [0, 1]) {
      areas.check(p);
      const all = model[p]!;
      for (const as of [State.Mapped, State.Resident]) {
        expect(areas.count(p, first, end, as)).toBe(all.slice(first, end).filter((found) => found === as).length);
        expect(areas.total(p, as)).toBe(all.filter((found) => found === as).length);
      }
      expect(areas.isMapped(p, first, end)).toBe(all.slice(first, end).every((as) => as !== 0));
      let gap = 0;
      while (all.slice(gap, gap + Math.max(1, pages)).some((as) => as !== 0)) gap++;
      if (pages > 0) expect(areas.gap(p, pages)).toBe(gap);
      const bare = all.flatMap((as, page) => (as === State.Mapped && page >= first && page < end ? [page] : []));
      if (pages > 0 && pages <= bare.length) expect(areas.behind(p, first, end, pages)).toBe(bare[pages - 1]! + 1);
    }
  }
});

it("paint() is ENOMEM for one range too many, and changes nothing", () => {
  const areas = made(1);
  for (let n = 0; n < AREAS_MAX; n++) expect(areas.paint(0, 2 * n, 2 * n + 1, State.Mapped)).toBe(0);
  expect(areas.paint(0, 1000, 1001, State.Mapped)).toBe(ENOMEM);
  expect(areas.total(0, State.Mapped)).toBe(AREAS_MAX);
  expect(areas.paint(0, 1, 2, State.Mapped)).toBe(0);
  expect(areas.paint(0, 1000, 1001, State.Mapped)).toBe(0);
});

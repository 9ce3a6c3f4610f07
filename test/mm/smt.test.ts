/**
 * The buddy arithmetic proved for every 32-bit frame number: the functions of mm/buddy_math.ts run on z3's bit vectors,
 * so that what is proved is the expression that ships. A lemma that is false must be refuted (canary).
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BitVec, type Bool, type Context, init } from "z3-solver";
import {
  type BitOps,
  buddyOf,
  headOf,
  kindOf,
  listOf,
  lowestBit,
  mergedOf,
  mismatch,
  offsetIn,
  orderOf,
  packState,
  typeOf,
  upperHalf,
} from "../../mm/buddy_math.ts";

type Z3 = Awaited<ReturnType<typeof init>>;
type Vec = BitVec<32, "mm">;
type Claim = Bool<"mm">;

let z3: Z3;
let context: Context<"mm">;
beforeAll(async () => {
  z3 = await init();
  context = z3.Context("mm");
});
// The solver's threads keep the process alive otherwise.
afterAll(() => (z3.em as { PThread: { terminateAllThreads(): void } }).PThread.terminateAllThreads());

/** The same operations, on vectors. */
const vectors = (): BitOps<Vec> => ({
  constant: (value) => context.BitVec.val(value, 32),
  and: (a, b) => a.and(b),
  or: (a, b) => a.or(b),
  xor: (a, b) => a.xor(b),
  add: (a, b) => a.add(b),
  sub: (a, b) => a.sub(b),
  not: (a) => a.not(),
  shl: (a, by) => a.shl(by),
  shr: (a, by) => a.lshr(by),
});

interface Scope {
  readonly ops: BitOps<Vec>;
  /** Any frame; any other frame; any order 0..10; any kind, type; any 32-bit mask. */
  readonly p: Vec;
  readonly q: Vec;
  readonly o: Vec;
  readonly kind: Vec;
  readonly type: Vec;
  readonly zero: Vec;
  readonly aligned: Claim;
  readonly implies: (...parts: [...Claim[], Claim]) => Claim;
  readonly inside: (frame: Vec, head: Vec, order: Vec) => Claim;
}

const LEMMAS: readonly (readonly [name: string, claim: (s: Scope) => Claim])[] = [
  ["a buddy is another block", (s) => buddyOf(s.ops, s.p, s.o).neq(s.p)],
  ["the buddy's buddy is the block itself", (s) => buddyOf(s.ops, buddyOf(s.ops, s.p, s.o), s.o).eq(s.p)],
  [
    "a buddy is aligned as its block is",
    (s) => s.implies(s.aligned, offsetIn(s.ops, buddyOf(s.ops, s.p, s.o), s.o).eq(s.zero)),
  ],
  [
    "a buddy begins one block above or below",
    (s) =>
      s.implies(
        s.aligned,
        buddyOf(s.ops, s.p, s.o)
          .eq(upperHalf(s.ops, s.p, s.o))
          .or(s.p.eq(upperHalf(s.ops, buddyOf(s.ops, s.p, s.o), s.o))),
      ),
  ],
  [
    "no frame is in both a block and its buddy",
    (s) => s.implies(s.aligned, s.inside(s.q, s.p, s.o), s.inside(s.q, buddyOf(s.ops, s.p, s.o), s.o).not()),
  ],
  [
    "both buddies merge to the same head",
    (s) => mergedOf(s.ops, s.p, s.o).eq(mergedOf(s.ops, buddyOf(s.ops, s.p, s.o), s.o)),
  ],
  [
    "a merged block is aligned to the next order",
    (s) => s.implies(s.aligned, offsetIn(s.ops, mergedOf(s.ops, s.p, s.o), s.o.add(1)).eq(s.zero)),
  ],
  [
    "a merged block's head is one of the two",
    (s) =>
      mergedOf(s.ops, s.p, s.o)
        .eq(s.p)
        .or(mergedOf(s.ops, s.p, s.o).eq(buddyOf(s.ops, s.p, s.o))),
  ],
  [
    "a merged block is the union of both",
    (s) =>
      s.implies(
        s.aligned,
        s
          .inside(s.q, mergedOf(s.ops, s.p, s.o), s.o.add(1))
          .eq(s.inside(s.q, s.p, s.o).or(s.inside(s.q, buddyOf(s.ops, s.p, s.o), s.o))),
      ),
  ],
  [
    "the upper half of a split block is its lower half's buddy",
    (s) =>
      s.implies(offsetIn(s.ops, s.p, s.o.add(1)).eq(s.zero), upperHalf(s.ops, s.p, s.o).eq(buddyOf(s.ops, s.p, s.o))),
  ],
  [
    "the halves of a split block merge to it again",
    (s) =>
      s.implies(offsetIn(s.ops, s.p, s.o.add(1)).eq(s.zero), mergedOf(s.ops, upperHalf(s.ops, s.p, s.o), s.o).eq(s.p)),
  ],
  [
    "a split block's halves cover it and nothing else",
    (s) =>
      s.implies(
        offsetIn(s.ops, s.p, s.o.add(1)).eq(s.zero),
        s.inside(s.q, s.p, s.o.add(1)).eq(s.inside(s.q, s.p, s.o).or(s.inside(s.q, upperHalf(s.ops, s.p, s.o), s.o))),
      ),
  ],
  ["a head is aligned", (s) => offsetIn(s.ops, headOf(s.ops, s.p, s.o), s.o).eq(s.zero)],
  ["a frame lies in the block of its head", (s) => s.inside(s.p, headOf(s.ops, s.p, s.o), s.o)],
  ["an aligned frame is its own head", (s) => s.implies(s.aligned, headOf(s.ops, s.p, s.o).eq(s.p))],
  [
    "frames of one aligned block have one head",
    (s) => s.implies(s.aligned, s.inside(s.q, s.p, s.o), headOf(s.ops, s.q, s.o).eq(s.p)),
  ],
  ["a state byte gives its kind back", (s) => kindOf(s.ops, packState(s.ops, s.kind, s.type, s.o)).eq(s.kind)],
  ["a state byte gives its migratetype back", (s) => typeOf(s.ops, packState(s.ops, s.kind, s.type, s.o)).eq(s.type)],
  ["a state byte gives its order back", (s) => orderOf(s.ops, packState(s.ops, s.kind, s.type, s.o)).eq(s.o)],
  ["a state byte is a byte", (s) => packState(s.ops, s.kind, s.type, s.o).ule(255)],
  [
    "a list's number is type and order and nothing else",
    (s) => listOf(s.ops, packState(s.ops, s.kind, s.type, s.o)).eq(s.type.shl(4).or(s.o)),
  ],
  [
    "mismatch is 0 exactly for that kind and order, whatever the type",
    (s) =>
      mismatch(s.ops, s.p.and(255), s.kind.shl(6), s.o)
        .eq(s.zero)
        .eq(
          kindOf(s.ops, s.p.and(255))
            .eq(s.kind)
            .and(orderOf(s.ops, s.p.and(255)).eq(s.o)),
        ),
  ],
  [
    "the lowest bit is in the mask, is one bit, and none is below it",
    (s) => {
      const low = lowestBit(s.ops, s.p);
      return s.implies(
        s.p.neq(s.zero),
        low
          .and(s.p)
          .eq(low)
          .and(low.and(low.sub(1)).eq(s.zero))
          .and(low.neq(s.zero))
          .and(low.sub(1).and(s.p).eq(s.zero)),
      );
    },
  ],
];

/** "proved", or a counterexample's "sat". */
async function check(claim: (s: Scope) => Claim): Promise<string> {
  const ops = vectors();
  const vec = (name: string): Vec => context.BitVec.const(name, 32);
  const [p, q, o, kind, type] = ["p", "q", "o", "kind", "type"].map(vec) as [Vec, Vec, Vec, Vec, Vec];
  const zero = context.BitVec.val(0, 32);
  const scope: Scope = {
    ops,
    p,
    q,
    o,
    kind,
    type,
    zero,
    aligned: offsetIn(ops, p, o).eq(zero),
    implies: (...parts) => context.Implies(context.And(...parts.slice(0, -1)), parts.at(-1)!),
    // Distances, so that the last block of the address space, whose end is 0, counts too.
    inside: (frame, head, order) => frame.sub(head).ult(context.BitVec.val(1, 32).shl(order)),
  };
  const solver = new context.Solver();
  solver.add(o.ule(10), kind.ule(3), type.ule(3), context.Not(claim(scope)));
  return (await solver.check()) === "unsat" ? "proved" : "refuted";
}

describe("buddy arithmetic, for every frame and order", () => {
  it.each(LEMMAS)("%s", async (_name, claim) => {
    expect(await check(claim)).toBe("proved");
  });

  it("there are at least fifteen lemmas, and a false one is refuted (canary)", async () => {
    expect(LEMMAS.length).toBeGreaterThanOrEqual(15);
    expect(await check((s) => buddyOf(s.ops, s.p, s.o).ugt(s.p))).toBe("refuted");
    expect(await check((s) => offsetIn(s.ops, mergedOf(s.ops, s.p, s.o), s.o.add(1)).eq(s.zero))).toBe("refuted");
  });
});

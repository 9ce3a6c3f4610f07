import * as fc from "fast-check";
import { expect, it } from "vitest";
import { EIO, ENOSPC } from "../../../kernel/abi/errno.ts";
import { errseqReport, errseqSample, errseqSet } from "../../../kernel/lib/errseq.ts";

it("errseq: every listener learns once of the latest error since it last asked; the first of one nobody was told", () => {
  const steps = fc.array(
    fc.oneof(
      fc.record({ op: fc.constant("set" as const), error: fc.constantFrom(EIO, ENOSPC) }),
      fc.record({ op: fc.constantFrom("report" as const, "open" as const), who: fc.nat(3) }),
    ),
    { maxLength: 80, size: "max" },
  );
  fc.assert(
    fc.property(steps, (operations) => {
      const word = new Int32Array(1);
      const since = [0, 0, 0, 0];
      // The model: errors as a list, and for each listener how many of them it need not hear of.
      const errors: number[] = [];
      let told = 0;
      const heard = [0, 0, 0, 0];
      for (const step of operations) {
        if (step.op === "set") {
          errseqSet(word, 0, step.error);
          errors.push(step.error);
        } else if (step.op === "open") {
          since[step.who] = errseqSample(word, 0);
          heard[step.who] = told === errors.length ? errors.length : 0;
        } else {
          const want = heard[step.who] === errors.length ? 0 : errors.at(-1)!;
          expect(errseqReport(word, 0, since[step.who]!)).toBe(want);
          since[step.who] = errseqSample(word, 0);
          told = heard[step.who] = errors.length;
        }
      }
    }),
  );
});

it("errseq: the counter moves only over what was seen, and wraps without a panic", () => {
  const word = new Int32Array([0x7fffe000 | 0x1000 | 5]);
  const since = errseqSample(word, 0);
  errseqSet(word, 0, EIO);
  errseqSet(word, 0, EIO);
  expect(errseqReport(word, 0, since)).toBe(EIO);
  expect(errseqReport(word, 0, errseqSample(word, 0))).toBe(0);
  expect(() => errseqSet(word, 0, 5 as typeof EIO)).toThrow(/no errno/);
});

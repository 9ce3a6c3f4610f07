/** A CPU hog: computes for ever, in stretches with a breath between them when it is told to. Arguments: breath, ns. */
import { nanosleep, run } from "../libc.ts";
import { program } from "../program.ts";

const STRETCH_NS = 3_000_000;

export const burn = program("burn", {
  work: (t) => run(t, STRETCH_NS / 2 + t.below(STRETCH_NS), "breathe?"),
  "breathe?": (_, w) => (w[1]! > 0 ? "breathe" : "work"),
  breathe: (t, w) => nanosleep(t, w[1]!, "work"),
});

/**
 * A memory hog: takes memory in steps up to a limit, keeps it for a while, gives all back, and begins again.
 * Arguments: bytes of a step, steps, ns that it keeps it.
 */
import { mmap, munmap, nanosleep, run } from "../libc.ts";
import { program } from "../program.ts";

const [STEP, STEPS, KEEP, TAKEN, ADDRESS] = [1, 2, 3, 4, 5];
const TOUCH_NS = 2_000_000;
const REST_NS = 100_000_000;

export const hog = program("hog", {
  take: (t, w) => mmap(t, w[STEP]!, "taken?"),
  "taken?": (t, w) => {
    if (t.result < 0) return w[TAKEN] === 0 ? "rest" : "keep";
    if (w[TAKEN] === 0) w[ADDRESS] = t.result;
    return ++w[TAKEN]! < w[STEPS]! ? "touch" : "keep";
  },
  touch: (t) => run(t, TOUCH_NS, "take"),
  keep: (t, w) => nanosleep(t, w[KEEP]!, "give"),
  give: (t, w) => {
    const bytes = w[TAKEN]! * w[STEP]!;
    w[TAKEN] = 0;
    return munmap(t, w[ADDRESS]!, bytes, "rest");
  },
  rest: (t) => nanosleep(t, REST_NS, "take"),
});

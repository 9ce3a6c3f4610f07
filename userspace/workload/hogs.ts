/** Programs that want one thing only: a CPU, or memory. */
import { mmapPopulate, munmap, nanosleep } from "../libc.ts";
import { program } from "../program.ts";

const SPIN_NS = 2_000_000;

/** Computes and never stops. */
export const cpuHog = program("cpuhog", {
  spin: (t) => (t.run(SPIN_NS + t.below(SPIN_NS)), "spin"),
});

const [PARTS, PART_BYTES, HELD, FIRST] = [0, 1, 2, 8] as const;
/** Of a wave: its addresses have to find room in the words. */
export const PARTS_MAX = 16;
const STEP_NS = 8_000_000;
const TOUCH_NS = 500_000;

/**
 * Takes memory part by part, keeps it for a while, gives most of it back, and again. A part that it is not given (ENOMEM)
 * ends the wave.
 *
 *   arguments: parts, bytes of a part
 */
export const memoryHog = program("memhog", {
  grow(t, w) {
    if (w[HELD]! >= Math.min(w[PARTS]!, PARTS_MAX)) return "use";
    mmapPopulate(t, w[PART_BYTES]!);
    return "grown";
  },
  grown(t, w) {
    if (t.result < 0) return "use";
    w[FIRST + w[HELD]!] = t.result;
    w[HELD]!++;
    t.run(TOUCH_NS);
    return "rest";
  },
  rest: (t) => (nanosleep(t, STEP_NS), "grow"),
  use: (t) => (t.run(10 * TOUCH_NS), "hold"),
  hold: (t) => (nanosleep(t, 20 * STEP_NS), "shrink"),
  shrink(t, w) {
    if (w[HELD]! <= 1) return "pause";
    w[HELD]!--;
    munmap(t, w[FIRST + w[HELD]!]!, w[PART_BYTES]!);
    return "shrunk";
  },
  shrunk: (t) => (nanosleep(t, STEP_NS / 4), "shrink"),
  pause: (t) => (nanosleep(t, 10 * STEP_NS), "grow"),
});

/**
 * Two tiers of tests. `npm test` is the fast one; with ORRERY_THOROUGH=1 (as in .ci/run) those run, too, that take long and
 * of which the fast tier has a smaller sample: `it.runIf(thorough)`. They are counted as skipped where they do not run.
 */
export const thorough = process.env["ORRERY_THOROUGH"] === "1";

/** All of them, or in the fast tier the first `most`. */
export const sample = <T>(all: readonly T[], most: number): readonly T[] => (thorough ? all : all.slice(0, most));

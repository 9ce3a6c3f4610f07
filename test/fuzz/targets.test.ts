import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { AnyFuzzTarget } from "../../fuzz/target.ts";
import type { Bench } from "../../harness/bench/bench.ts";

const namesIn = (folder: string): string[] =>
  readdirSync(folder)
    .filter((file) => file.endsWith(".ts") && !file.endsWith("_worker.ts"))
    .map((file) => file.slice(0, -3));

const SEED = 1;
const RUNS = 5;

/** Helper files beside the targets export none. */
const targets: (readonly [file: string, target: AnyFuzzTarget])[] = [];
for (const name of namesIn("fuzz")) {
  const { target } = (await import(`../../fuzz/${name}.ts`)) as { readonly target?: AnyFuzzTarget };
  if (target !== undefined) targets.push([name, target]);
}

describe.each(targets)("fuzz/%s.ts", (name, target) => {
  it("passes a few cases, and its canary fails (a target that cannot fail proves nothing)", async () => {
    expect(target.name).toBe(name);
    let done = 0;
    expect(await target.run(SEED, RUNS, (count) => (done = count))).toEqual({ runs: RUNS });
    expect(done).toBe(RUNS);
    const { failure } = await target.canary(SEED);
    expect(failure?.message).toMatch(/./);
  });
});

it("every benchmark is named as its file and says what it measures", async () => {
  for (const name of namesIn("harness/bench")) {
    const { bench } = (await import(`../../harness/bench/${name}.ts`)) as { readonly bench?: Bench };
    if (bench === undefined) continue;
    expect(bench.name).toBe(name);
    expect(bench.help).not.toBe("");
  }
});

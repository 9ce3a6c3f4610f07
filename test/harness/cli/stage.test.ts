import { Command } from "commander";
import { describe, expect, it } from "vitest";
import { addDemo } from "../../../harness/cli/demo.ts";
import { play } from "../../../harness/cli/stage.ts";
import type { PlayOptions, Scene } from "../../../harness/cli/stage.ts";
import type { Run } from "../../../harness/run/run.ts";

const run: Run = { id: "x", dir: "x", path: (name) => name, input: () => {}, output: () => {}, finish: () => {} };

/** A clock that scenes move. */
function setUp(budgetMs: number): {
  clock: { ms: number };
  said: string[];
  options: PlayOptions;
  abort: AbortController;
} {
  const clock = { ms: 100 };
  const said: string[] = [];
  const abort = new AbortController();
  const say = (line: string): void => void said.push(line);
  return { clock, said, abort, options: { run, seed: 3, budgetMs, stop: abort.signal, say, now: () => clock.ms } };
}

describe("play()", () => {
  it("plays in order, gathers the report, and leaves out what no time is left for, saying so", async () => {
    const { clock, said, options } = setUp(1000);
    const seen: number[] = [];
    const scene = (title: string, needsMs: number, takesMs: number): Scene => ({
      title,
      needsMs,
      run: (stage) => {
        seen.push(stage.leftMs());
        clock.ms += takesMs;
        stage.say(`seed ${stage.seed}`);
        return Promise.resolve([{ kind: "text", title, text: "" }]);
      },
    });
    const played = await play([scene("one", 100, 600), scene("two", 500, 500), scene("three", 400, 10)], options);
    expect(seen).toEqual([1000, 400]);
    expect(played.sections.map(({ title }) => title)).toEqual(["one", "three"]);
    expect(played.scenes).toEqual([
      { title: "one", seconds: 0.6 },
      { title: "two", seconds: null },
      { title: "three", seconds: 0.01 },
    ]);
    expect(said).toEqual([
      "1/3  one",
      "seed 3",
      "\n2/3  two",
      "     left out: 0.4 s left, it takes 0.5",
      "\n3/3  three",
      "seed 3",
    ]);
  });

  it("ends with the error of a scene, and begins none after Ctrl-C", async () => {
    const { options, abort, said } = setUp(1000);
    const broken: Scene = { title: "broken", needsMs: 0, run: () => Promise.reject(new Error("lost a task")) };
    await expect(play([broken], options)).rejects.toThrow("lost a task");
    abort.abort();
    expect((await play([broken], options)).scenes).toEqual([{ title: "broken", seconds: null }]);
    expect(said.at(-1)).toBe("     left out: interrupted");
  });
});

it("addDemo() adds the command with the shared options", () => {
  const program = new Command();
  addDemo(program, []);
  const flags = program.commands[0]!.options.map((option) => option.long);
  expect(flags).toEqual(["--seed", "--seconds", "--format", "--out"]);
});

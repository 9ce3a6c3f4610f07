import { describe, expect, it } from "vitest";
import { buildProgram, pathOf } from "../../../harness/cli/program.ts";
import { manualPage } from "../../../harness/cli/manual.ts";
import { WINGS } from "../../../harness/cli/wings.ts";
import { linesOf, orrery } from "../orrery.ts";
import type { Command } from "commander";

const complete = async (...words: string[]): Promise<string[]> =>
  linesOf((await orrery(["complete", "--", ...words])).stdout).map((line) => line.split("\t")[0]!);

const leaves = (command: Command): Command[] =>
  command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);

describe("the table of wings", () => {
  it("names exactly the commands that each wing adds, so that help tells the truth", async () => {
    const listed = (await buildProgram([])).commands.map((command) => command.name());
    expect(new Set(listed).size).toBe(listed.length);
    for (const wing of WINGS) {
      const program = await buildProgram([]);
      const bare = program.createCommand("bare");
      (await wing.load()).register(bare);
      expect(bare.commands.map((command) => command.name()).sort()).toEqual(Object.keys(wing.commands).sort());
    }
  });

  it("every command says what it does, and its options too", async () => {
    for (const command of leaves(await buildProgram("all"))) {
      expect(command.description(), pathOf(command)).not.toBe("");
      for (const option of command.options)
        expect(option.description, `${pathOf(command)} ${option.flags}`).not.toBe("");
    }
    for (const wing of WINGS)
      for (const [name, help] of Object.entries(wing.commands)) expect(help.length, name).toBeLessThan(66);
  });
});

describe("generated from the commands", () => {
  it("the manual page holds every command, option and exit code, and no bare macro", async () => {
    const page = manualPage(await buildProgram("all"));
    for (const part of ["orrery fuzz", "\\-\\-runs", "EXIT STATUS", "interrupted by Ctrl\\-C", "NO_COLOR"])
      expect(page).toContain(part);
    for (const line of linesOf(page)) if (/^[.']/.test(line)) expect(line).toMatch(/^\.(TH|SH|SS|TP|B|I|nf|fi)\b/);
  });

  it.each(["bash", "zsh", "fish"])("a completion script for %s calls orrery complete", async (shell) => {
    const { code, stdout } = await orrery(["completion", shell]);
    expect(code).toBe(0);
    expect(stdout).toContain("orrery complete --");
  });

  it("complete suggests commands, options and choices", async () => {
    expect(await complete("fu")).toContain("fuzz");
    expect(await complete("fuzz", "--s")).toContain("--seed");
    expect(await complete("fuzz", "pr")).toContain("prng");
    expect(await complete("bench", "")).toContain("startup");
    expect(await complete("version", "--format", "")).toEqual(expect.arrayContaining(["table", "json"]));
  });
});

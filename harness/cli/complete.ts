/** `orrery complete -- WORDS`: what may follow the words, one suggestion a line, for the scripts of `orrery completion`. */
import { existsSync, readdirSync } from "node:fs";
import tab from "@bomb.sh/tab/commander";
import type { Command } from "commander";
import { RUNS_DIR } from "../run/runs_dir.ts";
import { BENCHES, loadAll, TARGETS } from "./catalog.ts";
import { buildProgram } from "./program.ts";

type Name = readonly [name: string, meaning: string];

/** Command -> the names that its first argument takes, beyond what commander knows. */
const NAMES: Readonly<Record<string, () => Promise<Name[]>>> = {
  fuzz: async () => (await loadAll(TARGETS)).map(([name, { help }]) => [name, help]),
  bench: async () => (await loadAll(BENCHES)).map(([name, { help }]) => [name, help]),
  replay: () => Promise.resolve(existsSync(RUNS_DIR) ? readdirSync(RUNS_DIR).map((id): Name => [id, ""]) : []),
};

export function register(program: Command): void {
  program
    .command("complete", { hidden: true })
    .description("Print what may follow the words after --.")
    .argument("[words...]", "the words so far, the last one unfinished")
    .allowUnknownOption()
    .action(async () => {
      const mark = process.argv.indexOf("--");
      if (mark >= 0) await complete(process.argv.slice(mark + 1));
    });
}

async function complete(words: readonly string[]): Promise<void> {
  const program = await buildProgram("all");
  const suggestions = tab(program);
  const command = words[0] ?? "";
  const names = (await NAMES[command]?.()) ?? [];
  for (const [, argument] of suggestions.commands.get(command)?.arguments ?? []) {
    if (names.length === 0) break;
    argument.handler = (suggest) => {
      for (const [name, meaning] of names) suggest(name, meaning);
    };
  }
  suggestions.parse([...words]);
}

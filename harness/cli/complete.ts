/** `orrery complete -- WORDS`: what may follow the words, one suggestion a line, for the scripts of `orrery completion`. */
import tab from "@bomb.sh/tab/commander";
import type { Command } from "commander";
import { buildProgram } from "./program.ts";

export function register(program: Command): void {
  program
    .command("complete", { hidden: true })
    .argument("[words...]")
    .allowUnknownOption()
    .action(async () => {
      const mark = process.argv.indexOf("--");
      if (mark >= 0) tab(await buildProgram("all")).parse(process.argv.slice(mark + 1));
    });
}

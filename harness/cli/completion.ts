/** `orrery completion SHELL`: the script that a shell sources; at each TAB it asks `orrery complete`. */
import tab from "@bomb.sh/tab/commander";
import { Argument } from "commander";
import type { Command } from "commander";
import { oneOf } from "./args.ts";
import { buildProgram } from "./program.ts";

const SHELLS = ["bash", "zsh", "fish"] as const;

export function register(program: Command): void {
  program
    .command("completion")
    .description("Print a completion script. For bash: source <(orrery completion bash)")
    .addArgument(new Argument("<shell>", "the shell").choices(SHELLS).argParser(oneOf(SHELLS)))
    .action(async (shell: (typeof SHELLS)[number]) => {
      tab(await buildProgram("all")).setup("orrery", "orrery", shell);
    });
}

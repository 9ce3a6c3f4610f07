/**
 * The command `orrery`, past the launcher: builds the command line, runs it, and is the one place where whatever went
 * wrong becomes one line on stderr and an exit code.
 */
import type { Command } from "commander";
import { EXIT } from "./cli/exit.ts";
import { failureOf } from "./cli/failure.ts";
import { commandLine } from "./cli/invocation.ts";
import { buildProgram } from "./cli/program.ts";

/** The command whose action runs, for the line that repeats it. */
let running: Command | undefined;

async function main(words: readonly string[]): Promise<void> {
  const program = await buildProgram(words);
  program.hook("preAction", (_program, action) => {
    running = action;
  });
  if (words.length === 0) return program.outputHelp();
  await program.parseAsync(words, { from: "user" });
}

function fail(error: unknown): void {
  const { code, line } = failureOf(error, repeatLine());
  if (process.env["ORRERY_DEBUG"] === "1" && error instanceof Error) console.error(error.stack);
  if (line !== "") console.error(line);
  process.exitCode = code;
  if (line === "" && code === EXIT.ok && isClosedPipe(error)) process.exit();
}

function repeatLine(): string {
  const seed: unknown = running?.opts()["seed"];
  return `${typeof seed === "number" ? `seed ${seed}; ` : ""}repeat with: ${commandLine(process.argv.slice(2), seed)}`;
}

const isClosedPipe = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === "EPIPE";

/** Whatever a command left open (a worker, a socket) must not keep it from ending. */
function endWhenWritten(): void {
  process.stdout.write("", () => process.stderr.write("", () => process.exit()));
}

const failHard = (error: unknown): void => {
  fail(error);
  process.exit();
};
process.stdout.on("error", failHard);
process.stderr.on("error", failHard);
process.on("uncaughtException", failHard);
process.on("unhandledRejection", failHard);
await main(process.argv.slice(2)).catch(fail).finally(endWhenWritten);

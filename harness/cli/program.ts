/**
 * The command line as commander sees it: global options, one entry a command, the exit codes in the help.
 *
 * - buildProgram(words)   loads only the wing of the first word; the others are entries that help can list
 * - buildProgram("all")   loads every wing that help lists: completion and the manual page need every option
 *
 * Errors are thrown, never printed here (main.ts prints them); each carries the command's name so that the line can end
 * with where to read more.
 */
import { Command, CommanderError } from "commander";
import { packageVersion } from "./package.ts";
import { WINGS } from "./wings.ts";
import type { Wing } from "./wings.ts";

const FOOT = `
Exit codes:
  0    done
  1    a threshold was missed, or a comparison found a difference
  2    wrong arguments, unreadable or malformed input, unsuitable environment
  3    an invariant was broken or damage was found; the line says how to repeat it
  4    a program that the command needs is not installed ("orrery doctor" says which)
  130  interrupted by Ctrl-C; what was done until then is kept

stdout carries the result, stderr everything else. --format json prints exactly one
JSON document. Colour and progress only on a terminal; NO_COLOR turns colour off.`;

export async function buildProgram(words: readonly string[] | "all"): Promise<Command> {
  const program = new Command("orrery");
  program.description(
    "A working model of an operating system: memory, scheduler, drivers and file\nsystem as real algorithms on real formats, in virtual time or as real threads.",
  );
  const help = new Command("help").argument("[command]").summary("show the help of a command");
  program.usage("<command> [options]").addHelpCommand(help.helpGroup("This installation:"));
  program.version(packageVersion(), "-V, --version", "print the version").addHelpText("after", FOOT);
  throwErrors(program);
  const asked = words === "all" ? undefined : wordOf(words);
  for (const wing of WINGS) {
    const hidden = wing.group === "";
    if (asked !== undefined && asked in wing.commands) await addWing(program, wing);
    else if (words !== "all") addEntries(program, wing, hidden);
    else if (!hidden) await addWing(program, wing);
  }
  for (const command of program.commands) throwErrors(command);
  return program;
}

/** The command's name: the first word that is no option, or the one after `help`. */
function wordOf(words: readonly string[]): string | undefined {
  const names = words.filter((word) => !word.startsWith("-"));
  return names[0] === "help" ? names[1] : names[0];
}

async function addWing(program: Command, wing: Wing): Promise<void> {
  const before = new Set(program.commands);
  (await wing.load()).register(program);
  for (const command of program.commands) {
    if (before.has(command)) continue;
    const help = wing.commands[command.name()];
    if (help !== undefined) command.summary(help).helpGroup(wing.group);
  }
}

function addEntries(program: Command, wing: Wing, hidden: boolean): void {
  for (const [name, help] of Object.entries(wing.commands))
    program.command(name, { hidden }).summary(help).helpGroup(wing.group);
}

/** Commander's own printing and exiting give way to an error that names the command. */
function throwErrors(command: Command): void {
  command.exitOverride((error) => {
    throw new CommandLineError(error, pathOf(command));
  });
  command.configureOutput({ outputError: () => {} });
  for (const child of command.commands) throwErrors(child);
}

/** `orrery sched fair`. */
export function pathOf(command: Command): string {
  const names: string[] = [];
  for (let at: Command | null = command; at !== null; at = at.parent) names.unshift(at.name());
  return names.join(" ");
}

export class CommandLineError extends Error {
  /** Commander's name for what is wrong: `commander.unknownOption`. */
  readonly code: string;
  /** 0 when nothing is wrong: help was asked for. */
  readonly exitCode: number;
  /** Full name of the command that was asked for. */
  readonly command: string;
  constructor(cause: CommanderError, command: string) {
    super(cause.message, { cause });
    this.code = cause.code;
    this.exitCode = cause.exitCode;
    this.command = command;
  }
}

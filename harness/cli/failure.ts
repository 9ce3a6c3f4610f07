/**
 * What a failed command says and returns: one line on stderr and a documented exit code, whatever was thrown.
 * Stack traces are for developers: ORRERY_DEBUG=1 shows them.
 */
import { EXIT, UserError } from "./exit.ts";
import type { ExitCode } from "./exit.ts";
import { CommandLineError } from "./program.ts";

export interface Failure {
  readonly code: ExitCode;
  /** Empty: nothing is to be said. */
  readonly line: string;
}

/** `again` is the command that repeats the run, its seed included. */
export function failureOf(error: unknown, again: string): Failure {
  if (error instanceof CommandLineError) return commandLineFailure(error);
  if (error instanceof UserError) return { code: error.exitCode, line: `orrery: ${oneLine(error.message)}` };
  if (!(error instanceof Error)) return { code: EXIT.invariant, line: `orrery: internal error: ${String(error)}` };
  if (error.name === "KernelPanic") return { code: EXIT.invariant, line: `panic: ${oneLine(error.message)}; ${again}` };
  const system = error as NodeJS.ErrnoException;
  if (system.code === "EPIPE") return { code: EXIT.ok, line: "" };
  if (system.syscall !== undefined && system.path !== undefined)
    return { code: EXIT.usage, line: `orrery: cannot ${system.syscall} ${system.path}: ${reasonOf(system)}` };
  return { code: EXIT.invariant, line: `orrery: internal error: ${oneLine(error.message)}${placeOf(error)}; ${again}` };
}

function commandLineFailure(error: CommandLineError): Failure {
  // Help or version was asked for, and is printed.
  if (error.exitCode === 0) return { code: EXIT.ok, line: "" };
  // A command without its subcommand: commander has printed its help on stderr, which explains it.
  if (error.code === "commander.help") return { code: EXIT.usage, line: "" };
  const text = oneLine(error.message.replace(/^error: /, "")).replace(/\.$/, "");
  return { code: EXIT.usage, line: `orrery: ${text}; see "${error.command} --help"` };
}

const oneLine = (text: string): string => text.trim().replaceAll(/\s*\n\s*/g, " ");

/** Node's message is `ENOENT: no such file or directory, open 'x'`: the middle part is for people. */
const reasonOf = (error: NodeJS.ErrnoException): string =>
  /^[A-Z0-9]+: ([^,]+)/.exec(error.message)?.[1] ?? error.message;

/** ` (at sched/core.ts:12:3)`, so that a report from a user names the place without a stack. */
function placeOf(error: Error): string {
  const frame = /((?:[\w.-]+\/){0,2}[\w.-]+\.[tj]s:\d+:\d+)\)?$/m.exec(error.stack ?? "")?.[1];
  return frame === undefined ? "" : ` (at ${frame})`;
}

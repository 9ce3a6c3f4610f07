/** `orrery man`: the manual page, from the commands themselves, in man(7) macros; nothing is written twice. */
import type { Command } from "commander";
import { packageVersion } from "./package.ts";
import { buildProgram, pathOf } from "./program.ts";

export function register(program: Command): void {
  program
    .command("man")
    .description("Print the manual page in man(7) format: orrery man | man -l -")
    .action(async () => {
      process.stdout.write(manualPage(await buildProgram("all")));
    });
}

/** Text that starts with a dot or an apostrophe is a macro, and a hyphen is not a minus: both are escaped. */
const roff = (text: string): string =>
  text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll(/^([.'])/gm, "\\&$1");

export function manualPage(program: Command): string {
  const lines = [`.TH ORRERY 1 "" "orrery ${packageVersion()}" "User Commands"`];
  const help = program.createHelp();
  lines.push(".SH NAME", `orrery \\- ${roff("a working model of an operating system")}`);
  lines.push(".SH SYNOPSIS", ".B orrery", roff("<command> [options]"));
  lines.push(".SH DESCRIPTION", roff(program.description()));
  lines.push(".SH COMMANDS");
  const add = (command: Command): void => {
    for (const child of help.visibleCommands(command)) {
      if (child.name() === "help") continue;
      if (child.commands.length === 0) lines.push(...section(child));
      else add(child);
    }
  };
  add(program);
  lines.push(".SH EXIT STATUS", ".nf", roff(footOf(program)), ".fi");
  lines.push(".SH ENVIRONMENT");
  for (const [name, meaning] of ENVIRONMENT) lines.push(".TP", `.B ${name}`, roff(meaning));
  return `${lines.join("\n")}\n`;
}

const ENVIRONMENT = [
  ["NO_COLOR", "no colour in the output"],
  ["ORRERY_APT", "0: never install system packages"],
  ["ORRERY_DEBUG", "1: show the stack of an error"],
] as const;

function section(command: Command): string[] {
  const help = command.createHelp();
  const lines = [
    `.SS "${roff(pathOf(command))} ${roff(help.commandUsage(command).split(`${command.name()} `)[1] ?? "")}"`,
  ];
  lines.push(roff(command.description()));
  for (const argument of help.visibleArguments(command))
    lines.push(".TP", `.I ${roff(argument.name())}`, roff(help.argumentDescription(argument)));
  for (const option of help.visibleOptions(command))
    if (option.long !== "--help") lines.push(".TP", `.B ${roff(option.flags)}`, roff(help.optionDescription(option)));
  return lines;
}

/** What the help says after the list of commands. */
function footOf(program: Command): string {
  let text = "";
  program.configureOutput({ writeOut: (part) => (text += part) });
  program.outputHelp();
  return text.slice(text.indexOf("Exit codes:") + "Exit codes:".length).trim();
}

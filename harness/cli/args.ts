/**
 * Readers of option and argument values. Each throws InvalidArgumentError, to which commander adds the option's name and
 * the value, so that every mistake reads: option '--cpus <n>' argument '-1' is invalid. A whole number from 1 to 64.
 *
 * - wholeNumber(min, max)   digits only: no sign, fraction, exponent, hexadecimal, blank or NaN
 * - realNumber(min, max)    decimal, exponent allowed
 * - byteSize(min, max)      bytes, or with K, M, G: powers of 1024
 * - oneOf(choices)          a name, with the nearest one on a mistake
 * - seedOption, formatOption, outOption: the options that every wing shares
 */
import { InvalidArgumentError, Option } from "commander";
import { nearest } from "./nearest.ts";
import type { Format } from "./output.ts";

/** Seeds are exact doubles; kernel/lib/prng.ts uses all 53 bits. */
export const SEED_MAX = Number.MAX_SAFE_INTEGER;
const UNITS: Readonly<Record<string, number>> = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/** 9007199254740991 is hard to read, 2^53-1 is not. */
const shown = (value: number): string => (value === Number.MAX_SAFE_INTEGER ? "2^53-1" : String(value));

function inRange(value: number, min: number, max: number, what: string): number {
  if (!(value >= min && value <= max)) throw new InvalidArgumentError(`${what} from ${shown(min)} to ${shown(max)}.`);
  return value;
}

export const wholeNumber =
  (min: number, max: number): ((text: string) => number) =>
  (text) =>
    inRange(/^\d{1,17}$/.test(text) ? Number(text) : Number.NaN, min, max, "A whole number");

export const realNumber =
  (min: number, max: number): ((text: string) => number) =>
  (text) =>
    inRange(/^-?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN, min, max, "A number");

/** 1.5M is 1572864; a size that is no whole number of bytes is refused. */
export const byteSize =
  (min: number, max: number): ((text: string) => number) =>
  (text) => {
    const match = /^(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?$/i.exec(text);
    const bytes = match === null ? Number.NaN : Number(match[1]) * UNITS[match[2]!.toUpperCase()]!;
    if (Number.isInteger(bytes) && bytes >= min && bytes <= max) return bytes;
    throw new InvalidArgumentError(`A size from ${sizeText(min)} to ${sizeText(max)}, such as 64M.`);
  };

/** The shortest exact spelling: 65536 is 64K, 1000 is 1000. */
export function sizeText(bytes: number): string {
  const unit =
    ["T", "G", "M", "K", ""].find((name) => bytes >= UNITS[name]! && Number.isInteger(bytes / UNITS[name]!)) ?? "";
  return `${bytes / UNITS[unit]!}${unit}`;
}

export const oneOf =
  <const Name extends string>(choices: readonly Name[]): ((text: string) => Name) =>
  (text) => {
    const found = choices.find((choice) => choice === text);
    if (found !== undefined) return found;
    const near = nearest(text, choices);
    throw new InvalidArgumentError(
      near === undefined ? `One of: ${choices.join(", ")}.` : `Did you mean ${near}? One of: ${choices.join(", ")}.`,
    );
  };

/** An option whose value is a name of a closed list, for help and completion too. */
export const choiceOption = <const Name extends string>(
  flags: string,
  help: string,
  choices: readonly Name[],
  fallback: NoInfer<Name>,
): Option =>
  new Option(flags, help)
    .choices([...choices])
    .argParser(oneOf(choices))
    .default(fallback);

export const seedOption = (): Option =>
  new Option("--seed <n>", "seed of all chance; the same seed gives the same run")
    .argParser(wholeNumber(0, SEED_MAX))
    .default(1);

/** `table` is the reader's own; the others are for programs. */
export const formatOption = (...formats: readonly Format[]): Option =>
  choiceOption(
    "--format <f>",
    "how the result is printed",
    ["table", ...formats.filter((f) => f !== "table")],
    "table",
  );

export const outOption = (): Option =>
  new Option("--out <dir>", "directory for the run's files (default: orrery-runs/ID)");

/** What the commands of `orrery crash` share: options, and the lines under a table. */
import { InvalidArgumentError, Option } from "commander";
import type { Command } from "commander";
import type { Summary } from "../crash/summary.ts";
import type { KernelSample } from "../crash/referee_sample.ts";
import { choiceOption, wholeNumber } from "./args.ts";
import type { Format } from "./output.ts";

export interface RecordingOptions {
  readonly base: string;
  readonly log: string;
}

export interface JudgeOptions extends RecordingOptions {
  readonly policy: "kernel" | "e2fsck";
  readonly format: Format;
}

export const recordingOptions = (command: Command): Command =>
  command
    .requiredOption("--base <file>", "the disk before the first write; .zst and .gz are read, too")
    .requiredOption("--log <file>", "its write log: ours (orrery nbd serve --record) or of dm-log-writes");

/** Subsets of an epoch are 2 to this power at the most. */
export const SUBSET_BITS_MAX = 24;
const FAILURES_NOTED = 5;

export const sectorSize = (text: string): number => {
  if (text === "512" || text === "4096") return Number(text);
  throw new InvalidArgumentError("512 or 4096 bytes.");
};

function shardOf(text: string): [number, number] {
  const match = /^(\d{1,6})\/(\d{1,6})$/.exec(text);
  const [part, parts] = [Number(match?.[1]), Number(match?.[2])];
  if (match === null || parts < 1 || part < 1 || part > parts)
    throw new InvalidArgumentError("A part and the number of parts, such as 2/8.");
  return [part, parts];
}

/** The parts of a campaign are dealt out like cards: 2/8 is every eighth piece, from the second on. */
export const shardOption = (): Option =>
  new Option("--shard <i/n>", "only the i-th of n parts").argParser(shardOf).default([1, 1], "1/1");

export const policyOption = (): Option =>
  choiceOption(
    "--policy <p>",
    "how a state is recovered: as Linux does at mount, or as e2fsck",
    ["kernel", "e2fsck"],
    "kernel",
  );

export const failureNotes = (summary: Summary): string[] => [
  ...Object.entries(summary.byClass).map(([name, count]) => `${name}: ${count}`),
  ...summary.firstFailures.slice(0, FAILURES_NOTED).map(({ id, class: found, why }) => `${id}: ${found}: ${why}`),
  ...(summary.flagged > 0 && summary.flaggedByPrefixes === 0
    ? ["replaying prefixes alone would have found nothing: only reordering shows it"]
    : []),
];

export const kernelOption = (): Option =>
  new Option("--kernel <n>", "clean states, and as many refused ones, that a real Linux guest mounts (needs QEMU)")
    .argParser(wholeNumber(0, 100_000))
    .default(0);

export const kernelNotes = (sample: KernelSample | undefined): string[] =>
  sample === undefined
    ? []
    : [
        `Linux mounted ${sample.judged} states: it disagrees on ${sample.disagreements.length}, and left ${sample.leftDamaged.length} damaged`,
        ...[...sample.disagreements, ...sample.leftDamaged]
          .slice(0, FAILURES_NOTED)
          .map(({ id, kernel, left }) => `${id}: Linux: ${kernel}; e2fsck after it: ${left}`),
      ];

/**
 * The command that asks whether a wing's tests notice its seeded bugs (harness/mutants): each is put into a copy of the
 * source tree, the tests run there. Ends with 1 when one survives.
 *
 * - mutantsCommand(load, options)   `load` brings the set; it and its tests are only in a checkout
 */
import { existsSync } from "node:fs";
import { InvalidArgumentError } from "commander";
import type { MutantSet } from "../mutants/mutant.ts";
import { EXIT, UserError } from "./exit.ts";
import { emit } from "./output.ts";
import type { Format } from "./output.ts";
import { packageRoot } from "./package.ts";

const SCHEMA = 1;

export interface MutantsOptions {
  readonly only?: readonly number[];
  readonly format: Format;
}

export function mutantNumbers(text: string): readonly number[] {
  if (!/^\d{1,4}(,\d{1,4})*$/.test(text)) throw new InvalidArgumentError("Numbers from 0, such as 3,7,12.");
  return text.split(",").map(Number);
}

export async function mutantsCommand(load: () => Promise<MutantSet>, options: MutantsOptions): Promise<void> {
  const { only, format } = options;
  const set = await load();
  if (!existsSync(`${packageRoot}/test`))
    throw new UserError("seeded bugs need the source tree with its tests: run this in a checkout", EXIT.tool);
  const unknown = only?.find((number) => number >= set.mutants.length);
  if (unknown !== undefined)
    throw new UserError(`there is no mutant ${unknown}; they are numbered 0 to ${set.mutants.length - 1}`);
  const { runMutants } = await import("../mutants/mutant.ts");
  const verdicts = runMutants(set, {
    root: packageRoot,
    progress: (line) => console.error(line),
    ...(only === undefined ? {} : { only }),
  });
  const survived = verdicts.filter((one) => one.verdict === "survived").length;
  emit(format, {
    document: { schema: SCHEMA, mutants: verdicts.length, killed: verdicts.length - survived, survived, verdicts },
    rows: verdicts.map((one) => ({ ...one })),
    notes: [`${verdicts.length - survived} of ${verdicts.length} killed`],
  });
  if (survived > 0) process.exitCode = EXIT.missed;
}

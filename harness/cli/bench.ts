/**
 * `orrery bench NAME...`: benchmarks of harness/bench/, or `all`; without a name it lists them. Every finished table is
 * kept in the run's directory at once, so that Ctrl-C loses only the one that was being measured.
 */
import { writeFileSync } from "node:fs";
import type { Command } from "commander";
import type { BenchTable } from "../bench/bench.ts";
import { formatOption, outOption } from "./args.ts";
import { runCampaign } from "./campaign.ts";
import { BENCHES, fileOf, loadAll, loadItem } from "./catalog.ts";
import { UserError } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import { emit, honestJson } from "./output.ts";
import type { Format } from "./output.ts";
import { progressLine } from "./progress.ts";

interface Options {
  readonly quick?: boolean;
  readonly device?: string;
  readonly format: Format;
  readonly out?: string;
}

export function register(program: Command): void {
  program
    .command("bench")
    .description('Run benchmarks by name, or "all"; without a name, list them.')
    .argument("[names...]", 'the benchmarks, or "all"')
    .option("--quick", "fewer rounds: to see that it works, not to quote")
    .option("--device <names>", "blk: only these devices, separated by commas, or all; QEMU's too")
    .addOption(formatOption("json", "jsonl", "csv", "md"))
    .addOption(outOption())
    .action(async (names: readonly string[], options: Options, command: Command) => {
      if (names.length === 0) return list(options.format);
      const chosen = names.includes("all") ? (await loadAll(BENCHES)).map(([name]) => name) : names;
      const devices = await devicesOf(chosen, options.device);
      await measure(chosen, devices, options, command);
    });
}

async function list(format: Format): Promise<void> {
  const rows = (await loadAll(BENCHES)).map(([name, bench]) => ({ name, measures: bench.help }));
  emit(format, { document: { schema: 1, benchmarks: rows }, rows });
}

/** The devices that --device names; every benchmark that was chosen must know them. */
async function devicesOf(names: readonly string[], given: string | undefined): Promise<readonly string[] | undefined> {
  const words = given?.split(",");
  let devices: readonly string[] | undefined = words;
  for (const name of names) {
    const { devices: known = [] } = await loadItem(BENCHES, name);
    if (words === undefined) continue;
    if (words.includes("all")) devices = known;
    const unknown = words.find((word) => word !== "all" && !known.includes(word));
    if (known.length === 0) throw new UserError(`bench ${name} has no devices to choose from: leave out --device`);
    if (unknown !== undefined)
      throw new UserError(`bench ${name} has no device "${unknown}" (there is: ${known.join(", ")}, all)`);
  }
  return devices;
}

async function measure(
  names: readonly string[],
  devices: readonly string[] | undefined,
  options: Options,
  command: Command,
): Promise<void> {
  const { openRun } = await import("../run/run.ts");
  const run = openRun(command, options.out);
  const tables: BenchTable[] = [];
  await interruptible(async (stop) => {
    for (const name of names) {
      const line = progressLine(`bench ${name}`);
      const file = fileOf(BENCHES, name).href;
      const job = {
        kind: "bench",
        file,
        quick: options.quick === true,
        ...(devices === undefined ? {} : { devices }),
      } as const;
      const table = (await runCampaign(job, (text) => line.update(text), stop)) as BenchTable | undefined;
      line.end();
      if (table === undefined) break;
      tables.push(table);
      writeFileSync(run.path(`${name}.json`), honestJson(table, 2));
    }
  });
  const interrupted = tables.length < names.length;
  const host = { node: process.versions.node, cpus: (await import("node:os")).cpus()[0]?.model ?? null };
  const document = { schema: 1, host, quick: options.quick === true, interrupted, tables };
  run.finish({ document });
  if (options.format === "table" || options.format === "md") {
    for (const { name, rows, notes } of tables) emit(options.format, { document, rows, title: `bench ${name}`, notes });
  } else {
    const rows = tables.flatMap((table) => table.rows.map((row) => ({ bench: table.name, ...row })));
    emit(options.format, { document, rows });
  }
}

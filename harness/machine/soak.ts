/**
 * A soak of the parallel machine: runs a workload for a while on the host's clock, stops in order, and judges what
 * remains. As a program of its own it is also what a test kills to cut the power: with --store the disk is a file that
 * holds what was durable, and beside it FILE.kmsg what tasks told /dev/kmsg, each line before its call returned.
 *
 *   node harness/machine/soak.ts --workload mixed --seconds 600 --cpus 2 --memory 64M --disk new:256M [--store FILE]
 *
 * stdout: one line of JSON: SoakReport. stderr: how it goes, once a second.
 * Ends with 1 when anything is wrong. SIGINT and SIGTERM stop it in order.
 *
 * - soak(options, say, signal)   boots, runs, stops, judges
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import type { MachineResult } from "../../kernel/index.ts";
import { byteSize } from "../cli/args.ts";
import { judgeImage } from "./judge.ts";
import type { Verdict } from "./judge.ts";
import { MACHINE_DEFAULTS } from "./machine.ts";
import type { DiskModel } from "./machine.ts";
import { openParallel } from "./parallel.ts";
import type { ParallelOptions } from "./parallel.ts";

export interface SoakOptions extends ParallelOptions {
  readonly seconds: number;
}

export interface SoakReport {
  readonly workload: string;
  readonly cpus: number;
  readonly bootMs: number;
  readonly seconds: number;
  readonly calls: number;
  readonly switches: number;
  readonly leaks: MachineResult["leaks"];
  readonly storage: MachineResult["storage"];
  readonly lines: number;
  readonly verdict: Verdict;
  readonly problems: readonly string[];
}

const ROUND_S = 1;
const MEMORY_BYTES_MAX = 2 ** 31;

export async function soak(
  options: SoakOptions,
  say: (text: string) => void = () => undefined,
  signal?: AbortSignal,
): Promise<SoakReport> {
  const { machine, image, console: lines } = await openParallel(options);
  say(`booted in ${machine.bootMs.toFixed(0)} ms`);
  const until = machine.seconds + options.seconds;
  const goesOn = (): boolean => machine.seconds < until && machine.live > 0 && signal?.aborted !== true;
  while (goesOn()) {
    await machine.run(Math.min(ROUND_S, until - machine.seconds), signal);
    say(`${machine.seconds.toFixed(1)} s: ${machine.live} tasks, ${lines.length} lines`);
  }
  const result = await machine.stop();
  const bytes = image ?? readFileSync(options.store!);
  const verdict = judgeImage(bytes, lines);
  const { calls, seconds, switches, leaks, storage, bootMs } = result;
  const problems = [...result.problems, ...verdict.broken];
  if (verdict.damage > 0) problems.push(`${verdict.damage} faults on the disk`);
  const { workload, cpus } = options;
  return { workload, cpus, bootMs, seconds, calls, switches, leaks, storage, lines: lines.length, verdict, problems };
}

async function main(): Promise<void> {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    options: {
      workload: text,
      seconds: text,
      cpus: text,
      memory: text,
      disk: text,
      store: text,
      "store-module": text,
      seed: text,
      policy: text,
      "disk-model": text,
    },
  });
  const abort = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => abort.abort());
  const { store } = values;
  const report = await soak(
    {
      ...MACHINE_DEFAULTS,
      seconds: Number(values.seconds ?? 10),
      workload: values.workload ?? MACHINE_DEFAULTS.workload,
      cpus: Number(values.cpus ?? 2),
      memoryBytes: byteSize(32 * 2 ** 20, MEMORY_BYTES_MAX)(values.memory ?? "128M"),
      disk: values.disk ?? MACHINE_DEFAULTS.disk,
      seed: Number(values.seed ?? 1),
      policy: values.policy ?? MACHINE_DEFAULTS.policy,
      diskModel: (values["disk-model"] ?? MACHINE_DEFAULTS.diskModel) as DiskModel,
      ...(values["store-module"] === undefined ? {} : { storeModule: values["store-module"] }),
      ...(store === undefined ? {} : { store }),
    },
    (line) => process.stderr.write(`${line}\n`),
    abort.signal,
  );
  process.stdout.write(`${JSON.stringify(report)}\n`);
  if (report.problems.length > 0) process.exitCode = 1;
}

if (import.meta.main) await main();

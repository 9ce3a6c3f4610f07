/**
 * The booted machine with racing workers: how long it takes until tasks run, what a call costs that its CPU answers and one
 * that the storage worker answers, and how many fsyncs a second a disk without service time bears. Medians; the host's load
 * is in all of them.
 */
import { openParallel } from "../machine/parallel.ts";
import { MACHINE_DEFAULTS } from "../machine/machine.ts";
import type { Bench, BenchOptions, BenchRow, BenchTable } from "./bench.ts";
import { median } from "./median.ts";
import { WORKLOADS } from "./parallel_machine_load.ts";

const ROUNDS = 9;
const ROUNDS_QUICK = 3;
const PATIENCE_S = 60;
const MIB = 2 ** 20;

interface Sample {
  readonly bootMs: number;
  /** CPU time of all threads until tasks ran. */
  readonly bootCpuMs: number;
  readonly callUs: number;
  readonly perSecond: number;
}

async function measure(name: string): Promise<Sample> {
  const file = new URL("./parallel_machine_load.ts", import.meta.url);
  const { pathname } = new URL(import.meta.url.endsWith(".ts") ? file : file.href.replace(/ts$/, "js"));
  const {
    machine,
    bootCpuMs,
    console: lines,
  } = await openParallel({
    ...MACHINE_DEFAULTS,
    cpus: 2,
    memoryBytes: 64 * MIB,
    disk: "new:32M",
    diskModel: "instant",
    workload: `${pathname}#${name}`,
  });
  await machine.run(PATIENCE_S);
  await machine.stop();
  const told = lines.map((line) => line.trim().split(" ").map(Number));
  const calls = told.reduce((sum, [, count]) => sum + count!, 0);
  const ns = Math.max(...told.map(([, , took]) => took!));
  return {
    bootMs: machine.bootMs,
    bootCpuMs,
    callUs: (ns * told.length) / calls / 1e3,
    perSecond: (calls * 1e9) / ns,
  };
}

async function run({ quick, progress }: BenchOptions): Promise<BenchTable> {
  const rounds = quick ? ROUNDS_QUICK : ROUNDS;
  const samples = new Map<string, Sample[]>(WORKLOADS.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    progress(`round ${round + 1} of ${rounds}`);
    for (const [name, list] of samples) list.push(await measure(name));
  }
  const all = [...samples.values()].flat();
  const rows: BenchRow[] = [
    { what: "boot to first task, ms", value: Math.round(median(all.map(({ bootMs }) => bootMs))), perSecond: null },
    {
      what: "CPU time of all threads for that, ms",
      value: Math.round(median(all.map(({ bootCpuMs }) => bootCpuMs))),
      perSecond: null,
    },
  ];
  const row = (what: string, name: string): void => {
    const list = samples.get(name)!;
    rows.push({
      what,
      value: median(list.map(({ callUs }) => callUs)),
      perSecond: Math.round(median(list.map(({ perSecond }) => perSecond))),
    });
  };
  row("getpid, answered by its CPU, us", "getpid");
  row("lseek, answered by the storage worker, us", "lseek");
  row("lseek, 4 tasks on 2 CPUs, us each", "lseek-4");
  row("write 4 KiB and fsync, us", "fsync");
  row("write 4 KiB and fsync, 4 tasks on 2 CPUs, us each", "fsync-4");
  return {
    schema: 1,
    name: "parallel_machine",
    rows,
    notes: [
      `${rounds} rounds; 2 CPUs, one storage worker, one disk: 4 threads beside the main one`,
      "the disk takes no time; what is left are trips between threads",
      "on a host with fewer idle cores than threads, trips include waiting for a core",
    ],
  };
}

export const bench: Bench = {
  name: "parallel_machine",
  help: "the booted machine with racing workers: boot, calls across threads, fsyncs",
  run,
};

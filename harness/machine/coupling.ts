/**
 * How the wings act on each other: the same machine and workload, one thing changed a row. What the memory hog does to who
 * reads files, what a slower disk does to who waits for it.
 *
 * - coupling(seconds, seed, options)    a row a machine
 */
import type { CallRow } from "../../kernel/index.ts";
import { machineFleet } from "./fleet.ts";
import { MACHINE_DEFAULTS } from "./machine.ts";
import type { MachineOptions } from "./machine.ts";
import type { Report } from "./report.ts";

export interface CouplingRow {
  readonly machine: string;
  /** Microseconds: of the calls that read, and of fsync and fdatasync. */
  readonly readMeanUs: number;
  readonly readP99Us: number;
  readonly syncMeanUs: number;
  readonly refaults: number;
  readonly diskReads: number;
  /** Share of the time in which some task stalled. */
  readonly memoryStall: number;
  readonly diskStall: number;
  /** Share of the CPUs' time. */
  readonly iowait: number;
}

const MACHINES: readonly (readonly [name: string, changed: Partial<MachineOptions>])[] = [
  ["calm, NVMe", { workload: "mixed-calm", diskModel: "nvme" }],
  ["hog, NVMe", { workload: "mixed", diskModel: "nvme" }],
  ["calm, SATA", { workload: "mixed-calm", diskModel: "ssd" }],
  ["hog, SATA", { workload: "mixed", diskModel: "ssd" }],
];

export async function coupling(
  seconds: number,
  seed: number,
  changed: Partial<MachineOptions> = {},
  workers = 2,
): Promise<readonly CouplingRow[]> {
  const base = { ...MACHINE_DEFAULTS, memoryBytes: 128 * 2 ** 20, disk: "new:128M", ...changed, seed };
  const jobs = MACHINES.map(([, options]) => ({ options: { ...base, ...options }, seconds }));
  const outcomes = await machineFleet(jobs, workers);
  return outcomes.map(({ report }, at) => rowOf(MACHINES[at]![0], report));
}

function rowOf(machine: string, report: Report): CouplingRow {
  const calls = report.calls;
  const reads = calls.filter(({ name }) => name === "read" || name === "pread64");
  const syncs = calls.filter(({ name }) => name === "fsync" || name === "fdatasync");
  const stall = (us: number): number => round(us / 1e6 / report.seconds);
  return {
    machine,
    readMeanUs: round(mean(reads)),
    readP99Us: round(Math.max(0, ...reads.map(({ p99Us }) => p99Us))),
    syncMeanUs: round(mean(syncs)),
    refaults: report.pageCache!.refaults,
    diskReads: report.disk!.reads,
    memoryStall: stall(report.pressure!.memory.someUs),
    diskStall: stall(report.pressure!.io.someUs),
    iowait: report.sched.iowait,
  };
}

const round = (value: number): number => Number(value.toPrecision(3));

function mean(rows: readonly CallRow[]): number {
  const count = rows.reduce((sum, row) => sum + row.count, 0);
  return count === 0 ? 0 : rows.reduce((sum, row) => sum + row.meanUs * row.count, 0) / count;
}

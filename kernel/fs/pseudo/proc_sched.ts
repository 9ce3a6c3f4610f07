/**
 * CPUs and their time in /proc: stat, schedstat, loadavg, uptime, in Linux 6.1's formats.
 *
 * - schedNodes(parts)   the nodes
 * - LoadAverage         kernel/sched/loadavg.c: tick(now, active) every 5 s and 1 jiffy; keeps LOAD_WORDS numbers
 */
import { NS_PER_SEC } from "../../abi/units.ts";
import { assert } from "../../lib/assert.ts";
import type { PseudoNode } from "./pseudo_fs.ts";

/** What each CPU has done since boot, ns; their sum is the time since boot. */
export interface CpuTimes {
  readonly cpus: number;
  readonly userNs: (cpu: number) => number;
  /** Of tasks with a nice value above 0; not in userNs. */
  readonly niceNs: (cpu: number) => number;
  readonly systemNs: (cpu: number) => number;
  /** Nothing to run; and nothing to run while a task that ran here last waits for a disk. */
  readonly idleNs: (cpu: number) => number;
  readonly iowaitNs: (cpu: number) => number;
  readonly irqNs: (cpu: number) => number;
  /** The host ran something else. */
  readonly stolenNs: (cpu: number) => number;
}

/** What /proc/schedstat tells of a CPU's run queue, since boot. */
export interface RunQueueCounts {
  readonly yields: (cpu: number) => number;
  readonly schedules: (cpu: number) => number;
  /** Of these, to idle. */
  readonly idles: (cpu: number) => number;
  readonly wakeups: (cpu: number) => number;
  /** Of these, by a task on this CPU. */
  readonly localWakeups: (cpu: number) => number;
  /** Tasks' time on it, and waiting for it; times that one was put on it. */
  readonly ranNs: (cpu: number) => number;
  readonly waitedNs: (cpu: number) => number;
  readonly runs: (cpu: number) => number;
}

export interface SchedParts {
  readonly times: CpuTimes;
  readonly now: () => number;
  /** Boot, seconds since 1970. */
  readonly bornSec: number;
  /** Since boot: switches, interrupts, tasks made. */
  readonly switches: () => number;
  readonly interrupts: () => number;
  readonly forks: () => number;
  /** At present: tasks that run or are queued, that wait for a disk, all; the pid given last. */
  readonly running: () => number;
  readonly blocked: () => number;
  readonly tasks: () => number;
  readonly lastPid: () => number;
  readonly load: LoadAverage;
  /** Missing: no schedstat. */
  readonly queues?: RunQueueCounts;
}

/** Ticks of times in /proc. */
export const USER_HZ = 100;
export const clockTicks = (ns: number): number => Math.floor(ns / (NS_PER_SEC / USER_HZ));
const HZ = 250;
const JIFFY_NS = NS_PER_SEC / HZ;
/** Jiffies begin 5 minutes before they wrap in 32 bits. */
const JIFFIES_BOOT = 2 ** 32 - 300 * HZ;

const FSHIFT = 11;
const FIXED_1 = 1 << FSHIFT;
const LOAD_NS = 5 * NS_PER_SEC + JIFFY_NS;
/** e^(-5 s / window) * 2048 for 1, 5 and 15 minutes. */
const EXP = [1884, 2014, 2037] as const;
/** Three averages * 2048, the time of the next step. */
export const LOAD_WORDS = 4;

export class LoadAverage {
  readonly #words: Float64Array;

  /** `words` are of the machine's state. */
  constructor(words: Float64Array, now: number) {
    assert(words.length === LOAD_WORDS, "LoadAverage: four words");
    this.#words = words;
    if (words[3] === 0) words[3] = now + LOAD_NS;
  }

  /** When tick() has something to do. */
  get next(): number {
    return this.#words[3]!;
  }

  /** `active`: tasks that run, are queued or wait for a disk. Steps that were missed count as they are now. */
  tick(now: number, active: number): void {
    for (; now >= this.#words[3]!; this.#words[3]! += LOAD_NS)
      for (const [at, exp] of EXP.entries()) {
        const load = this.#words[at]!;
        const target = active * FIXED_1;
        const sum = load * exp + target * (FIXED_1 - exp);
        this.#words[at] = Math.floor((target >= load ? sum + FIXED_1 - 1 : sum) / FIXED_1);
      }
  }

  /** Load * 2048 over 1, 5 and 15 minutes. */
  get averages(): readonly number[] {
    return EXP.map((_, at) => this.#words[at]!);
  }
}

const each = (cpus: number): number[] => Array.from({ length: cpus }, (_, cpu) => cpu);

/** user nice system idle iowait irq softirq steal guest guest_nice: softirq and the last two are always 0 here. */
const cpuTimes = (times: CpuTimes, cpus: readonly number[]): string =>
  [times.userNs, times.niceNs, times.systemNs, times.idleNs, times.iowaitNs, times.irqNs, () => 0, times.stolenNs]
    .map((timeOf) => clockTicks(cpus.reduce((sum, cpu) => sum + timeOf(cpu), 0)))
    .concat(0, 0)
    .join(" ");

export function statText(parts: SchedParts): string {
  const { times } = parts;
  const cpus = each(times.cpus);
  const lines = [
    `cpu  ${cpuTimes(times, cpus)}`,
    ...cpus.map((cpu) => `cpu${cpu} ${cpuTimes(times, [cpu])}`),
    `intr ${parts.interrupts()}`,
    `ctxt ${parts.switches()}`,
    `btime ${parts.bornSec}`,
    `processes ${parts.forks()}`,
    `procs_running ${parts.running()}`,
    `procs_blocked ${parts.blocked()}`,
    "softirq 0 0 0 0 0 0 0 0 0 0 0",
  ];
  return `${lines.join("\n")}\n`;
}

export function schedstatText(queues: RunQueueCounts, cpus: number, now: number): string {
  const lines = each(cpus).map((cpu) => {
    const counts = [queues.yields(cpu), 0, queues.schedules(cpu), queues.idles(cpu), queues.wakeups(cpu)];
    counts.push(queues.localWakeups(cpu), queues.ranNs(cpu), queues.waitedNs(cpu), queues.runs(cpu));
    return `cpu${cpu} ${counts.join(" ")}\n`;
  });
  return `version 15\ntimestamp ${JIFFIES_BOOT + Math.floor(now / JIFFY_NS)}\n${lines.join("")}`;
}

const hundredths = (value: number): string => {
  const all = Math.floor(value);
  return `${Math.floor(all / 100)}.${String(all % 100).padStart(2, "0")}`;
};

export function loadavgText(parts: SchedParts): string {
  // Half a hundredth is added, as Linux does.
  const loads = parts.load.averages.map((load) => hundredths(((load + FIXED_1 / 200) * 100) / FIXED_1));
  return `${loads.join(" ")} ${parts.running()}/${parts.tasks()} ${parts.lastPid()}\n`;
}

export function uptimeText({ times, now }: SchedParts): string {
  const idleNs = each(times.cpus).reduce((sum, cpu) => sum + times.idleNs(cpu) + times.iowaitNs(cpu), 0);
  return `${hundredths(clockTicks(now()))} ${hundredths(clockTicks(idleNs))}\n`;
}

export function schedNodes(parts: SchedParts): PseudoNode[] {
  const { queues, times, now } = parts;
  const nodes: PseudoNode[] = [
    { path: "loadavg", text: () => loadavgText(parts) },
    { path: "stat", text: () => statText(parts) },
    { path: "uptime", text: () => uptimeText(parts) },
  ];
  if (queues !== undefined)
    nodes.push({ path: "schedstat", text: () => schedstatText(queues, times.cpus, Math.floor(now())) });
  return nodes;
}

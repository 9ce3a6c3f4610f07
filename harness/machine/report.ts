/**
 * What happened in a booted machine, wing by wing, as figures: what `orrery boot` prints and experiments compare.
 *
 * - reportOf(open)       Report; all times are virtual in lockstep
 * - reportRows(report)   the same as a table, one figure a row
 */
import { TaskKind as Kind } from "../../kernel/index.ts";
import { PsiResource, readVmEvents, STAT, ZONE } from "../../mm/index.ts";
import { TASK_IO } from "../../drivers/index.ts";
import type { Row } from "../cli/output.ts";
import type { OpenMachine } from "./machine.ts";

export interface Report {
  readonly seconds: number;
  readonly events: number;
  readonly eventLogHash: string | null;
  readonly sched: {
    readonly switches: number;
    readonly forks: number;
    readonly wakeP99Ms: number | null;
    /** Shares of all CPUs' time. */
    readonly user: number;
    readonly system: number;
    readonly irq: number;
    readonly iowait: number;
    readonly idle: number;
  };
  readonly tasks: readonly TaskRow[];
  readonly calls: readonly Row[];
  readonly memory: {
    readonly managed: number;
    readonly free: number;
    readonly anon: number;
    readonly cached: number;
    readonly dirty: number;
    readonly allocated: number;
    readonly freed: number;
    readonly kswapdScanned: number;
    readonly kswapdReclaimed: number;
    readonly directReclaims: number;
    readonly compacted: number;
    readonly oomKills: number;
  } | null;
  /** Microseconds in which some tasks, all tasks stalled. */
  readonly pressure: Readonly<
    Record<"cpu" | "io" | "memory", { readonly someUs: number; readonly fullUs: number }>
  > | null;
  readonly pageCache: {
    readonly hits: number;
    readonly misses: number;
    readonly readPages: number;
    readonly aheadPages: number;
    readonly writtenPages: number;
    readonly evicted: number;
    readonly refaults: number;
  } | null;
  readonly disk: {
    readonly reads: number;
    readonly readBytes: number;
    readonly writes: number;
    readonly writeBytes: number;
    readonly flushes: number;
    readonly merges: number;
    readonly queuedMs: number;
    readonly serviceMs: number;
    readonly interrupts: number;
    readonly errors: number;
  } | null;
  readonly ext4: { readonly commits: number; readonly readOnly: boolean } | null;
}

export interface TaskRow extends Row {
  readonly name: string;
  readonly tasks: number;
  readonly cpuMs: number;
  readonly calls: number;
  readonly waits: number;
  readonly diskMs: number;
}

const share = (part: number, whole: number): number => (whole > 0 ? Number((part / whole).toFixed(4)) : 0);
const whole = (value: number): number | null => (Number.isFinite(value) ? value : null);

export function reportOf({ booted }: OpenMachine): Report {
  const { system, times, machine, memory, psi, pages, disk, ext4, calls } = booted;
  const { sched, metrics, executor, processes } = system;
  const ns = machine.time[0]!;
  let [busy, idle, iowait, user, switches] = [0, 0, 0, 0, 0];
  for (let cpu = 0; cpu < times.busyNs.length; cpu++) {
    times.settle(cpu);
    busy += times.busyNs[cpu]!;
    idle += times.idleNs[cpu]!;
    iowait += times.iowaitNs[cpu]!;
    user += executor.userNs[cpu]!;
    switches += times.switches[cpu]!;
  }
  const all = busy + idle + iowait;
  const byName = new Map<string, { tasks: number; cpuNs: number; calls: number; waits: number; diskNs: number }>();
  let anon = 0;
  for (let p = 1; p < processes.rows; p++) {
    if (processes.kind[p] === Kind.Free) continue;
    const name = processes.names[p]!;
    const row = byName.get(name) ?? { tasks: 0, cpuNs: 0, calls: 0, waits: 0, diskNs: 0 };
    byName.set(name, row);
    row.tasks++;
    row.cpuNs += sched.task.sumExec[p]!;
    row.calls += processes.calls[p]!;
    row.waits += processes.waits[p]!;
    row.diskNs += processes.diskNs[p]!;
    anon += processes.rss[p]!;
  }
  const pressure = (resource: PsiResource): { someUs: number; fullUs: number } => ({
    someUs: psi!.totalUs(resource, false),
    fullUs: psi!.totalUs(resource, true),
  });
  psi?.sample();
  const vm = memory === undefined ? undefined : readVmEvents(memory.mm);
  const io = (field: number): number => {
    let sum = 0;
    for (let p = 0; p < processes.rows; p++) sum += disk!.queue.accounts.get(p, field);
    return sum;
  };
  return {
    seconds: ns / 1e9,
    events: system.steps(),
    eventLogHash: machine.hash?.hex() ?? null,
    sched: {
      switches,
      forks: times.forks[0]!,
      wakeP99Ms: whole(metrics?.summary().wakeP99Ms ?? NaN),
      user: share(Math.min(user, busy), all),
      system: share(Math.max(0, busy - user - system.irqNs), all),
      irq: share(system.irqNs, all),
      iowait: share(iowait, all),
      idle: share(idle, all),
    },
    tasks: [...byName]
      .map(([name, row]) => ({
        name,
        tasks: row.tasks,
        cpuMs: Number((row.cpuNs / 1e6).toFixed(3)),
        calls: row.calls,
        waits: row.waits,
        diskMs: Number((row.diskNs / 1e6).toFixed(3)),
      }))
      .sort((a, b) => b.cpuMs - a.cpuMs || (a.name < b.name ? -1 : 1)),
    calls: calls.calls().map((row) => ({ ...row })),
    memory:
      memory === undefined || vm === undefined
        ? null
        : {
            managed: memory.managed,
            free: memory.mm.zones.reduce((sum, zone) => sum + zone.words[ZONE.free]!, 0),
            anon,
            cached: pages?.cache.cached() ?? 0,
            dirty: pages?.cache.dirty() ?? 0,
            allocated: vm.pgalloc_dma + vm.pgalloc_dma32 + vm.pgalloc_normal,
            freed: vm.pgfree,
            kswapdScanned: vm.pgscan_kswapd,
            kswapdReclaimed: vm.pgsteal_kswapd,
            directReclaims: vm.allocstall_dma + vm.allocstall_dma32 + vm.allocstall_normal,
            compacted: vm.pgmigrate_success,
            oomKills: vm.oom_kill,
          },
    pressure:
      psi === undefined
        ? null
        : {
            cpu: pressure(PsiResource.Cpu),
            io: pressure(PsiResource.Io),
            memory: pressure(PsiResource.Memory),
          },
    pageCache:
      pages === undefined
        ? null
        : {
            hits: pages.filemap.counters[STAT.Hit]!,
            misses: pages.filemap.counters[STAT.Miss]!,
            readPages: pages.filemap.counters[STAT.ReadPages]!,
            aheadPages: pages.filemap.counters[STAT.AheadPages]!,
            writtenPages: pages.filemap.counters[STAT.WrittenPages]!,
            evicted: pages.filemap.counters[STAT.Evicted]!,
            refaults: calls.refaults,
          },
    disk:
      disk === undefined
        ? null
        : {
            reads: io(TASK_IO.reads),
            readBytes: io(TASK_IO.readBytes),
            writes: io(TASK_IO.writes),
            writeBytes: io(TASK_IO.writeBytes),
            flushes: io(TASK_IO.others),
            merges: disk.queue.merges,
            queuedMs: Number((io(TASK_IO.waitNs) / 1e6).toFixed(3)),
            serviceMs: Number((io(TASK_IO.serviceNs) / 1e6).toFixed(3)),
            interrupts: system.irqs,
            errors: io(TASK_IO.errors),
          },
    ext4: ext4 === undefined ? null : { commits: ext4.fs.journal.tid, readOnly: ext4.readOnly },
  };
}

/** One figure a row: wing, what, value. */
export function reportRows(report: Report): Row[] {
  const rows: Row[] = [];
  const put = (wing: string, figures: object | null): void => {
    for (const [what, value] of Object.entries(figures ?? {}) as [string, unknown][])
      if (typeof value === "number" || typeof value === "string" || value === null) rows.push({ wing, what, value });
      else if (typeof value === "boolean") rows.push({ wing, what, value: value ? 1 : 0 });
  };
  put("machine", { seconds: report.seconds, events: report.events });
  put("sched", report.sched);
  put("memory", report.memory);
  for (const [name, { someUs, fullUs }] of Object.entries(report.pressure ?? {}))
    put("pressure", { [`${name} some, us`]: someUs, [`${name} full, us`]: fullUs });
  put("page cache", report.pageCache);
  put("disk", report.disk);
  put("ext4", report.ext4);
  return rows;
}

/**
 * What happened in a booted machine, wing by wing, as figures, plain data: in either world. Times are the machine's: virtual
 * in lockstep, the host's where CPUs race.
 *
 * - figuresOf(view, calls, metrics)
 */
import type { MachineView } from "../machine_view.ts";
import { Kind } from "../process.ts";
import type { CallRow } from "./call_times.ts";
import { TASK_IO } from "../../drivers/index.ts";
import { PsiResource, readVmEvents, STAT, ZONE } from "../../mm/index.ts";
import type { SchedMetrics } from "../../sched/index.ts";

export interface Figures {
  readonly seconds: number;
  readonly sched: {
    readonly switches: number;
    readonly forks: number;
    readonly wakeP99Ms: number | null;
    /** Shares of all CPUs' time. */
    readonly user: number;
    readonly system: number;
    readonly irq: number;
    /** The host ran something else. */
    readonly steal: number;
    readonly iowait: number;
    readonly idle: number;
  };
  readonly tasks: readonly TaskFigures[];
  readonly calls: readonly CallRow[];
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

export interface TaskFigures {
  readonly name: string;
  readonly tasks: number;
  readonly cpuMs: number;
  /** Of it, in the program; and waiting for a CPU. */
  readonly userMs: number;
  readonly delayMs: number;
  readonly calls: number;
  readonly waits: number;
  readonly diskMs: number;
}

const share = (part: number, whole: number): number => (whole > 0 ? Number((part / whole).toFixed(4)) : 0);
const ms = (ns: number): number => Number((ns / 1e6).toFixed(3));
const whole = (value: number): number | null => (Number.isFinite(value) ? value : null);

interface Sums {
  tasks: number;
  cpuNs: number;
  userNs: number;
  delayNs: number;
  calls: number;
  waits: number;
  diskNs: number;
}

export function figuresOf(view: MachineView, calls: readonly CallRow[], metrics: SchedMetrics | undefined): Figures {
  const { times, memory, psi, pages, disk, ext4, processes, sched, cpus } = view;
  let [busy, idle, iowait, user, irq, stolen, switches, forks] = [0, 0, 0, 0, 0, 0, 0, 0];
  for (let cpu = 0; cpu < cpus; cpu++) {
    times.settle(cpu);
    busy += times.busyNs[cpu]!;
    idle += times.idleNs[cpu]!;
    iowait += times.iowaitNs[cpu]!;
    user += view.userNs(cpu);
    irq += view.irqNs(cpu);
    stolen += view.stolenNs(cpu);
    switches += times.switches[cpu]!;
    forks += times.forks[cpu]!;
  }
  const all = busy + idle + iowait;
  const byName = new Map<string, Sums>();
  let anon = 0;
  for (let p = 1; p < processes.rows; p++) {
    if (processes.kind[p] === Kind.Free) continue;
    const name = processes.names.get(p);
    const row = byName.get(name) ?? { tasks: 0, cpuNs: 0, userNs: 0, delayNs: 0, calls: 0, waits: 0, diskNs: 0 };
    byName.set(name, row);
    row.tasks++;
    row.userNs += Math.min(view.taskUserNs(p), sched.sumExec[p]!);
    row.cpuNs += sched.sumExec[p]!;
    row.delayNs += times.waitedNs[p]!;
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
    seconds: view.now() / 1e9,
    sched: {
      switches,
      forks,
      wakeP99Ms: whole(metrics?.summary().wakeP99Ms ?? NaN),
      user: share(Math.min(user, busy), all),
      system: share(Math.max(0, busy - user - irq - stolen), all),
      irq: share(irq, all),
      steal: share(stolen, all),
      iowait: share(iowait, all),
      idle: share(idle, all),
    },
    tasks: [...byName]
      .map(([name, row]) => ({
        name,
        tasks: row.tasks,
        cpuMs: ms(row.cpuNs),
        userMs: ms(row.userNs),
        delayMs: ms(row.delayNs),
        calls: row.calls,
        waits: row.waits,
        diskMs: ms(row.diskNs),
      }))
      .sort((a, b) => b.cpuMs - a.cpuMs || (a.name < b.name ? -1 : 1)),
    calls,
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
            refaults: view.refaults.count,
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
            queuedMs: ms(io(TASK_IO.waitNs)),
            serviceMs: ms(io(TASK_IO.serviceNs)),
            interrupts: view.interrupts(),
            errors: io(TASK_IO.errors),
          },
    ext4: ext4 === undefined ? null : { commits: ext4.fs.journal.tid, readOnly: ext4.readOnly },
  };
}

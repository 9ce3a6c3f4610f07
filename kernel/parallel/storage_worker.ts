/** The worker thread of a parallel machine's storage: mounts the disk, then serves calls on files (storage_loop.ts). */
import { parentPort, workerData } from "node:worker_threads";
import { isErr } from "../abi/errno.ts";
import type { EventSink, Machine } from "../abi/machine.ts";
import { PAGE_SIZE } from "../abi/units.ts";
import { resolveFeatures } from "../config.ts";
import { Arena } from "../lib/arena.ts";
import { assert } from "../lib/assert.ts";
import { futexLocks } from "../lib/lock_ops.ts";
import { nextBelow, prng } from "../lib/prng.ts";
import { sinceBoot } from "../cpu_loop.ts";
import { isRefusal } from "../fs/ext4/super.ts";
import type { Refusal } from "../fs/ext4/super.ts";
import type { Ext4 } from "../fs/ext4/ext4.ts";
import type { MountOptions } from "../fs/ext4/mount_options.ts";
import { loadPolicyFactory } from "../load_policy.ts";
import { callRows } from "../observe/call_times.ts";
import { figuresOf } from "../observe/figures.ts";
import type { Figures } from "../observe/figures.ts";
import { Refaults } from "../observe/refaults.ts";
import { Smp, Stop } from "../smp.ts";
import { TaskNames } from "../task_names.ts";
import { KCOMPACTD } from "../kthread.ts";
import { cacheShrinker } from "../threads.ts";
import { driveDisk } from "../wire_disk.ts";
import type { DrivenDisk } from "../wire_disk.ts";
import { dropObjects } from "../vm_acts.ts";
import { bootPageCache, bootTree, mountDisk } from "../wire_files.ts";
import type { CachedPages, Tree } from "../wire_files.ts";
import { procNodes, procPids, sysNodes } from "../wire_proc.ts";
import type { ProcParts } from "../wire_proc.ts";
import { Wait } from "../wait.ts";
import { wakeThread } from "./racing_tasks.ts";
import { DiskMailbox, mailboxBus } from "./disk_mailbox.ts";
import { StoragePort } from "./port.ts";
import { racingView } from "./racing_view.ts";
import { joinMemory, joinSlabs, joinTables, kernelRows, loadStarts, traceOf } from "./share.ts";
import type { StoreName } from "./disk_worker.ts";
import type { MachineShare } from "./share.ts";
import { StorageLoop } from "./storage_loop.ts";
import { StorageTasks } from "./storage_tasks.ts";
import { failureOf } from "./worker_answer.ts";
import type { WorkerAnswer } from "./worker_answer.ts";
import { ELEVATORS } from "../../drivers/index.ts";
import { attachReclaim, EVICT_POLICIES } from "../../mm/index.ts";

export interface StorageStart {
  readonly share: MachineShare;
  /** Missing: there is no disk. */
  readonly mailbox: SharedArrayBuffer | undefined;
  /** Names. */
  readonly elevator: string;
  readonly evict: string;
  readonly mount: MountOptions | undefined;
  readonly version: string;
  /** The disk turns. */
  readonly rotational: boolean;
  /** Where lines of /dev/kmsg go before the call that wrote them returns; missing: to the machine's thread, later. */
  readonly console: StoreName | undefined;
}

const TMP_PAGES = 1024;
const IDLE_MS = 1000;

const start = workerData as StorageStart;
const { share } = start;
const answer = (message: WorkerAnswer): void => parentPort!.postMessage(message);
const named = <T extends { readonly name: string }>(choices: readonly T[], name: string): T => {
  const found = choices.find((choice) => choice.name === name);
  assert(found !== undefined, "storage: nothing has this name");
  return found;
};

async function openConsole({ module, path }: StoreName): Promise<(text: string) => void> {
  const { openLines } = (await import(module)) as { openLines: (path: string) => (text: string) => void };
  return openLines(path);
}

async function main(): Promise<void> {
  const { cpus, rows, seed } = share;
  const row = cpus;
  const arena = new Arena(share.arena);
  const smp = new Smp(arena, cpus, rows);
  const port = new StoragePort(arena, rows);
  let doing = "boots";
  try {
    const box = start.mailbox === undefined ? undefined : new DiskMailbox(start.mailbox);
    const on = resolveFeatures(share.features);
    const { hostNowNs } = (await import(share.clock)) as { hostNowNs: () => number };
    const now = sinceBoot(smp, hostNowNs);
    const trace = traceOf(share, row, now);
    const names = new TaskNames(arena, rows);
    const refaults = new Refaults(rows, share.memoryBytes / PAGE_SIZE);
    const chance = prng(seed);
    const told: EventSink = (type, cpu, a, b, c, d) => {
      trace(type, cpu, a, b, c, d);
      refaults.take(type, row, a, b, c, d);
    };
    const machine: Machine = { now, below: (bound) => nextBelow(chance, bound), trace: told };
    const policy = await loadPolicyFactory(share.policy);
    const starts = await loadStarts(share);

    doing = "mounts the disk";
    let loop: StorageLoop | undefined;
    let disk: DrivenDisk | undefined;
    let ext4: Ext4 | undefined;
    let pages: CachedPages | undefined;
    // The page cache takes frames before the tables are there: of the same allocator.
    const ringed = share.rings === undefined ? undefined : trace;
    const memory = joinMemory(share, row, futexLocks, ringed);
    const slabs = joinSlabs(share, memory, row, futexLocks, ringed);
    const reclaim =
      memory !== undefined && on.has("KSWAPD")
        ? attachReclaim(memory.mm, { shrinkers: [cacheShrinker(() => pages?.cache)] }, share.mm)
        : undefined;
    if (memory !== undefined) memory.mm.hooks = { ...memory.mm.hooks, compact: () => false };
    let heardLast = 0;
    const line = {
      wait(timeoutNs: number): boolean {
        port.sleep(heardLast, timeoutNs / 1e6);
        return box!.pending !== 0;
      },
    };
    /** Interrupts are wanted only while nobody looks. */
    const rest = (heard: number, forMs: number): boolean => {
      heardLast = heard;
      if (disk === undefined) port.sleep(heard, forMs);
      else disk.driver.wait(forMs * 1e6);
      return port.heard !== heard;
    };
    const idle = (): void => {
      if (disk !== undefined && disk.inFlight() > 0) rest(port.heard, IDLE_MS);
    };
    if (box !== undefined)
      disk = driveDisk(share.ram, mailboxBus(box), line, machine, () => row, {
        elevator: named(ELEVATORS, start.elevator),
        tasks: rows,
      });
    if (on.has("EXT4")) {
      pages = bootPageCache(memory!, machine, named(EVICT_POLICIES, start.evict), seed);
      const options = {
        ...(start.mount === undefined ? {} : { options: start.mount }),
        ...(slabs === undefined ? {} : { inodeObjects: slabs.objects.ext4Inode }),
      };
      const mounted: Ext4 | Refusal = mountDisk({ disk: disk!, memory: memory!, pages, machine, idle, ...options });
      if (isRefusal(mounted)) {
        smp.stop(Stop.Failed);
        answer({ kind: "refused", errno: mounted.errno, reason: mounted.reason });
        return;
      }
      ext4 = mounted;
    }
    const lines = start.console === undefined ? undefined : await openConsole(start.console);
    let tree: Tree | undefined = undefined;
    doing = "joins the machine";
    smp.awaitTurn(row);
    const tables = joinTables({
      share,
      arena,
      smp,
      row,
      policy,
      starts,
      locks: futexLocks,
      now,
      trace,
      memory,
      slabs,
      port,
      names,
    });
    const { times, sched } = tables;
    const seen = {
      tables,
      smp,
      now,
      refaults,
      compaction: on.has("COMPACTION") ? reclaim?.compaction : undefined,
      disk,
      pages,
      ext4,
    };
    const view = racingView({ ...seen, tree: () => tree, loop: () => loop });
    const shown: ProcParts = {
      view,
      seed,
      features: [...on].sort(),
      policy: { names: [sched.policy().name], current: () => sched.policy().name },
      load: times.load,
      ...(slabs === undefined ? {} : { acts: { shrinkSlabs: () => void dropObjects(tree!, { slabs, ext4 }) } }),
      elevators: ELEVATORS,
      rotational: start.rotational,
    };
    tree = bootTree({
      machine,
      tasks: rows,
      idle,
      version: start.version,
      seed,
      console: (text) => {
        lines?.(text);
        answer({ kind: "line", text });
      },
      pipeMoved: () => loop?.wakeAll(Wait.Pipe),
      ...(ext4 === undefined ? {} : { root: ext4 }),
      ...(slabs === undefined ? {} : { objects: slabs.objects }),
      ...(on.has("TMPFS") ? { tmpPages: TMP_PAGES } : {}),
      ...(on.has("PROC") ? { proc: { nodes: procNodes(shown), pids: procPids(shown) } } : {}),
      ...(on.has("SYSFS") ? { sys: sysNodes(shown) } : {}),
    });
    const { vfs } = tree;
    for (const index of starts.keys()) {
      const task = vfs.newTask({ uid: 0, gid: 0 });
      assert(!isErr(task), "storage: no row of the VFS for a task");
      port.firstVfs[index] = task;
    }
    const figures = (): Figures => figuresOf(view, callRows(times.calls), sched.metrics);
    const rowsOf = kernelRows(share, starts);
    const { sumExec } = sched.task;
    const threads = new StorageTasks({ rows: rowsOf, cpu: row, now, trace, sumExec, times: times.tasks });
    loop = new StorageLoop({
      tables,
      smp,
      row,
      now,
      tree,
      disk,
      ext4,
      refaults,
      figures,
      threads,
      vmscan: reclaim?.vmscan,
      idle,
      rest,
      kswapdRests: () => {
        if (!on.has("COMPACTION")) return;
        reclaim!.compaction.wake(reclaim!.vmscan.order);
        wakeThread(tables.sleepers, rowsOf.get(KCOMPACTD)!);
      },
    });
    smp.endTurn(row, sched.cpu.reschedWords);
    doing = "serves calls";
    loop.run();
    box?.ring();
    answer({
      kind: "storage",
      counts: loop.counts,
      figures: loop.figures,
      unmounted: loop.unmounted,
      descriptors: vfs.openFiles(),
      vfsTasks: vfs.taskCount(),
      cachedPages: pages?.cache.cached() ?? 0,
      reserved: ext4 === undefined ? 0 : memory!.reserved(),
    });
  } catch (thrown) {
    smp.stop(Stop.Failed);
    answer(failureOf(thrown, doing, 0));
  }
}

await main();

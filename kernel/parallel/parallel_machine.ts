/**
 * A booted machine whose CPUs race: a worker thread a CPU, one for storage, one for the disk, over shared memory, on the
 * host's clock. Memory, scheduler, drivers and file systems are those of the lockstep machine; no two runs are the same.
 *
 * - bootParallelMachine(config)   resolves when tasks may run; a disk that cannot be mounted is a refusal
 * - machine.run(seconds, signal)  lets it run so long, or until all tasks have ended
 * - machine.stop()                tasks end, the disk is unmounted, all workers end: what was counted
 * - machine.kill()                ends the workers where they are
 *
 * The main thread supervises: it takes what tasks write to /dev/kmsg as it comes, drains the event rings, and finds a
 * worker that failed, died or does not move. Then all are stopped and whoever waits gets a MachineFailure.
 */
import { Worker } from "node:worker_threads";
import { Ev } from "../abi/events.ts";
import { CPUS_MAX, TASKS_MAX } from "../abi/limits.ts";
import { nanos, NS_PER_SEC, PAGE_SIZE } from "../abi/units.ts";
import { MACHINE_FEATURES } from "../config.ts";
import type { Feature } from "../config.ts";
import { Arena } from "../lib/arena.ts";
import { assert } from "../lib/assert.ts";
import { modulePath } from "../lib/module_path.ts";
import type { MountOptions } from "../fs/ext4/mount_options.ts";
import { CallTimes } from "../observe/call_times.ts";
import type { Figures } from "../observe/figures.ts";
import { EventLog } from "../observe/event_log.ts";
import { createRings, drainRing, ringCursor } from "../observe/ring.ts";
import type { RingCursor } from "../observe/ring.ts";
import { Phase, PHASE_TEXT, Smp, Stat, Stop } from "../smp.ts";
import { TaskNames } from "../task_names.ts";
import type { MachineAtRest } from "./check.ts";
import type { CpuStart } from "./cpu_worker.ts";
import type { DiskStart, StoreName } from "./disk_worker.ts";
import { DiskMailbox } from "./disk_mailbox.ts";
import { Life, StoragePort } from "./port.ts";
import { sharedBytes, sharedMemory, sharedWindows } from "./share.ts";
import type { MachineShare, ModuleName } from "./share.ts";
import type { StorageStart } from "./storage_worker.ts";
import type { StorageCounts } from "./storage_loop.ts";
import type { WorkerAnswer } from "./worker_answer.ts";
import type { ServiceModel } from "../../drivers/index.ts";
import { Psi } from "../../mm/index.ts";

export interface ParallelMachineConfig {
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly seed: number;
  /** A workload by its module. */
  readonly workload: ModuleName;
  /** Exports hostNowNs(). */
  readonly clock: string;
  /** MACHINE_FEATURES when left out. */
  readonly features?: readonly Feature[];
  /** Name or URL. */
  readonly policy?: string;
  /** The disk's content: in shared memory it is written in place, else the disk's worker has a copy of its own. */
  readonly image?: Uint8Array;
  /** Instead: where it comes from, and where its durable sectors go. */
  readonly store?: StoreName;
  /** How long its requests take, on the host's clock; missing: no time. */
  readonly service?: ServiceModel;
  readonly elevator?: string;
  readonly evict?: string;
  readonly mount?: MountOptions;
  readonly rows?: number;
  readonly tickNs?: number;
  readonly version?: string;
  /** A line that a task wrote to /dev/kmsg, as it comes. */
  readonly console?: (text: string) => void;
  /** The same line by line at once, before the call that wrote it returns: for who may be killed. */
  readonly lines?: StoreName;
  /** Where compiled modules are kept (node:module): workers do not ask by themselves. */
  readonly compileCache?: string;
  /** Keep events: records in each worker's ring, a power of two. */
  readonly traceRecords?: number;
  /** A worker that does not move for so long has hung, ms. */
  readonly stuckMs?: number;
  /** For canaries: each so manyth wake is lost. */
  readonly loseWakes?: number;
}

export interface MachineResult {
  readonly seconds: number;
  readonly bootMs: number;
  readonly calls: number;
  readonly retries: number;
  readonly storage: StorageCounts;
  /** When it was told to stop, before its tasks ended. */
  readonly figures: Figures;
  readonly switches: number;
  readonly idle: readonly number[];
  /** What must be 0. */
  readonly leaks: {
    readonly frames: number;
    readonly objects: number;
    readonly descriptors: number;
    readonly tasks: number;
    readonly lostWakes: number;
  };
  readonly atRest: MachineAtRest;
  /** Breaches, each a line of text. */
  readonly problems: readonly string[];
  readonly log: EventLog | undefined;
  readonly eventsLost: number;
}

/** panic: an invariant broke; error: an exception; died: a thread ended; stuck: one does not move. */
export type MachineFailureKind = "panic" | "error" | "died" | "stuck";

export class MachineFailure extends Error {
  override readonly name = "MachineFailure";
  readonly kind: MachineFailureKind;
  /** "cpu0", "storage", "disk". */
  readonly worker: string;
  /** What was traced until then. */
  readonly log: EventLog | undefined;

  constructor(kind: MachineFailureKind, worker: string, message: string, log: EventLog | undefined) {
    super(`${worker}: ${message}`);
    this.kind = kind;
    this.worker = worker;
    this.log = log;
  }
}

export interface ParallelRefusal {
  readonly errno: number;
  readonly reason: string;
}

const ROWS = 256;
const TICK_NS = 4_000_000;
const STUCK_MS = 10_000;
const BOOT_STUCK_MS = 30_000;
const ROUND_MS = 20;
const GRACE_MS = 1_000;
const HEAP_MIB = 512;
const VERSION = "Linux version 6.1.0-orrery (orrery) #1 SMP PREEMPT_DYNAMIC";

interface Watched {
  readonly name: string;
  readonly worker: Worker;
  readonly answers: WorkerAnswer[];
  ended: boolean;
  beat: number;
  still: number;
}

export async function bootParallelMachine(config: ParallelMachineConfig): Promise<ParallelMachine | ParallelRefusal> {
  const { hostNowNs } = (await import(config.clock)) as { hostNowNs: () => number };
  const machine = new ParallelMachine(config, hostNowNs);
  const refusal = await machine.booted();
  return refusal ?? machine;
}

export class ParallelMachine {
  /** From the call to the first task that may run. */
  bootMs = 0;
  readonly #config: ParallelMachineConfig;
  readonly #share: MachineShare;
  readonly #hostNowNs: () => number;
  readonly #smp: Smp;
  readonly #port: StoragePort;
  readonly #names: TaskNames;
  readonly #mailbox: DiskMailbox | undefined;
  readonly #cursors: readonly RingCursor[];
  readonly #log: EventLog | undefined;
  /** Storage, CPUs, the disk. */
  readonly #watched: readonly Watched[];
  readonly #supervised: Promise<void>;
  #ready: ((refusal: ParallelRefusal | undefined) => void) | undefined;
  readonly #boots: Promise<ParallelRefusal | undefined>;
  #failure: MachineFailure | undefined;

  constructor(config: ParallelMachineConfig, hostNowNs: () => number) {
    const { cpus, memoryBytes, traceRecords } = config;
    const rows = config.rows ?? ROWS;
    const features = config.features ?? MACHINE_FEATURES;
    assert(cpus >= 1 && cpus <= Math.min(16, CPUS_MAX - 1), "ParallelMachine: 1 to 16 CPUs");
    assert(rows <= TASKS_MAX, "ParallelMachine: too many rows");
    this.#config = config;
    this.#hostNowNs = hostNowNs;
    const rings = traceRecords === undefined ? undefined : createRings(cpus + 1, traceRecords);
    this.#log = rings === undefined ? undefined : new EventLog(cpus + 1);
    this.#cursors = rings?.rings.map(ringCursor) ?? [];
    this.#share = {
      cpus,
      rows,
      seed: config.seed,
      memoryBytes,
      tickNs: config.tickNs ?? TICK_NS,
      features,
      clock: config.clock,
      policy: config.policy ?? "eevdf",
      workload: config.workload,
      arena: new SharedArrayBuffer(sharedBytes(cpus, rows, memoryBytes / PAGE_SIZE)),
      ...(features.includes("MM") ? sharedMemory(memoryBytes, cpus, features.includes("SLAB")) : sharedWindows(rows)),
      rings: rings?.buffer,
      calls: new SharedArrayBuffer((cpus + 1) * CallTimes.bytes),
      psi: features.includes("PSI") ? new Psi({ now: () => nanos(0) }, cpus).buffer : undefined,
      loseWakes: config.loseWakes ?? 0,
    };
    // The workers take the same arrays in the same order, and more after them.
    const arena = new Arena(this.#share.arena);
    this.#smp = new Smp(arena, cpus, rows);
    this.#port = new StoragePort(arena, rows);
    this.#names = new TaskNames(arena, rows);
    this.#smp.base[0] = hostNowNs();
    this.#boots = new Promise((resolve) => {
      this.#ready = resolve;
    });
    const { image, store, service } = config;
    const hasDisk = features.includes("BLOCK");
    assert(!hasDisk || image !== undefined || store !== undefined, "ParallelMachine: BLOCK without a disk");
    this.#mailbox = hasDisk ? new DiskMailbox() : undefined;
    const mailbox = this.#mailbox?.buffer;
    const storage: StorageStart = {
      share: this.#share,
      mailbox,
      elevator: config.elevator ?? "mq-deadline",
      evict: config.evict ?? "mglru",
      mount: config.mount,
      version: config.version ?? VERSION,
      rotational: service?.kind === "hdd",
      console: config.lines,
    };
    this.#watched = [
      this.#start("storage", "./storage_worker.ts", storage),
      ...Array.from({ length: cpus }, (_, cpu) =>
        this.#start(`cpu${cpu}`, "./cpu_worker.ts", { share: this.#share, cpu } satisfies CpuStart),
      ),
      ...(mailbox === undefined
        ? []
        : [
            this.#start("disk", "./disk_worker.ts", {
              share: this.#share,
              mailbox,
              image,
              store,
              service,
            } satisfies DiskStart),
          ]),
    ];
    this.#supervised = this.#supervise();
  }

  /** Undefined: tasks run. */
  async booted(): Promise<ParallelRefusal | undefined> {
    const refusal = await this.#boots;
    if (refusal !== undefined) await this.kill();
    this.#rethrow();
    return refusal;
  }

  /** Since the boot began. */
  get seconds(): number {
    return (this.#hostNowNs() - this.#smp.base[0]!) / NS_PER_SEC;
  }

  /** User tasks that have not ended. */
  get live(): number {
    return this.#port.live;
  }

  async run(seconds: number, signal?: AbortSignal): Promise<void> {
    const until = this.seconds + seconds;
    const goesOn = (): boolean =>
      this.seconds < until && this.live > 0 && signal?.aborted !== true && this.#failure === undefined;
    for (let heard = 0; goesOn();) heard = await this.#smp.listen(heard, ROUND_MS);
    this.#rethrow();
  }

  async stop(): Promise<MachineResult> {
    this.#port.move(Life.Run, Life.Sum);
    await this.#supervised;
    this.#rethrow();
    return this.#result();
  }

  async kill(): Promise<void> {
    this.#smp.stop(Stop.Interrupted);
    await Promise.all(this.#watched.map(({ worker }) => worker.terminate()));
    await this.#supervised;
  }

  #start(name: string, entry: string, workerData: unknown): Watched {
    const cache = this.#config.compileCache;
    const worker = new Worker(modulePath(entry, import.meta.url), {
      workerData,
      name,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB },
      env: { ...process.env, ...(cache === undefined ? {} : { NODE_COMPILE_CACHE: cache }) },
    });
    const watched: Watched = { name, worker, answers: [], ended: false, beat: 0, still: 0 };
    worker.on("message", (answer: WorkerAnswer) => this.#hear(watched, answer));
    worker.on("error", (error: unknown) =>
      this.#fail("died", name, error instanceof Error ? error.message : String(error)),
    );
    worker.on("exit", (code) => {
      watched.ended = true;
      if (watched.answers.length === 0 && this.#smp.stopReason !== Stop.Interrupted)
        this.#fail("died", name, `its thread ended with code ${code}`);
      this.#smp.ring();
    });
    return watched;
  }

  #hear(watched: Watched, answer: WorkerAnswer): void {
    switch (answer.kind) {
      case "line":
        this.#config.console?.(answer.text);
        return;
      case "ready":
        this.bootMs = answer.atNs / 1e6;
        for (let row = 1; row < this.#share.rows; row++) this.#learnName(row);
        this.#ready!(undefined);
        return;
      case "refused":
        this.#ready!({ errno: answer.errno, reason: answer.reason });
        break;
      case "failed": {
        const on = answer.task === 0 ? "" : ` (task ${answer.task})`;
        this.#fail(answer.panic ? "panic" : "error", watched.name, `while it ${answer.while}${on}: ${answer.message}`);
        if (answer.stack !== undefined && this.#failure!.worker === watched.name) this.#failure!.stack = answer.stack;
        break;
      }
      default:
    }
    watched.answers.push(answer);
  }

  /** The first failure is the cause; what follows from it is not told. */
  #fail(kind: MachineFailureKind, worker: string, what: string): void {
    this.#smp.stop(Stop.Failed);
    this.#port.ring();
    this.#failure ??= new MachineFailure(kind, worker, what, this.#log);
    this.#ready!(undefined);
  }

  #rethrow(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #supervise(): Promise<void> {
    let heard = 0;
    let lastMs = this.seconds * 1e3;
    while (this.#watched.some(({ ended }) => !ended)) {
      heard = await this.#smp.listen(heard, ROUND_MS);
      const nowMs = this.seconds * 1e3;
      this.#drain();
      await this.#findStuck(nowMs - lastMs);
      lastMs = nowMs;
    }
    this.#drain();
  }

  /** A worker that does not move, or does not stop when it should, has hung: it and all others are ended. */
  async #findStuck(passedMs: number): Promise<void> {
    const stopping = this.#smp.stopReason !== Stop.No;
    const limitMs = this.#config.stuckMs ?? STUCK_MS;
    let blamed: Watched | undefined;
    for (const [index, watched] of this.#watched.entries()) {
      if (watched.ended) continue;
      const { beat, rests, boots } = this.#seen(index - 1);
      watched.still = beat === watched.beat && (!rests || stopping) ? watched.still + Math.min(passedMs, 100) : 0;
      watched.beat = beat;
      // A worker that boots has modules to load, and waits for the others.
      if (watched.still >= (boots ? Math.max(BOOT_STUCK_MS, limitMs) : limitMs)) blamed = watched;
    }
    if (blamed !== undefined) {
      const cpu = this.#watched.indexOf(blamed) - 1;
      const doing = cpu < 0 || cpu >= this.#share.cpus ? "" : `, while it ${PHASE_TEXT[this.#smp.seen(cpu).phase]}`;
      this.#fail("stuck", blamed.name, `it has not moved for ${Math.round(blamed.still)} ms${doing}`);
    }
    if (this.#failure !== undefined && this.#watched.some(({ ended, still }) => !ended && still >= GRACE_MS))
      await Promise.all(this.#watched.map(({ worker }) => worker.terminate()));
  }

  #seen(cpu: number): { readonly beat: number; readonly rests: boolean; readonly boots: boolean } {
    if (cpu >= 0 && cpu < this.#share.cpus) {
      const { beat, phase } = this.#smp.seen(cpu);
      return { beat, rests: phase === Phase.Idle, boots: phase === Phase.Boot };
    }
    const seen = cpu < 0 ? this.#port.seen() : this.#mailbox!.seen();
    return { ...seen, boots: seen.beat === 0 || this.#port.life === Life.Boot };
  }

  #drain(): void {
    const log = this.#log;
    if (log === undefined) return;
    const from = log.count;
    for (const cursor of this.#cursors) drainRing(cursor, log);
    for (let at = from; at < log.count; at++) if (log.typeAt(at) === Ev.SchedFork) this.#learnName(log.bAt(at));
  }

  /** A row that has had several tasks has the last one's name. */
  #learnName(row: number): void {
    const name = this.#names.get(row);
    if (name !== "") this.#log?.names.set(row, name);
  }

  #result(): MachineResult {
    const said = this.#watched.flatMap(({ answers }) => answers);
    const storage = said.find((answer) => answer.kind === "storage")!;
    const cpus = said.filter((answer) => answer.kind === "cpu");
    const atRest = cpus.find((answer) => answer.atRest !== undefined)!.atRest!;
    const seconds = Math.max(...cpus.map(({ endNs }) => endNs)) / NS_PER_SEC;
    const problems = [...atRest.problems];
    const lostWakes = storage.counts.lost + cpus.reduce((sum, { lost }) => sum + lost, 0);
    const frames = atRest.taskFrames + atRest.kernelFrames - storage.cachedPages - storage.reserved;
    if (storage.unmounted !== 0) problems.push(`the disk does not unmount: error ${storage.unmounted}`);
    if (frames !== 0) problems.push(`${frames} frames are nobody's`);
    if (storage.descriptors !== 0) problems.push(`${storage.descriptors} files are still open`);
    if (storage.vfsTasks !== 0) problems.push(`${storage.vfsTasks} tasks of the VFS are left`);
    if (lostWakes !== 0) problems.push(`${lostWakes} wakes were lost`);
    if (this.#log !== undefined) {
      this.#log.sortByTime();
      this.#log.originNs = 0;
      this.#log.endNs = seconds * NS_PER_SEC;
    }
    const stat = (which: number): number[] => cpus.map((_, cpu) => this.#smp.stat(cpu, which));
    return {
      seconds,
      bootMs: this.bootMs,
      calls: storage.counts.calls,
      retries: storage.counts.retries,
      storage: storage.counts,
      figures: storage.figures!,
      switches: stat(Stat.Switches).reduce((sum, count) => sum + count, 0),
      idle: stat(Stat.IdleNs).map((ns) => ns / (seconds * NS_PER_SEC)),
      leaks: {
        frames,
        objects: atRest.objects,
        descriptors: storage.descriptors,
        tasks: atRest.tasks + atRest.zombies,
        lostWakes,
      },
      atRest,
      problems,
      log: this.#log,
      eventsLost: this.#cursors.reduce((lost, cursor) => lost + cursor.lost, 0),
    };
  }
}

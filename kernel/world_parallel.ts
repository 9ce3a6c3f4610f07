/**
 * The parallel world: a worker thread a CPU over one SharedArrayBuffer, in which tasks really race. The scheduler's code
 * is that of lockstep; the clock is the host's, so no two runs are the same.
 *
 * - new ParallelWorld(config).run(signal?, onProgress?)   boots, runs until something stops it, and says what was seen
 *
 * The main thread supervises and never runs the machine's code: it drains the event rings, and finds out when a worker
 * failed, died, or has not moved for a while. Then all are stopped and run() rejects with a ParallelFailure: never a
 * hang. An aborted signal stops the machine like any other end; what was traced is kept.
 */
import { Worker } from "node:worker_threads";
import { CPUS_MAX, RING_RECORDS_MAX, TASKS_MAX } from "./abi/limits.ts";
import { NS_PER_SEC } from "./abi/units.ts";
import { Arena } from "./lib/arena.ts";
import { assert } from "./lib/assert.ts";
import { modulePath } from "./lib/module_path.ts";
import { EventLog } from "./observe/event_log.ts";
import { createRings, drainRing, ringCursor } from "./observe/ring.ts";
import type { EventRings, RingCursor } from "./observe/ring.ts";
import type { AtRest } from "./smp_check.ts";
import { Phase, PHASE_TEXT, Smp, smpBytes, Stat, Stop } from "./smp.ts";
import { SchedMetrics } from "../sched/index.ts";
import type { Workload } from "../sched/index.ts";

export interface ParallelConfig {
  /** 1 to 16: worker threads. */
  readonly cpus: number;
  /** Name of a policy that comes with the house, or the URL of a module that exports `policy`. */
  readonly policy: string;
  readonly workload: Workload;
  /** URL of the module that exports `hostNowNs()`, the same monotonic clock in every thread. */
  readonly clock: string;
  /** Where the workload came from; only for messages. */
  readonly seed: number;
  readonly untilNs: number;
  /** Stop after so many switches of all CPUs together. */
  readonly switches?: number;
  /** 4 ms when left out. */
  readonly tickNs?: number;
  /** Keep events: records in each CPU's ring, a power of two. */
  readonly traceRecords?: number;
  /** Check the machine at rest when it has stopped. */
  readonly check?: boolean;
  /** A worker that does not move for so long has hung, ms. */
  readonly stuckMs?: number;
  /** For canaries: locks do nothing. Whatever this breaks must be found. */
  readonly withoutLocks?: boolean;
}

export interface ParallelCpu {
  readonly switches: number;
  /** Part of the time it idled. */
  readonly idle: number;
  /** Part of the time the host ran something else. */
  readonly stolen: number;
  /** Times it went to sleep, and times it woke another. */
  readonly waits: number;
  readonly kicks: number;
}

export interface ParallelResult {
  readonly stopped: "time" | "switches" | "finished" | "quiet" | "interrupted";
  readonly seconds: number;
  readonly switches: number;
  readonly switchesPerSecond: number;
  readonly migrations: number;
  readonly wakeups: number;
  readonly wakeP50Ms: number;
  readonly wakeP99Ms: number;
  /** Longest time a runnable task waited for a CPU, of those that got one. */
  readonly maxWaitMs: number;
  readonly cpus: readonly ParallelCpu[];
  /** Why the policy was thrown out; undefined while it ruled to the end. */
  readonly ejected: string | undefined;
  /** With traceRecords: all CPUs' events in order of time, and how many came too fast for the reader. */
  readonly log: EventLog | undefined;
  readonly eventsLost: number;
  /** With `check`. */
  readonly atRest: AtRest | undefined;
}

/** What a CPU's worker is started with. */
export interface CpuStart {
  readonly cpu: number;
  readonly cpus: number;
  readonly arena: SharedArrayBuffer;
  readonly rings: SharedArrayBuffer | undefined;
  readonly policy: string;
  readonly clock: string;
  readonly workload: Workload;
  readonly tickNs: number;
  readonly untilNs: number;
  readonly switchesMax: number;
  readonly check: boolean;
  readonly withoutLocks: boolean;
}

/** What it says at its end. */
export type CpuAnswer =
  | { readonly kind: "done"; readonly endNs: number; readonly ejected: string; readonly atRest?: AtRest }
  | {
      readonly kind: "failed";
      readonly panic: boolean;
      readonly booted: boolean;
      readonly while: string;
      readonly task: number;
      readonly message: string;
      readonly stack?: string;
    };

/** panic: an invariant broke; policy: it cannot be loaded; error: an exception; died: the thread ended; stuck: it hangs. */
export type ParallelFailureKind = "panic" | "policy" | "error" | "died" | "stuck";

export class ParallelFailure extends Error {
  override readonly name = "ParallelFailure";
  readonly kind: ParallelFailureKind;
  readonly cpu: number;
  /** Task that ran there, 0 for none. */
  readonly task: number;

  constructor(kind: ParallelFailureKind, cpu: number, task: number, message: string) {
    super(message);
    this.kind = kind;
    this.cpu = cpu;
    this.task = task;
  }
}

const WORKERS_MAX = 16;
const TICK_NS = 4_000_000;
const STUCK_MS = 5_000;
/** A worker that boots has modules to load, on a machine that may be busy. */
const BOOT_STUCK_MS = 20_000;
/** The supervisor looks around so often, or when the bell rings. */
const ROUND_MS = 10;
/** After a failure the other CPUs get so long to stop by themselves. */
const GRACE_MS = 500;
/** Heap of one worker: a policy that fills it ends as an error, not as the end of the host's memory. */
const HEAP_MIB = 256;
const REASONS = {
  [Stop.Time]: "time",
  [Stop.Switches]: "switches",
  [Stop.Finished]: "finished",
  [Stop.Quiet]: "quiet",
  [Stop.Interrupted]: "interrupted",
} as const;

/** What the supervisor knows of one worker. */
interface Watched {
  readonly worker: Worker;
  answer: CpuAnswer | undefined;
  ended: boolean;
  beat: number;
  /** Rounds in a row in which it has not moved. */
  still: number;
}

export class ParallelWorld {
  readonly #config: ParallelConfig;
  readonly #smp: Smp;
  readonly #metrics: SchedMetrics;
  readonly #arena: SharedArrayBuffer;
  readonly #rings: EventRings | undefined;
  readonly #cursors: readonly RingCursor[];
  readonly #log: EventLog | undefined;
  #watched: readonly Watched[] = [];
  #failure: ParallelFailure | undefined;

  constructor(config: ParallelConfig) {
    const { cpus, workload, traceRecords } = config;
    assert(cpus >= 1 && cpus <= Math.min(WORKERS_MAX, CPUS_MAX), "ParallelWorld: 1 to 16 CPUs");
    assert(workload.tasks.length < TASKS_MAX, "ParallelWorld: too many tasks");
    assert(traceRecords === undefined || traceRecords <= RING_RECORDS_MAX, "ParallelWorld: rings too large");
    this.#config = config;
    const rows = workload.tasks.length + 1;
    this.#arena = new SharedArrayBuffer(smpBytes(cpus, rows));
    // The workers take the same arrays in the same order, and more after them.
    const arena = new Arena(this.#arena);
    this.#smp = new Smp(arena, cpus, rows);
    this.#metrics = new SchedMetrics(arena, cpus, rows);
    this.#rings = traceRecords === undefined ? undefined : createRings(cpus, traceRecords);
    this.#cursors = this.#rings?.rings.map(ringCursor) ?? [];
    this.#log = traceRecords === undefined ? undefined : new EventLog(cpus);
    for (const [index, { name }] of workload.tasks.entries()) this.#log?.names.set(index + 1, name);
  }

  /** Once in a world's life. `onProgress` is called now and then with the time since boot and the switches so far. */
  async run(signal?: AbortSignal, onProgress?: (seconds: number, switches: number) => void): Promise<ParallelResult> {
    assert(this.#watched.length === 0, "ParallelWorld: it has run already");
    const smp = this.#smp;
    const interrupt = (): void => smp.stop(Stop.Interrupted);
    if (signal?.aborted === true) interrupt();
    signal?.addEventListener("abort", interrupt);
    try {
      this.#watched = Array.from({ length: this.#config.cpus }, (_, cpu) => this.#start(cpu));
      let heard = 0;
      while (this.#watched.some(({ ended }) => !ended)) {
        heard = await smp.listen(heard, ROUND_MS);
        this.#drain();
        onProgress?.(smp.seconds, smp.addSwitches(0));
        if (smp.stopReason === Stop.No && smp.isQuiet()) smp.stop(Stop.Quiet);
        await this.#findStuck();
      }
      this.#drain();
    } finally {
      signal?.removeEventListener("abort", interrupt);
      await Promise.all(this.#watched.map(({ worker }) => worker.terminate()));
    }
    if (this.#failure !== undefined) throw this.#failure;
    return this.#result();
  }

  #start(cpu: number): Watched {
    const { cpus, policy, clock, workload, untilNs, switches, tickNs, check, withoutLocks } = this.#config;
    const start: CpuStart = {
      cpu,
      cpus,
      arena: this.#arena,
      rings: this.#rings?.buffer,
      policy,
      clock,
      workload,
      tickNs: tickNs ?? TICK_NS,
      untilNs,
      switchesMax: switches ?? Number.POSITIVE_INFINITY,
      check: check ?? false,
      withoutLocks: withoutLocks ?? false,
    };
    const worker = new Worker(modulePath("./cpu_worker.ts", import.meta.url), {
      workerData: start,
      name: `cpu${cpu}`,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB },
    });
    const watched: Watched = { worker, answer: undefined, ended: false, beat: 0, still: 0 };
    worker.on("message", (answer: CpuAnswer) => {
      watched.answer = answer;
      if (answer.kind === "failed") this.#failed(cpu, answer);
    });
    worker.on("error", (error: unknown) => {
      const code = (error as NodeJS.ErrnoException).code;
      const text = error instanceof Error ? error.message : String(error);
      this.#fail("died", cpu, code === "ERR_WORKER_OUT_OF_MEMORY" ? `its worker is out of memory: ${text}` : text);
    });
    worker.on("exit", (code) => {
      watched.ended = true;
      if (watched.answer === undefined) this.#fail("died", cpu, `its worker ended with code ${code}`);
      this.#smp.ring();
    });
    return watched;
  }

  /** A worker that does not move, or does not stop when it should, has hung: it and all others are ended. */
  async #findStuck(): Promise<void> {
    const stopping = this.#smp.stopReason !== Stop.No;
    const limitMs = this.#config.stuckMs ?? STUCK_MS;
    let blamed = -1;
    for (const [cpu, watched] of this.#watched.entries()) {
      if (watched.ended) continue;
      const { beat, phase } = this.#smp.seen(cpu);
      const rests = phase === Phase.Idle && !stopping;
      watched.still = beat === watched.beat && !rests ? watched.still + 1 : 0;
      watched.beat = beat;
      // Who waits for a lock waits for somebody else, who may have moved last a little later.
      const usualMs = phase === Phase.Lock ? 2 * limitMs : limitMs;
      const patienceMs = phase === Phase.Boot ? Math.max(BOOT_STUCK_MS, limitMs) : usualMs;
      if (watched.still * ROUND_MS >= patienceMs && (blamed < 0 || phase !== Phase.Lock)) blamed = cpu;
    }
    if (blamed >= 0) this.#fail("stuck", blamed, `it has not moved for ${this.#watched[blamed]!.still * ROUND_MS} ms`);
    if (this.#failure === undefined) return;
    // The others stop at their next look, unless what they wait for never comes.
    if (this.#watched.some(({ ended, still }) => !ended && still * ROUND_MS >= GRACE_MS))
      await Promise.all(this.#watched.map(({ worker }) => worker.terminate()));
  }

  /** The first failure is the cause; what follows from it is not told. */
  #fail(kind: ParallelFailureKind, cpu: number, what: string): void {
    this.#smp.stop(Stop.Failed);
    if (this.#failure !== undefined) return;
    const { task, phase } = this.#smp.seen(cpu);
    this.#failure = new ParallelFailure(
      kind,
      cpu,
      task,
      `CPU ${cpu}, while it ${PHASE_TEXT[phase]!}${this.#on(task)}: ${what}${this.#from()}`,
    );
  }

  /** A worker's own report. */
  #failed(cpu: number, answer: CpuAnswer & { kind: "failed" }): void {
    if (this.#failure !== undefined) return;
    const kind = answer.panic ? "panic" : answer.booted ? "error" : "policy";
    const text =
      kind === "policy"
        ? `policy ${this.#config.policy} cannot be used: ${answer.message}`
        : `CPU ${cpu}, while it ${answer.while}${this.#on(answer.task)}: ${answer.message}${this.#from()}`;
    this.#failure = new ParallelFailure(kind, cpu, answer.task, text);
    if (answer.stack !== undefined) this.#failure.stack = answer.stack;
  }

  #on(task: number): string {
    return task === 0 ? "" : ` (task ${task}, ${this.#config.workload.tasks[task - 1]!.name})`;
  }

  #from(): string {
    return `; policy ${this.#config.policy}, ${this.#config.cpus} CPUs, seed ${this.#config.seed}`;
  }

  #drain(): void {
    if (this.#log !== undefined) for (const cursor of this.#cursors) drainRing(cursor, this.#log);
  }

  #result(): ParallelResult {
    const answers = this.#watched.map(({ answer }) => answer as CpuAnswer & { kind: "done" });
    const endNs = Math.max(...answers.map((answer) => answer.endNs));
    const seconds = endNs / NS_PER_SEC;
    const perCpu = answers.map((_, cpu): ParallelCpu => {
      const stat = (which: number): number => this.#smp.stat(cpu, which);
      const idle = stat(Stat.IdleNs) / endNs;
      const stolen = stat(Stat.StolenNs) / endNs;
      return { switches: stat(Stat.Switches), idle, stolen, waits: stat(Stat.Waits), kicks: stat(Stat.Kicks) };
    });
    const switches = perCpu.reduce((sum, cpu) => sum + cpu.switches, 0);
    const { wakeP50Ms, wakeP99Ms } = this.#metrics.summary();
    const reason = this.#smp.stopReason;
    assert(reason !== Stop.No && reason !== Stop.Failed, "ParallelWorld: all ended, and nobody stopped them");
    if (this.#log !== undefined) {
      this.#log.sortByTime();
      this.#log.originNs = 0;
      this.#log.endNs = endNs;
    }
    return {
      stopped: REASONS[reason],
      seconds,
      switches,
      switchesPerSecond: switches / seconds,
      migrations: sum(this.#metrics.migrations),
      wakeups: sum(this.#metrics.wakeups),
      wakeP50Ms,
      wakeP99Ms,
      maxWaitMs: Math.max(...perCpu.map((_, cpu) => this.#smp.stat(cpu, Stat.MaxWaitNs))) / 1e6,
      cpus: perCpu,
      ejected: answers.find(({ ejected }) => ejected !== "")?.ejected,
      log: this.#log,
      eventsLost: this.#cursors.reduce((lost, cursor) => lost + cursor.lost, 0),
      atRest: answers[0]!.atRest,
    };
  }
}

const sum = (values: Int32Array): number => values.reduce((total, value) => total + value, 0);

/**
 * One CPU of the parallel world: picks tasks, computes for them in real time, handles its timers and ticks, and sleeps
 * when there is nothing to do. The scheduler's code is that of lockstep; what differs is here.
 *
 * - boot(workload)   by CPU 0, before tasks may run: the rows and their first timers
 * - run()            until the machine stops
 *
 * One turn of the loop handles the first of: the end, a timer that is due, the watchdog (CPU 0), nothing to run, a wish to
 * pick anew, a tick that is due, the task's next step; else it computes until one of these comes. Computing is a loop of
 * arithmetic in steps of about a microsecond with a look at the clock and at the resched word between them; what the task
 * used is what the core accounts. When much more time passed between two looks than could be spent there, the host ran
 * something else: that time is nobody's.
 *
 * A CPU goes to sleep only after it has looked twice: the first look that finds nothing sets its bit among the idle
 * CPUs, and whoever queues work before that second look is seen, whoever queues it later sees the bit.
 */
import { TaskLeft, WakeContext } from "./abi/events.ts";
import { nanos } from "./abi/units.ts";
import type { Nanos } from "./abi/units.ts";
import { assert } from "./lib/assert.ts";
import type { KeyedHeap } from "./lib/keyed_heap.ts";
import { Phase, Stat, Stop } from "./smp.ts";
import type { Smp } from "./smp.ts";
import { YIELDS } from "./task.ts";
import type { RacingCode } from "./task.ts";
import { cpuAt } from "../sched/index.ts";
import type { Sched, Workload } from "../sched/index.ts";

export interface CpuConfig {
  readonly cpu: number;
  readonly tickNs: number;
  readonly untilNs: number;
  /** Stop when all CPUs together have switched so often. */
  readonly switchesMax: number;
  /** Once a second, on CPU 0. */
  readonly audit?: () => void;
}

const WATCHDOG_PERIOD_NS = 1_000_000_000;
/** Time between two looks at the clock while computing. */
const STEP_NS = 1_000;
/** Between two looks at the clock nothing takes so long by itself. */
const STOLEN_NS = 500_000;
/** Switches that a CPU counts by itself before it tells the others. */
const SWITCHES_LOT = 64;
const CALIBRATION_ROUNDS = 7;
const CALIBRATION_TURNS = 20_000;

export class CpuLoop {
  readonly #smp: Smp;
  readonly #sched: Sched;
  readonly #programs: RacingCode;
  readonly #now: () => Nanos;
  readonly #config: CpuConfig;
  readonly #cpu: number;
  readonly #at: number;
  readonly #timers: KeyedHeap;
  readonly #resched: Int32Array;
  #turnsPerNs = 1;
  #spun = 1;
  #tickAt = 0;
  #watchdogAt: number;
  /** The clock when it was looked at last. */
  #seenAt = 0;
  #untold = 0;

  constructor(smp: Smp, sched: Sched, programs: RacingCode, now: () => Nanos, config: CpuConfig) {
    this.#smp = smp;
    this.#sched = sched;
    this.#programs = programs;
    this.#now = now;
    this.#config = config;
    this.#cpu = config.cpu;
    this.#at = cpuAt(config.cpu);
    this.#timers = smp.timers[config.cpu]!;
    this.#resched = sched.cpu.reschedWords;
    this.#watchdogAt = config.cpu === 0 ? WATCHDOG_PERIOD_NS : Number.POSITIVE_INFINITY;
  }

  boot(workload: Workload): void {
    for (const [index, spec] of workload.tasks.entries()) {
      const cpu = index % this.#smp.cpus;
      const p = this.#sched.addTask(spec.nice, cpu);
      assert(p === index + 1, "boot: a task's row is not its index + 1");
      if (spec.startNs >= 0) this.#smp.timers[cpu]!.set(p, spec.startNs, 0);
    }
  }

  run(): void {
    this.#calibrate();
    const { sumExec } = this.#sched.task;
    const cpu = this.#cpu;
    let p = 0;
    this.#seenAt = this.#now();
    while (this.#smp.stopReason === Stop.No) {
      this.#smp.beat(cpu, p);
      const now = this.#look();
      if (now >= this.#config.untilNs) this.#smp.stop(Stop.Time);
      else if (this.#timerAt() <= now) this.#fire();
      else if (now >= this.#watchdogAt) this.#watchdog(now);
      else if (p === 0) p = this.#idle();
      else if (this.#asked()) {
        // The wake-up that asked may have told the pick to take no new clock: the time until here is p's.
        this.#sched.charge(cpu);
        p = this.#switch(p, TaskLeft.Preempted);
      } else if (now >= this.#tickAt) this.#tick(now);
      else {
        this.#sched.charge(cpu);
        if (sumExec[p]! >= this.#programs.target[p]!) p = this.#advance(p);
        else if (this.#endsWithSlice(p) && this.#sched.task.slice[p] === 0) p = this.#switch(p, TaskLeft.Preempted);
        else this.#compute(p);
      }
    }
    this.#smp.addSwitches(this.#untold);
    this.#smp.phase(cpu, Phase.Done);
  }

  /** The clock; a leap of it is time that the host took. */
  #look(): number {
    const now = this.#now();
    const gap = now - this.#seenAt;
    this.#seenAt = now;
    if (gap > STOLEN_NS) {
      this.#sched.steal(this.#cpu, gap);
      this.#smp.add(this.#cpu, Stat.StolenNs, gap);
    }
    this.#smp.raise(this.#cpu, Stat.SeenNs, now);
    return now;
  }

  #asked(): boolean {
    return Atomics.load(this.#resched, this.#at) !== 0;
  }

  #timerAt(): number {
    const first = this.#timers.first();
    return first < 0 ? Number.POSITIVE_INFINITY : this.#timers.key[first]!;
  }

  /** The timer that is due: a task's start, or the end of its sleep. */
  #fire(): void {
    this.#smp.phase(this.#cpu, Phase.Timer);
    const p = this.#timers.first();
    this.#timers.remove(p);
    if (this.#programs.begin(p)) this.#sched.wakeNew(p, this.#cpu, 0);
    else if (this.#programs.due(p))
      assert(this.#sched.wake(p, this.#cpu, WakeContext.Timer), "a timer's task does not sleep");
  }

  #watchdog(now: number): void {
    this.#smp.phase(this.#cpu, Phase.Timer);
    this.#watchdogAt = now + WATCHDOG_PERIOD_NS;
    this.#sched.watchdog();
    this.#config.audit?.();
  }

  #tick(now: number): void {
    this.#smp.phase(this.#cpu, Phase.Tick);
    this.#sched.tick(this.#cpu);
    this.#programs.tick();
    this.#tickAt = this.#tickAfter(now);
  }

  #tickAfter(now: number): number {
    return (Math.floor(now / this.#config.tickNs) + 1) * this.#config.tickNs;
  }

  /** The task's present step is done: it goes on with the next. Returns what the CPU runs then. */
  #advance(p: number): number {
    const programs = this.#programs;
    const sched = this.#sched;
    this.#smp.phase(this.#cpu, Phase.Step);
    const left = programs.step(p);
    if (left === TaskLeft.Runnable) return p;
    if (left === YIELDS) {
      sched.task.slice[p] = 0;
      return this.#switch(p, TaskLeft.Preempted);
    }
    if (left === TaskLeft.Preempted) {
      const { woken, started, reniced } = programs;
      if (woken !== 0) assert(sched.wake(woken, this.#cpu, WakeContext.Task), "a task that waits does not sleep");
      else if (started !== 0 && programs.begin(started)) sched.wakeNew(started, this.#cpu, p);
      else if (reniced !== 0) sched.setNice(reniced, programs.nice);
      return p;
    }
    if (programs.timerNs >= 0) this.#timers.set(p, this.#now() + programs.timerNs, 0);
    const next = this.#switch(p, left);
    if (left === TaskLeft.Dead) {
      sched.removeTask(p);
      if (programs.allExited) this.#smp.stop(Stop.Finished);
    } else if (!programs.settle(p)) {
      assert(sched.wake(p, this.#cpu, WakeContext.Task), "a task that was woken on its way to sleep does not sleep");
    }
    return next;
  }

  /** The CPU stops running `prev` (0: it idled) and picks. Nobody else can have a task before we let it go here. */
  #switch(prev: number, left: number): number {
    const smp = this.#smp;
    smp.phase(this.#cpu, Phase.Pick);
    if (prev !== 0) smp.release(prev, this.#cpu);
    const p = this.#sched.schedule(this.#cpu, left);
    if (p !== 0) smp.take(p, this.#cpu);
    if (p === prev) return p;
    smp.add(this.#cpu, Stat.Switches, 1);
    if (++this.#untold === SWITCHES_LOT) {
      this.#untold = 0;
      if (smp.addSwitches(SWITCHES_LOT) >= this.#config.switchesMax) smp.stop(Stop.Switches);
    }
    if (p === 0) return 0;
    const now = this.#now();
    smp.raise(this.#cpu, Stat.MaxWaitNs, now - this.#sched.task.waitSince[p]!);
    if (prev === 0) this.#tickAt = this.#tickAfter(now);
    return p;
  }

  /** Looks for work twice, then sleeps until a kick, a timer or the end. */
  #idle(): number {
    const p = this.#switch(0, TaskLeft.Runnable) || this.#switch(0, TaskLeft.Runnable);
    if (p !== 0) return p;
    const smp = this.#smp;
    this.#programs.tick();
    smp.phase(this.#cpu, Phase.Idle);
    const from = this.#now();
    const timerAt = this.#timerAt();
    const until = Math.min(timerAt, this.#config.untilNs, this.#watchdogAt);
    if (until > from) {
      smp.add(this.#cpu, Stat.Waits, 1);
      smp.idle(this.#cpu, this.#resched, (until - from) / 1e6, timerAt !== Number.POSITIVE_INFINITY);
    }
    this.#seenAt = this.#now();
    smp.add(this.#cpu, Stat.IdleNs, this.#seenAt - from);
    return 0;
  }

  /** Its slice ends as soon as accounting says so: it looks at its own CPU clock all the time. */
  #endsWithSlice(p: number): boolean {
    return this.#programs.polls[p] !== 0 && this.#sched.policy().sliceEndsOnAccount === true;
  }

  /** Computes for p until its step is done or something else is due. */
  #compute(p: number): void {
    this.#smp.phase(this.#cpu, Phase.Run);
    const { sumExec, slice } = this.#sched.task;
    let work = this.#programs.target[p]! - sumExec[p]!;
    if (this.#endsWithSlice(p)) work = Math.min(work, slice[p]!);
    const { execStart, irqTime } = this.#sched.cpu;
    const doneAt = execStart[this.#at]! + irqTime[this.#at]! + work;
    const until = Math.min(doneAt, this.#tickAt, this.#timerAt(), this.#watchdogAt, this.#config.untilNs);
    const from = this.#seenAt;
    let now = from;
    while (now < until && now - this.#seenAt <= STOLEN_NS && !this.#asked()) {
      this.#seenAt = now;
      this.#spin(Math.min(until - now, STEP_NS) * this.#turnsPerNs);
      now = this.#now();
    }
    // A leap of the clock is nobody's time.
    this.#programs.computed?.(p, (now - this.#seenAt <= STOLEN_NS ? now : this.#seenAt) - from);
  }

  #spin(turns: number): void {
    let x = this.#spun;
    for (let turn = 0; turn < turns; turn++) x = (Math.imul(x, 1_664_525) + 1_013_904_223) | 0;
    this.#spun = x;
  }

  /** How many turns of the spin loop make a nanosecond: the best of some rounds, for others may have had the core. */
  #calibrate(): void {
    let best = Number.POSITIVE_INFINITY;
    for (let round = 0; round < CALIBRATION_ROUNDS; round++) {
      const from = this.#now();
      this.#spin(CALIBRATION_TURNS);
      best = Math.min(best, Math.max(1, this.#now() - from));
    }
    this.#turnsPerNs = CALIBRATION_TURNS / best;
  }
}

/** The host's clock as time since the machine's boot. */
export const sinceBoot =
  (smp: Smp, hostNowNs: () => number): (() => Nanos) =>
  () =>
    nanos(hostNowNs() - smp.base[0]!);

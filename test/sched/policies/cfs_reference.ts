/**
 * CFS as the text of Linux 6.1 has it (kernel/sched/fair.c), slow and obvious: a list of tasks a CPU, linear scans,
 * BigInt. Names are Linux's. Features at their defaults (START_DEBIT, GENTLE_FAIR_SLEEPERS, WAKEUP_PREEMPTION,
 * LAST_BUDDY; no NEXT_BUDDY), no groups, no SCHED_IDLE. Two simplifications, as ours: a child is placed on the CPU it
 * is woken on, and a quotient of weights is exact, where Linux multiplies by a 32-bit inverse.
 */
import { DEQ_MIGRATE, DEQ_SAVE, ENQ_JOINS, ENQ_NEW, ENQ_WAKEUP } from "../../../kernel/abi/sched.ts";
import type { SchedKernel } from "../../../kernel/abi/sched.ts";
import type { Reference } from "./twin.ts";

interface Entity {
  readonly p: number;
  vruntime: bigint;
  /** As of the last update_curr, and as of set_next_entity. */
  seen: bigint;
  prevSum: bigint;
  onRq: boolean;
  inTree: boolean;
  weight: number;
  /** CPU whose min_vruntime its vruntime belongs to; -1: it is relative (a task on its way between two CPUs). */
  home: number;
  arrival: number;
}

export class CfsReference implements Reference {
  readonly tasks = new Map<number, Entity>();
  readonly minVruntime: bigint[] = [];
  readonly #next: number[] = [];
  readonly #last: number[] = [];
  readonly #k: SchedKernel;
  readonly #latency: bigint;
  readonly #minGranularity: bigint;
  readonly #wakeupGranularity: bigint;
  #arrivals = 0;

  constructor(k: SchedKernel) {
    this.#k = k;
    let factor = 1n;
    for (let cpus = Math.min(k.cpus, 8); cpus > 1; cpus = Math.floor(cpus / 2)) factor++;
    this.#latency = 6_000_000n * factor;
    this.#minGranularity = 750_000n * factor;
    this.#wakeupGranularity = 1_000_000n * factor;
    for (let cpu = 0; cpu < k.cpus; cpu++) {
      this.minVruntime.push(0n);
      this.#next.push(0);
      this.#last.push(0);
    }
  }

  initTask(p: number): void {
    const cpu = this.#k.task.cpu[p]!;
    const weight = this.#k.task.loadWeight[p]!;
    const fresh = { vruntime: 0n, seen: 0n, prevSum: 0n, onRq: false, inTree: false, arrival: 0 };
    this.tasks.set(p, { p, ...fresh, weight, home: cpu });
  }

  enqueue(p: number, flags: number): boolean {
    const se = this.tasks.get(p)!;
    const cpu = this.#k.task.cpu[p]!;
    if ((flags & ENQ_JOINS) === 0) {
      this.#toTree(se);
      return false;
    }
    this.#updateCurr(cpu);
    // migrate_task_rq_fair and enqueue_entity: relative on the way, absolute again here.
    if (se.home === -1) se.vruntime += this.minVruntime[cpu]!;
    else if (se.home !== cpu) se.vruntime += this.minVruntime[cpu]! - this.minVruntime[se.home]!;
    se.home = cpu;
    const curr = this.#curr(cpu);
    if ((flags & ENQ_NEW) !== 0) {
      se.vruntime = curr?.vruntime ?? -(10n ** 30n);
      se.vruntime = max(se.vruntime, this.minVruntime[cpu]! + this.#fair(this.#schedSlice(cpu, se), se));
    } else if ((flags & ENQ_WAKEUP) !== 0) se.vruntime = max(se.vruntime, this.minVruntime[cpu]! - this.#latency / 2n);
    se.onRq = true;
    this.#toTree(se);
    return this.#checkPreempt(cpu, se);
  }

  /** check_preempt_wakeup. */
  #checkPreempt(cpu: number, pse: Entity): boolean {
    const curr = this.#curr(cpu);
    if (curr?.onRq !== true || this.#k.needResched(cpu)) return false;
    this.#updateCurr(cpu);
    if (this.#wakeupPreempt(curr, pse) !== 1) return false;
    this.#next[cpu] = pse.p;
    if (this.#running(cpu).length >= 8) this.#last[cpu] = curr.p;
    return true;
  }

  dequeue(p: number, flags: number): void {
    const se = this.tasks.get(p)!;
    const cpu = this.#k.task.cpu[p]!;
    this.#updateCurr(cpu);
    this.#clearBuddies(cpu, p);
    se.inTree = se.onRq = false;
    if ((flags & DEQ_MIGRATE) !== 0) {
      se.vruntime -= this.minVruntime[cpu]!;
      se.home = -1;
    }
    if ((flags & DEQ_SAVE) === 0) this.#updateMin(cpu);
  }

  /** pick_next_entity. */
  pick(cpu: number, prev: number): number {
    this.#updateCurr(cpu);
    const curr = prev === 0 ? undefined : this.tasks.get(prev);
    let left = this.#leftmost(cpu);
    if (left === undefined || (curr !== undefined && curr.vruntime < left.vruntime)) left = curr;
    if (left === undefined) return 0;
    let se = left;
    const [next, last] = [this.#next[cpu]!, this.#last[cpu]!];
    if (next !== 0 && this.#wakeupPreempt(this.tasks.get(next)!, left) < 1) se = this.tasks.get(next)!;
    else if (last !== 0 && this.#wakeupPreempt(this.tasks.get(last)!, left) < 1) se = this.tasks.get(last)!;
    if (se.p !== prev) se.inTree = false;
    return se.p;
  }

  /** set_next_entity. */
  running(p: number): void {
    const se = this.tasks.get(p)!;
    this.#clearBuddies(this.#k.task.cpu[p]!, p);
    se.inTree = false;
    se.seen = se.prevSum = this.#sum(p);
  }

  /** entity_tick, check_preempt_tick. */
  tick(p: number): boolean {
    const se = this.tasks.get(p)!;
    const cpu = this.#k.task.cpu[p]!;
    this.#updateCurr(cpu);
    if (this.#running(cpu).length <= 1) return false;
    const ideal = this.#schedSlice(cpu, se);
    const ran = this.#sum(p) - se.prevSum;
    if (ran > ideal) {
      this.#clearBuddies(cpu, p);
      return true;
    }
    if (ran < this.#minGranularity) return false;
    const left = this.#leftmost(cpu);
    return left !== undefined && se.vruntime - left.vruntime > ideal;
  }

  stopping(p: number): void {
    this.#updateCurr(this.#k.task.cpu[p]!);
  }

  /** dequeue_entity of the running task. */
  quiescent(p: number): void {
    const se = this.tasks.get(p)!;
    const cpu = this.#k.task.cpu[p]!;
    this.#clearBuddies(cpu, p);
    se.onRq = se.inTree = false;
    this.#updateMin(cpu);
  }

  /** prio_changed_fair of a running task; a waiting one is enqueued anew. */
  setWeight(p: number): boolean {
    const se = this.tasks.get(p)!;
    const before = se.weight;
    se.weight = this.#k.task.loadWeight[p]!;
    const cpu = this.#k.task.cpu[p]!;
    return this.#curr(cpu) === se && this.#running(cpu).length > 1 && se.weight < before;
  }

  #updateCurr(cpu: number): void {
    this.#k.account(cpu);
    const curr = this.#curr(cpu);
    if (curr === undefined) return;
    const delta = this.#sum(curr.p) - curr.seen;
    if (delta <= 0n) return;
    curr.seen += delta;
    curr.vruntime += this.#fair(delta, curr);
    this.#updateMin(cpu);
  }

  /** update_min_vruntime: never back. */
  #updateMin(cpu: number): void {
    const curr = this.#curr(cpu);
    const candidates = [curr?.onRq === true ? curr : undefined, this.#leftmost(cpu)].filter((se) => se !== undefined);
    if (candidates.length === 0) return;
    const least = candidates.map((se) => se.vruntime).reduce((a, b) => (a < b ? a : b));
    this.minVruntime[cpu] = max(this.minVruntime[cpu]!, least);
  }

  #schedSlice(cpu: number, se: Entity): bigint {
    const others = this.#running(cpu).filter((other) => other !== se);
    const tasks = BigInt(others.length + 1);
    const period = tasks > 8n ? tasks * this.#minGranularity : this.#latency;
    const load = [...others, se].reduce((sum, { p }) => sum + this.#weight(p), 0n);
    return max(this.#minGranularity, (period * this.#weight(se.p)) / load);
  }

  /** wakeup_preempt_entity: 1 when `se` is behind `curr` by more than se's granularity. */
  #wakeupPreempt(curr: Entity, se: Entity): number {
    const lead = curr.vruntime - se.vruntime;
    if (lead <= 0n) return -1;
    return lead > this.#fair(this.#wakeupGranularity, se) ? 1 : 0;
  }

  #clearBuddies(cpu: number, p: number): void {
    if (this.#next[cpu] === p) this.#next[cpu] = 0;
    if (this.#last[cpu] === p) this.#last[cpu] = 0;
  }

  #toTree(se: Entity): void {
    se.inTree = true;
    se.arrival = this.#arrivals++;
  }

  #leftmost(cpu: number): Entity | undefined {
    const tree = this.#running(cpu).filter((se) => se.inTree);
    return tree.reduce<Entity | undefined>((best, se) => {
      if (best === undefined || se.vruntime < best.vruntime) return se;
      return se.vruntime === best.vruntime && se.arrival < best.arrival ? se : best;
    }, undefined);
  }

  /** On the CPU's run queue, the running one among them. */
  #running(cpu: number): Entity[] {
    return [...this.tasks.values()].filter((se) => se.onRq && this.#k.task.cpu[se.p] === cpu);
  }

  #curr(cpu: number): Entity | undefined {
    return this.tasks.get(this.#k.running(cpu));
  }

  #sum = (p: number): bigint => BigInt(this.#k.task.sumExec[p]!);
  #weight = (p: number): bigint => BigInt(this.#k.task.loadWeight[p]!);
  #fair = (ns: bigint, { p }: Entity): bigint => (ns * 1024n) / this.#weight(p);
}

const max = (a: bigint, b: bigint): bigint => (a > b ? a : b);

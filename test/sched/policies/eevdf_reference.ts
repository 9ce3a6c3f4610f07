/**
 * EEVDF as the text of Linux 6.12 has it (kernel/sched/fair.c), slow and obvious: a list of tasks a CPU, linear scans,
 * exact sums in BigInt. Names are Linux's. Features at their defaults: PLACE_LAG, PLACE_DEADLINE_INITIAL,
 * PLACE_REL_DEADLINE, RUN_TO_PARITY, PREEMPT_SHORT (all slices are equal here), WAKEUP_PREEMPTION, DELAY_DEQUEUE,
 * DELAY_ZERO; no NEXT_BUDDY; rescaling of a relative deadline as from 6.12.10 on. No groups, no SCHED_IDLE. Quotients
 * of weights are exact, where Linux multiplies by a 32-bit inverse.
 *
 *   lag_i = w_i (V - v_i), V = sum w_j v_j / sum w_j; eligible: lag_i >= 0
 */
import { DEQ_MIGRATE, DEQ_SAVE, DEQ_SLEEP, ENQ_JOINS, ENQ_NEW } from "../../../kernel/abi/sched.ts";
import type { SchedKernel } from "../../../kernel/abi/sched.ts";
import type { Reference } from "./twin.ts";

export interface Entity {
  readonly p: number;
  weight: bigint;
  vruntime: bigint;
  deadline: bigint;
  vlag: bigint;
  /** What Linux keeps in vlag while the task runs: the deadline it had when it was picked. */
  pickedDeadline: bigint | undefined;
  relDeadline: boolean;
  delayed: boolean;
  seen: bigint;
  onRq: boolean;
  inTree: boolean;
  arrival: number;
}

export class EevdfReference implements Reference {
  readonly tasks = new Map<number, Entity>();
  readonly slice: bigint;
  readonly lagLimit: bigint;
  readonly #k: SchedKernel;
  #arrivals = 0;

  constructor(k: SchedKernel) {
    this.#k = k;
    let factor = 1n;
    for (let cpus = Math.min(k.cpus, 8); cpus > 1; cpus = Math.floor(cpus / 2)) factor++;
    this.slice = 700_000n * factor;
    const tick = BigInt(k.tickNs);
    this.lagLimit = 2n * this.slice > tick ? 2n * this.slice : tick;
  }

  initTask(p: number): void {
    const zero = { vruntime: 0n, deadline: 0n, vlag: 0n, seen: 0n };
    const flags = { relDeadline: false, delayed: false, onRq: false, inTree: false };
    const weight = BigInt(this.#k.task.loadWeight[p]!);
    this.tasks.set(p, { p, weight, ...zero, ...flags, pickedDeadline: undefined, arrival: 0 });
  }

  enqueue(p: number, flags: number): boolean {
    const se = this.tasks.get(p)!;
    const cpu = this.#k.task.cpu[p]!;
    if ((flags & ENQ_JOINS) === 0) {
      this.#toTree(se);
      return false;
    }
    let asked = false;
    if (se.delayed) this.#requeueDelayed(cpu, se);
    else {
      asked = this.#updateCurr(cpu);
      this.#place(cpu, se, (flags & ENQ_NEW) !== 0);
      se.onRq = true;
      this.#toTree(se);
    }
    return asked || this.#checkPreempt(cpu, se);
  }

  /** check_preempt_wakeup_fair. */
  #checkPreempt(cpu: number, pse: Entity): boolean {
    const curr = this.#curr(cpu);
    if (curr?.onRq !== true || this.#k.needResched(cpu)) return false;
    const asked = this.#updateCurr(cpu);
    return this.#pickEevdf(cpu, curr) === pse || asked;
  }

  /** requeue_delayed_entity. */
  #requeueDelayed(cpu: number, se: Entity): void {
    this.#updateLag(cpu, se);
    if (se.vlag > 0n) {
      se.onRq = se.inTree = false;
      se.vlag = 0n;
      this.#place(cpu, se, false);
      se.onRq = true;
      this.#toTree(se);
    }
    se.delayed = false;
  }

  /** dequeue_entity of a task that waits and does not go to sleep. */
  dequeue(p: number, flags: number): void {
    const se = this.tasks.get(p)!;
    const cpu = this.#k.task.cpu[p]!;
    this.#updateCurr(cpu);
    if ((flags & (DEQ_MIGRATE | DEQ_SAVE)) !== 0) this.#takeOut(cpu, se);
  }

  #takeOut(cpu: number, se: Entity): void {
    this.#updateLag(cpu, se);
    se.deadline -= se.vruntime;
    se.relDeadline = true;
    se.onRq = se.inTree = false;
  }

  /** pick_next_entity, until it names one that is not delayed. */
  pick(cpu: number, prev: number): number {
    this.#updateCurr(cpu);
    const curr = prev === 0 ? undefined : this.tasks.get(prev);
    for (;;) {
      const se = this.#pickEevdf(cpu, curr);
      if (se === undefined) return 0;
      if (!se.delayed) {
        if (se.p !== prev) se.inTree = false;
        return se.p;
      }
      // dequeue_entities(DEQUEUE_DELAYED) and finish_delayed_dequeue_entity.
      this.#updateLag(cpu, se);
      if (se.vlag > 0n) se.vlag = 0n;
      se.delayed = se.onRq = se.inTree = false;
    }
  }

  #pickEevdf(cpu: number, running: Entity | undefined): Entity | undefined {
    const all = this.queue(cpu);
    const tree = all.filter((se) => se.inTree);
    if (all.length === 1) return running?.onRq === true ? running : tree[0];
    const curr = running?.onRq === true && this.eligible(cpu, running) ? running : undefined;
    if (curr !== undefined && curr.pickedDeadline === curr.deadline) return curr;
    const best = tree
      .filter((se) => this.eligible(cpu, se))
      .reduce<Entity | undefined>((a, b) => (a === undefined || isBefore(b, a) ? b : a), undefined);
    return best === undefined || (curr !== undefined && curr.deadline < best.deadline) ? curr : best;
  }

  /** set_next_entity. */
  running(p: number): void {
    const se = this.tasks.get(p)!;
    se.inTree = false;
    se.seen = BigInt(this.#k.task.sumExec[p]!);
    se.pickedDeadline = se.deadline;
  }

  tick(p: number): boolean {
    return this.#updateCurr(this.#k.task.cpu[p]!);
  }

  stopping(p: number): void {
    this.#updateCurr(this.#k.task.cpu[p]!);
  }

  /** dequeue_entity of the running task. */
  quiescent(p: number, flags: number): void {
    const se = this.tasks.get(p)!;
    const cpu = this.#k.task.cpu[p]!;
    if ((flags & DEQ_SLEEP) !== 0 && !this.eligible(cpu, se)) {
      se.delayed = true;
      this.#toTree(se);
      return;
    }
    this.#updateLag(cpu, se);
    se.onRq = se.inTree = false;
  }

  /** set_user_nice: dequeued, given its weight, enqueued again; then prio_changed_fair. A waiting one is out already. */
  setWeight(p: number): boolean {
    const se = this.tasks.get(p)!;
    const cpu = this.#k.task.cpu[p]!;
    const weight = BigInt(this.#k.task.loadWeight[p]!);
    const [before, onRq, inTree] = [se.weight, se.onRq, se.inTree];
    if (onRq) this.#takeOut(cpu, se);
    // reweight_entity.
    se.vlag = (se.vlag * before) / weight;
    if (se.relDeadline) se.deadline = (se.deadline * before) / weight;
    se.weight = weight;
    if (onRq) {
      this.#place(cpu, se, false);
      se.onRq = true;
      if (inTree) this.#toTree(se);
    }
    return this.#curr(cpu) === se && this.queue(cpu).length > 1 && weight < before;
  }

  /** True when the running task should be compared anew. */
  #updateCurr(cpu: number): boolean {
    this.#k.account(cpu);
    const curr = this.#curr(cpu);
    if (curr?.onRq !== true) return false;
    const delta = BigInt(this.#k.task.sumExec[curr.p]!) - curr.seen;
    if (delta <= 0n) return false;
    curr.seen += delta;
    curr.vruntime += (delta * 1024n) / curr.weight;
    // update_deadline, did_preempt_short.
    let resched = false;
    if (curr.vruntime >= curr.deadline) {
      curr.deadline = curr.vruntime + (this.slice * 1024n) / curr.weight;
      resched = true;
    } else resched = curr.pickedDeadline !== curr.deadline && !this.eligible(cpu, curr);
    return resched && this.queue(cpu).length > 1;
  }

  /** update_entity_lag. */
  #updateLag(cpu: number, se: Entity): void {
    const limit = (this.lagLimit * 1024n) / se.weight;
    const vlag = this.average(cpu) - se.vruntime;
    se.vlag = vlag > limit ? limit : vlag < -limit ? -limit : vlag;
  }

  /** place_entity. */
  #place(cpu: number, se: Entity, isNew: boolean): void {
    const load = this.#load(cpu);
    const lag = load > 0n && se.vlag !== 0n ? (se.vlag * (load + se.weight)) / load : 0n;
    se.vruntime = this.average(cpu) - lag;
    if (se.relDeadline) {
      se.deadline += se.vruntime;
      se.relDeadline = false;
      return;
    }
    const vslice = (this.slice * 1024n) / se.weight;
    se.deadline = se.vruntime + (isNew ? vslice / 2n : vslice);
  }

  /** avg_vruntime, rounded down; any origin will do where there is nobody. */
  average(cpu: number): bigint {
    const all = this.queue(cpu);
    const load = this.#load(cpu);
    if (load === 0n) return 0n;
    const sum = all.reduce((total, se) => total + se.weight * se.vruntime, 0n);
    return sum >= 0n ? sum / load : -((-sum + load - 1n) / load);
  }

  /** lag >= 0 without a division. */
  eligible(cpu: number, se: Entity): boolean {
    return this.lag(cpu, se) >= 0n;
  }

  /** w (V - v), times the CPU's load: exact. */
  lag(cpu: number, se: Entity): bigint {
    return this.queue(cpu).reduce((sum, other) => sum + other.weight * (other.vruntime - se.vruntime), 0n);
  }

  /** On the CPU's run queue: waiting, delayed and running. */
  queue(cpu: number): Entity[] {
    return [...this.tasks.values()].filter((se) => se.onRq && this.#k.task.cpu[se.p] === cpu);
  }

  #load(cpu: number): bigint {
    return this.queue(cpu).reduce((sum, se) => sum + se.weight, 0n);
  }

  #toTree(se: Entity): void {
    se.inTree = true;
    se.arrival = this.#arrivals++;
  }

  #curr(cpu: number): Entity | undefined {
    return this.tasks.get(this.#k.running(cpu));
  }
}

const isBefore = (a: Entity, b: Entity): boolean =>
  a.deadline < b.deadline || (a.deadline === b.deadline && a.arrival < b.arrival);

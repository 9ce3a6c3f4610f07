/**
 * Earliest Eligible Virtual Deadline First as in Linux 6.12 (kernel/sched/fair.c; Stoica and Abdel-Wahab 1995): among
 * the tasks that are owed time (lag >= 0) the one with the earliest virtual deadline runs. With Linux's features:
 * PLACE_LAG, PLACE_DEADLINE_INITIAL, PLACE_REL_DEADLINE, RUN_TO_PARITY, DELAY_DEQUEUE, DELAY_ZERO.
 *
 *   V(cpu) = sum w v / sum w over running and waiting; lag = V - v (in virtual time); eligible iff v <= V
 *   deadline = v + slice * 1024 / w
 *
 * Per CPU: waiting tasks in a heap by deadline; the running one is outside it. V is kept as the exact integer sum of
 * w * (v - ref) with a movable `ref`, as Linux keeps avg_vruntime against min_vruntime. All times are whole
 * nanoseconds: no rounding builds up. A task that goes to sleep while it owes time stays in the heap as "delayed"
 * until its lag is worked off (or it wakes), and is dropped when it would be picked.
 */
import {
  DEQ_MIGRATE,
  DEQ_SAVE,
  DEQ_SLEEP,
  DSQ_LOCAL,
  ENQ_JOINS,
  ENQ_NEW,
  KICK_PREEMPT,
} from "../../kernel/abi/sched.ts";
import type { PolicyFactory } from "../../kernel/abi/sched.ts";
import { KeyedHeap } from "../../kernel/lib/keyed_heap.ts";
import { NICE_0_LOAD } from "../weight.ts";

const BASE_SLICE_NS = 700_000;
const BASE_SLICE_NS_MIN = 100_000;
const BASE_SLICE_NS_MAX = 1_000_000_000;
/** `ref` moves up when V is beyond it by this: little enough that 10,000 tasks' sum stays a whole number in a double. */
const REF_REACH_NS = 2 ** 22;

const virtualOf = (ns: number, weight: number): number => Math.floor((ns * NICE_0_LOAD) / weight);

export const eevdf: PolicyFactory = (k) => {
  const scale = 1 + Math.floor(Math.log2(Math.min(k.cpus, 8)));
  const baseSlice = k.tunable("base_slice_ns", BASE_SLICE_NS * scale, BASE_SLICE_NS_MIN, BASE_SLICE_NS_MAX);

  const { sumExec, loadWeight, slice, cpu: cpuOf } = k.task;
  const vruntime = k.perTask();
  const deadline = k.perTask();
  /** Lag kept over sleep and migration, virtual ns of a task of `lagWeight`. */
  const vlag = k.perTask();
  const lagWeight = k.perTask();
  /** The running task's deadline at the time it was picked: while equal, it runs to parity. */
  const pickedDeadline = k.perTask();
  const seenExec = k.perTask();
  /** Weight the task adds to its CPU; 0 when it is on none. Delayed tasks still add theirs. */
  const joined = k.perTask();
  const delayed = k.perTask();
  const relDeadline = k.perTask();
  /** sum of w and of w * (v - ref) over waiting and running tasks. */
  const load = k.perCpu();
  const sum = k.perCpu();
  const ref = k.perCpu();
  const nr = k.perCpu();
  const serial = k.perCpu();
  const tie = k.perTask();
  const key = k.perTask();
  const pos = k.words(k.tasksMax);
  const waiting: KeyedHeap[] = [];
  for (let cpu = 0; cpu < k.cpus; cpu++)
    waiting.push(new KeyedHeap(key, tie, pos, k.words(k.tasksMax + 1), 0, k.tasksMax));
  const stack = new Int32Array(64);

  const fairDelta = (ns: number, p: number): number => virtualOf(ns, loadWeight[p]!);

  /** V, rounded down (avg_vruntime). */
  const averageOf = (cpu: number): number =>
    load[cpu] === 0 ? ref[cpu]! : ref[cpu]! + Math.floor(sum[cpu]! / load[cpu]!);

  const eligible = (cpu: number, p: number): boolean => sum[cpu]! >= (vruntime[p]! - ref[cpu]!) * load[cpu]!;

  const moveRef = (cpu: number): void => {
    const by = averageOf(cpu) - ref[cpu]!;
    if (by < REF_REACH_NS) return;
    ref[cpu]! += by;
    sum[cpu]! -= load[cpu]! * by;
  };

  const join = (cpu: number, p: number): void => {
    const weight = loadWeight[p]!;
    joined[p] = weight;
    load[cpu]! += weight;
    sum[cpu]! += weight * (vruntime[p]! - ref[cpu]!);
    nr[cpu]!++;
  };
  const leave = (cpu: number, p: number): void => {
    const weight = joined[p]!;
    joined[p] = 0;
    load[cpu]! -= weight;
    sum[cpu]! -= weight * (vruntime[p]! - ref[cpu]!);
    nr[cpu]!--;
  };

  /** A task that goes on after its request was fulfilled (it was not switched out) has no right to run to parity. */
  const unprotected = (p: number): boolean => pickedDeadline[p] !== deadline[p];

  /**
   * CPU time until p's request is fulfilled or, unprotected, until it owes time, ns: its slice. Never less than moves its
   * virtual time on: a machine that ends slices exactly would stand still there.
   */
  const sliceLeft = (cpu: number, p: number): number => {
    const toDeadline = ((deadline[p]! - vruntime[p]!) * loadWeight[p]!) / NICE_0_LOAD;
    const others = load[cpu]! - joined[p]!;
    const least = Math.ceil(loadWeight[p]! / NICE_0_LOAD);
    if (others === 0 || !unprotected(p)) return Math.max(least, Math.ceil(toDeadline));
    const owed = sum[cpu]! - (vruntime[p]! - ref[cpu]!) * load[cpu]!;
    const toParity = (owed * loadWeight[p]!) / (NICE_0_LOAD * others);
    return Math.max(least, Math.ceil(Math.min(toDeadline, toParity + 1)));
  };

  /** Accounts the running task; true when it should be compared anew: request fulfilled, or unprotected and in debt. */
  const updateCurr = (cpu: number): boolean => {
    k.account(cpu);
    const p = k.running(cpu);
    if (p === 0 || joined[p] === 0) return false;
    const ran = sumExec[p]! - seenExec[p]!;
    if (ran <= 0) return false;
    seenExec[p] = sumExec[p]!;
    const by = fairDelta(ran, p);
    vruntime[p]! += by;
    sum[cpu]! += joined[p]! * by;
    moveRef(cpu);
    if (vruntime[p]! < deadline[p]!) return unprotected(p) && !eligible(cpu, p);
    deadline[p] = vruntime[p]! + fairDelta(baseSlice[0]!, p);
    return true;
  };
  const updateCurrAndPreempt = (cpu: number): void => {
    if (updateCurr(cpu) && nr[cpu]! > 1) k.kickCpu(cpu, KICK_PREEMPT);
  };

  const updateLag = (cpu: number, p: number): void => {
    const limit = virtualOf(Math.max(2 * baseSlice[0]!, k.tickNs), joined[p]!);
    vlag[p] = Math.min(limit, Math.max(-limit, averageOf(cpu) - vruntime[p]!));
    lagWeight[p] = joined[p]!;
  };

  /** Gives a joining task its virtual time and deadline; it is not in the sums yet. */
  const place = (cpu: number, p: number, isNew: boolean): void => {
    let lag = 0;
    if (nr[cpu]! > 0 && vlag[p] !== 0)
      lag = Math.trunc((vlag[p]! * (load[cpu]! + loadWeight[p]!)) / (load[cpu]! === 0 ? 1 : load[cpu]!));
    vruntime[p] = averageOf(cpu) - lag;
    if (relDeadline[p] !== 0) {
      deadline[p]! += vruntime[p];
      relDeadline[p] = 0;
      return;
    }
    const vslice = fairDelta(baseSlice[0]!, p);
    deadline[p] = vruntime[p] + (isNew ? Math.floor(vslice / 2) : vslice);
  };

  /**
   * The eligible waiting task with the earliest deadline, first come among equals; -1 when none is eligible.
   * Depth first through the heap, leaving out whatever cannot be earlier than the best found: the nodes visited are the
   * ineligible ones with earlier deadlines and their children.
   */
  const earliestEligible = (cpu: number): number => {
    const { items } = waiting[cpu]!;
    const size = items[0]!;
    let best = -1;
    let depth = 0;
    if (size > 0) stack[depth++] = 1;
    while (depth > 0) {
      const at = stack[--depth]!;
      const p = items[at]!;
      if (best >= 0 && (key[p]! > key[best]! || (key[p] === key[best] && tie[p]! > tie[best]!))) continue;
      if (eligible(cpu, p)) {
        best = p;
        continue;
      }
      if (2 * at + 1 <= size) stack[depth++] = 2 * at + 1;
      if (2 * at <= size) stack[depth++] = 2 * at;
    }
    return best;
  };

  /** pick_eevdf: a waiting task, or `curr` (0: there is none to compare). */
  const pick = (cpu: number, curr: number): number => {
    if (nr[cpu] === 1) return curr === 0 ? waiting[cpu]!.first() : curr;
    const stays = curr !== 0 && eligible(cpu, curr);
    if (stays && !unprotected(curr)) return curr;
    const best = earliestEligible(cpu);
    if (best < 0) return stays ? curr : waiting[cpu]!.first();
    return stays && deadline[curr]! < deadline[best]! ? curr : best;
  };

  /** A task that stays runnable leaves its CPU's sums for now: lag and deadline are kept as they are to V. */
  const takeOut = (cpu: number, p: number): void => {
    updateLag(cpu, p);
    deadline[p]! -= vruntime[p]!;
    relDeadline[p] = 1;
    leave(cpu, p);
  };

  /** What is kept is in virtual time: a new weight keeps the real time behind it (reweight_entity). */
  const rescale = (p: number): void => {
    const [from, to] = [lagWeight[p]!, loadWeight[p]!];
    if (from === 0) return;
    vlag[p] = Math.trunc((vlag[p]! * from) / to);
    if (relDeadline[p] !== 0) deadline[p] = Math.trunc((deadline[p]! * from) / to);
    lagWeight[p] = to;
  };

  /** A delayed task whose time has come leaves the sums; positive lag is not kept (DELAY_ZERO). */
  const dropDelayed = (cpu: number, p: number): void => {
    updateLag(cpu, p);
    vlag[p] = Math.min(0, vlag[p]!);
    delayed[p] = 0;
    waiting[cpu]!.remove(p);
    leave(cpu, p);
  };

  /**
   * The sleeper woke before it was dropped (requeue_delayed_entity). As in Linux the running task is not accounted
   * first: V is as of its last accounting, and what it ran since is credited to the sleeper.
   */
  const wakeDelayed = (cpu: number, p: number): void => {
    delayed[p] = 0;
    updateLag(cpu, p);
    if (vlag[p]! <= 0) return;
    waiting[cpu]!.remove(p);
    leave(cpu, p);
    vlag[p] = 0;
    place(cpu, p, false);
    join(cpu, p);
    waiting[cpu]!.set(p, deadline[p]!, serial[cpu]!++);
  };

  return {
    name: "eevdf",
    perCpuQueues: true,
    sliceEndsOnAccount: true,
    initTask: (p) => {
      vruntime[p] = deadline[p] = vlag[p] = lagWeight[p] = joined[p] = delayed[p] = relDeadline[p] = seenExec[p] = 0;
      pickedDeadline[p] = -1;
    },
    selectCpu: (p, prev, flags) => {
      if (delayed[p] !== 0) return prev;
      const idle = k.selectCpuDfl(p, prev, flags);
      return idle >= 0 ? idle : prev;
    },
    enqueue: (p, flags) => {
      const cpu = cpuOf[p]!;
      if (delayed[p] !== 0) wakeDelayed(cpu, p);
      else {
        if ((flags & ENQ_JOINS) !== 0) {
          updateCurrAndPreempt(cpu);
          place(cpu, p, (flags & ENQ_NEW) !== 0);
          join(cpu, p);
        }
        waiting[cpu]!.set(p, deadline[p]!, serial[cpu]!++);
      }
      if ((flags & ENQ_JOINS) === 0) return;
      const curr = k.running(cpu);
      if (curr === 0 || joined[curr] === 0 || k.needResched(cpu)) return;
      updateCurrAndPreempt(cpu);
      if (pick(cpu, curr) === p) k.kickCpu(cpu, KICK_PREEMPT);
      else slice[curr] = sliceLeft(cpu, curr);
    },
    dequeue: (p, flags) => {
      const cpu = cpuOf[p]!;
      updateCurr(cpu);
      waiting[cpu]!.remove(p);
      if ((flags & (DEQ_MIGRATE | DEQ_SAVE)) !== 0) takeOut(cpu, p);
      else leave(cpu, p);
    },
    dispatch: (cpu, prev) => {
      updateCurr(cpu);
      let chosen = pick(cpu, prev);
      while (chosen > 0 && delayed[chosen] !== 0) {
        dropDelayed(cpu, chosen);
        chosen = pick(cpu, prev);
      }
      if (chosen <= 0 || chosen === prev) {
        if (prev !== 0) slice[prev] = sliceLeft(cpu, prev);
        return;
      }
      waiting[cpu]!.remove(chosen);
      k.dsqInsert(chosen, DSQ_LOCAL, sliceLeft(cpu, chosen), 0);
    },
    running: (p) => {
      const cpu = cpuOf[p]!;
      seenExec[p] = sumExec[p]!;
      if (joined[p] === 0) {
        place(cpu, p, false);
        join(cpu, p);
        slice[p] = sliceLeft(cpu, p);
      }
      pickedDeadline[p] = deadline[p]!;
    },
    tick: (p) => updateCurrAndPreempt(cpuOf[p]!),
    stopping: (p) => {
      updateCurr(cpuOf[p]!);
    },
    quiescent: (p, flags) => {
      const cpu = cpuOf[p]!;
      if ((flags & DEQ_SLEEP) !== 0 && !eligible(cpu, p)) {
        delayed[p] = 1;
        waiting[cpu]!.set(p, deadline[p]!, serial[cpu]!++);
        return;
      }
      updateLag(cpu, p);
      leave(cpu, p);
    },
    setWeight: (p) => {
      const cpu = cpuOf[p]!;
      const was = joined[p]!;
      const waits = pos[p] !== 0;
      if (was !== 0) takeOut(cpu, p);
      rescale(p);
      if (was === 0) return;
      place(cpu, p, false);
      join(cpu, p);
      if (waits) waiting[cpu]!.set(p, deadline[p]!, serial[cpu]!++);
      else if (loadWeight[p]! < was && nr[cpu]! > 1) k.kickCpu(cpu, KICK_PREEMPT);
    },
  };
};

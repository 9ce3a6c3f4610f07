/**
 * Tasks that sleep while CPUs race: the wait queues of wait.ts under one lock, the machine's kernel lock, which also
 * guards the table of tasks (who is whose child, who is dead). Whoever takes a task off its queue has its wake to carry
 * out, alone; how, says one word a task, moved by compare-exchange only:
 *
 *   AWAKE
 *   GOING     it is on a queue, and its CPU has not switched away yet     woken: AWAKE, and its own CPU wakes it (settle)
 *   ASLEEP    its CPU has switched                                        woken: AWAKE, and the waker wakes it
 *
 * So no wake meets a task that is halfway to sleep, and nobody waits for anybody.
 *
 * - locked(work)             with the kernel lock; may be nested
 * - sleepOn(p, channel)      by the CPU that runs p, before it switches away; what p waits for is looked at under the
 *                            same lock, or is kept (a call in the storage worker's ring)
 * - settle(p)                by that CPU after the switch: false when it has been woken meanwhile
 * - wake(p, context)         p is on a queue
 * - wakeAll(channel), serial[p] counts its sleeps
 *
 * Lock order: kernel lock, then the scheduler's, then a task's list of frames, then the page allocator's.
 */
import type { EventSink } from "../abi/machine.ts";
import { SysEv } from "../abi/events.ts";
import type { Arena } from "../lib/arena.ts";
import { assert } from "../lib/assert.ts";
import type { LockOps } from "../lib/lock_ops.ts";
import type { Processes } from "../process.ts";
import { isDiskWait, Wait, WaitQueues } from "../wait.ts";
import type { Sched } from "../../sched/index.ts";

const AWAKE = 0;
const GOING = 1;
const ASLEEP = 2;

export interface SleepersParts {
  readonly arena: Arena;
  readonly rows: number;
  readonly processes: Processes;
  readonly sched: Sched;
  readonly locks: LockOps;
  readonly now: () => number;
  readonly trace: EventSink;
  /** CPU whose worker this is; the storage worker wakes from one behind the last. */
  readonly cpu: number;
}

export class Sleepers {
  readonly waits: WaitQueues;
  readonly serial: Int32Array;
  /** For canaries: every so many wakes one is lost; 0: none. Whatever this breaks must be found. */
  loseEvery = 0;
  readonly #parts: SleepersParts;
  readonly #word: Int32Array;
  readonly #lock: Int32Array;
  #depth = 0;
  #wakes = 0;

  constructor(parts: SleepersParts) {
    const { arena, rows } = parts;
    this.#parts = parts;
    this.waits = new WaitQueues(arena, rows);
    this.#word = arena.i32(rows);
    this.serial = arena.i32(rows);
    this.#lock = arena.i32(1);
  }

  static bytes(rows: number): number {
    return WaitQueues.bytes(rows) + rows * 8 + 256;
  }

  locked<T>(work: () => T): T {
    if (this.#depth++ === 0) this.#parts.locks.lock(this.#lock, 0);
    try {
      return work();
    } finally {
      if (--this.#depth === 0) this.#parts.locks.unlock(this.#lock, 0);
    }
  }

  sleepOn(p: number, channel: number): void {
    const { processes, now, trace, cpu } = this.#parts;
    this.locked(() => {
      this.waits.sleepOn(p, channel);
      this.serial[p]!++;
      processes.sleptAt[p] = now();
      // What its call waits for there is counted by the storage worker.
      if (channel !== Wait.Storage) processes.waits[p]!++;
      Atomics.store(this.#word, p, GOING);
    });
    trace(SysEv.Sleep, cpu, p, channel, 0, 0);
  }

  settle(p: number): boolean {
    return Atomics.compareExchange(this.#word, p, GOING, ASLEEP) === GOING;
  }

  /** Ends p's wait; true: the caller has to wake it. */
  take(p: number): boolean {
    const { processes, now } = this.#parts;
    const { waits } = this;
    if (isDiskWait(waits.channel[p]!)) processes.diskNs[p]! += now() - processes.sleptAt[p]!;
    assert(waits.leave(p), "take: the task waits for nothing");
    if (Atomics.compareExchange(this.#word, p, GOING, AWAKE) === GOING) return false;
    assert(Atomics.exchange(this.#word, p, AWAKE) === ASLEEP, "take: a task on a queue is awake");
    return true;
  }

  wake(p: number, context: number): void {
    this.locked(() => {
      if (this.loseEvery > 0 && ++this.#wakes % this.loseEvery === 0) return;
      if (this.take(p)) assert(this.#parts.sched.wake(p, this.#parts.cpu, context), "wake: the task does not sleep");
    });
  }

  wakeAll(channel: number, context: number): void {
    const { waits } = this;
    if (waits.oldest(channel) === 0) return;
    this.locked(() => {
      for (let p = waits.oldest(channel); p !== 0; p = waits.oldest(channel)) {
        if (this.take(p)) assert(this.#parts.sched.wake(p, this.#parts.cpu, context), "wakeAll: no sleeper");
      }
    });
  }

  /** Its CPU has switched away from it, and nobody has woken it. */
  isAsleep(p: number): boolean {
    return Atomics.load(this.#word, p) === ASLEEP && this.waits.channel[p] !== Wait.None;
  }
}

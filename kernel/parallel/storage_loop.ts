/**
 * The storage worker of a parallel machine: everything behind the calls on files is its own, VFS, page cache, ext4, jbd2,
 * pipes, and touched by nobody else. It takes calls from the ring, makes them by the code of syscall/file.ts, and wakes
 * their tasks; a call that waits (EIOCBQUEUED) stays on a list of its own here and is made again when its reason may be
 * gone. Between calls it does the work of jbd2, the flusher and kswapd, a step at a time.
 *
 * - run()     until the machine stops; an orderly stop ends all tasks, unmounts, and stops the CPUs
 */
import { SysEv, WakeContext } from "../abi/events.ts";
import { EINTR, EIOCBQUEUED, ENOSYS, isErr } from "../abi/errno.ts";
import { NR_MAX, Nr } from "../abi/syscall_nr.ts";
import type { Nanos } from "../abi/units.ts";
import { NS_PER_SEC } from "../abi/units.ts";
import { Arena } from "../lib/arena.ts";
import { assert } from "../lib/assert.ts";
import { fileChannel } from "../file_wait.ts";
import type { Ext4 } from "../fs/ext4/ext4.ts";
import type { Figures } from "../observe/figures.ts";
import type { Refaults } from "../observe/refaults.ts";
import { Kind, NO_VFS, Phase } from "../process.ts";
import type { Processes } from "../process.ts";
import { Stop } from "../smp.ts";
import type { Smp } from "../smp.ts";
import type { CallCode, CallKernel } from "../syscall/call.ts";
import { fileCalls } from "../syscall/file.ts";
import { isDiskWait, Wait, WaitQueues } from "../wait.ts";
import type { DrivenDisk } from "../wire_disk.ts";
import { unmountTree } from "../wire_files.ts";
import type { Tree } from "../wire_files.ts";
import { Life } from "./port.ts";
import type { StoragePort } from "./port.ts";
import { FILES, FLUSHER, JBD2, KSWAPD } from "../kthread.ts";
import { killTask } from "./racing_tasks.ts";
import type { Tables } from "./share.ts";
import type { StorageTasks } from "./storage_tasks.ts";
import type { Sleepers } from "./sleepers.ts";
import type { Vmscan } from "../../mm/index.ts";

const SIGTERM = 15;
/** Time that tasks have to end in. */
const STOP_NS_MAX = 60 * NS_PER_SEC;
const SWAP_CLUSTER = 32;
/** jbd2 and the flusher look once a second whether something has become due; so long rests the worker at most. */
const LOOK_NS = NS_PER_SEC;
/** What was due and found nothing is not looked for again before. */
const RECHECK_NS = 1_000_000;

export interface StorageParts {
  readonly tables: Tables;
  readonly smp: Smp;
  readonly row: number;
  readonly now: () => Nanos;
  readonly tree: Tree;
  readonly disk: DrivenDisk | undefined;
  readonly ext4: Ext4 | undefined;
  readonly vmscan: Vmscan | undefined;
  readonly refaults: Refaults;
  readonly threads: StorageTasks;
  /** kswapd has done its work. */
  readonly kswapdRests: () => void;
  /** What has happened so far; taken when the machine is told to stop, before its tasks end. */
  readonly figures: () => Figures;
  /** Until the disk has something to tell, when it is asked for anything. */
  readonly idle: () => void;
  /** Sleeps until the bell rings that has been heard so often, or for so long; false: the time is over. */
  readonly rest: (heard: number, forMs: number) => boolean;
}

/** What the worker has done. */
export interface StorageCounts {
  calls: number;
  /** Calls that were made again after a wait. */
  retries: number;
  interrupts: number;
  /** Calls that waited though what they waited for was there: none, unless a wake was lost. */
  lost: number;
}

export class StorageLoop implements CallKernel {
  readonly processes: Processes;
  readonly now: () => Nanos;
  readonly counts: StorageCounts = { calls: 0, retries: 0, interrupts: 0, lost: 0 };
  /** Of the unmount at the end. */
  unmounted = 0;
  figures: Figures | undefined;
  readonly #parts: StorageParts;
  readonly #sleepers: Sleepers;
  readonly #port: StoragePort;
  readonly #calls: (CallCode | undefined)[] = Array.from({ length: NR_MAX + 1 });
  /** Tasks whose calls wait, by reason; those to be made again. */
  readonly #waits: WaitQueues;
  /** By row: when it began to wait for a disk; Infinity: it waits for something else. */
  readonly #waitsSince: Float64Array;
  readonly #again: number[] = [];
  #wantsJournal = true;
  #wantsFlusher = true;
  #lookAt = 0;
  #endedSeen = 0;
  #endsSeen = 0;
  #killed = false;
  #stopBy = 0;

  constructor(parts: StorageParts) {
    const { tables, tree, now } = parts;
    this.#parts = parts;
    this.processes = tables.processes;
    this.now = now;
    this.#sleepers = tables.sleepers;
    this.#port = tables.port;
    const { rows } = tables.processes;
    this.#waits = new WaitQueues(new Arena(new SharedArrayBuffer(WaitQueues.bytes(rows))), rows);
    this.#waitsSince = new Float64Array(rows);
    const wakes = {
      jbd2: () => void (this.#wantsJournal = true),
      flusher: () => void (this.#wantsFlusher = true),
    };
    const waitChannel = (): number => fileChannel(tree.vfs, wakes);
    for (const [nr, code] of fileCalls({ kernel: this, vfs: tree.vfs, waitChannel, pushed: () => undefined }))
      this.#calls[nr] = code;
    this.#channel = waitChannel;
  }

  readonly #channel: () => number;

  // --- CallKernel ---

  readonly cpu = (): number => this.#parts.row;
  charge(): void {}

  sleep(p: number, channel: number): void {
    const { refaults, tables } = this.#parts;
    const isDisk = isDiskWait(channel);
    this.#waits.sleepOn(p, channel);
    this.processes.waits[p]!++;
    this.#waitsSince[p] = isDisk ? this.now() : Infinity;
    tables.times.tasks.blocks(p, isDisk, isDisk && refaults.thrashes(p));
  }

  /** What the call of row p, which is here, waits for; undefined: it is being made. */
  waitsFor(p: number): number | undefined {
    return this.#waits.channel[p] === Wait.None ? undefined : this.#waits.channel[p];
  }

  /** The call of row p is made again, or given up. */
  #waited(p: number): void {
    this.#waits.leave(p);
    this.processes.diskNs[p]! += Math.max(0, this.now() - this.#waitsSince[p]!);
  }

  /** Calls that wait for this are made again. */
  wakeAll(channel: number): void {
    for (let p = this.#waits.oldest(channel); p !== 0; p = this.#waits.oldest(channel)) {
      this.#waited(p);
      this.#again.push(p);
    }
  }

  // --- the loop ---

  run(): void {
    const { smp, disk, rest, threads } = this.#parts;
    const port = this.#port;
    while (smp.stopReason === Stop.No) {
      const { heard } = port;
      port.beat();
      disk?.queue.plug();
      threads.takes(FILES);
      let moved = this.#serve();
      moved = this.#retry() || moved;
      moved = this.#background() || moved;
      threads.takes(FILES);
      disk?.queue.unplug();
      moved = this.#complete() || moved;
      this.#publish();
      if (port.life === Life.Sum) {
        this.figures = this.#parts.figures();
        port.move(Life.Sum, Life.Stop);
      }
      if (port.life === Life.Stop && this.#stops()) return;
      if (moved) continue;
      threads.takes("");
      const forNs = Math.min(this.#lookAt, disk?.nextAtNs() ?? Infinity) - this.now();
      if (!rest(heard, Math.min(forNs, LOOK_NS) / 1e6)) this.#audit();
    }
  }

  #serve(): boolean {
    let moved = false;
    for (let p = this.#port.take(); p !== 0; p = this.#port.take()) {
      moved = true;
      this.counts.calls++;
      this.#parts.refaults.calm(p);
      this.#make(p);
    }
    return moved;
  }

  /** What the disk has ended. */
  #complete(): boolean {
    const { disk, ext4, tables, row } = this.#parts;
    if (disk === undefined || ext4 === undefined) return false;
    disk.work();
    ext4.fs.io.poll();
    const ended = this.#wakeEnded();
    if (ended === 0) return false;
    this.counts.interrupts++;
    tables.trace(SysEv.IrqEntry, row, 0, 0, 0, 0);
    tables.trace(SysEv.IrqExit, row, 0, ended, 0, 0);
    this.#wantsJournal = true;
    if (this.#waits.oldest(Wait.Writeback) !== 0 || ext4.fs.cache.pressed()) this.#wantsFlusher = true;
    return true;
  }

  #wakeEnded(): number {
    const { disk, ext4 } = this.#parts;
    const { ends } = ext4!.fs.journal;
    if (ends !== this.#endsSeen) this.wakeAll(Wait.Commit);
    this.#endsSeen = ends;
    const ended = disk!.ended() - this.#endedSeen;
    if (ended === 0) return 0;
    this.#endedSeen += ended;
    for (const channel of [Wait.Data, Wait.Metadata, Wait.Writeback, Wait.FileSystem, Wait.Journal])
      this.wakeAll(channel);
    return ended;
  }

  #retry(): boolean {
    if (this.#againKilled() + this.#again.length === 0) return false;
    const again = this.#again.splice(0);
    this.counts.retries += again.length;
    for (const p of again) this.#make(p);
    return again.length > 0;
  }

  /** Calls of tasks that have been killed since are looked at again, to be given up. */
  #againKilled(): number {
    const { killed, phase } = this.processes;
    let found = 0;
    for (let p = 1; p < this.processes.rows; p++) {
      if (killed[p] === 0 || phase[p] !== Phase.Entered || this.#waits.channel[p] === Wait.None) continue;
      // One that cannot be given up at once waits as before.
      if (this.#givenUp.has(p)) continue;
      this.#waited(p);
      this.#again.push(p);
      found++;
    }
    return found;
  }

  readonly #givenUp = new Set<number>();

  /** One step of each: jbd2, the flusher, kswapd. */
  #background(): boolean {
    const { ext4, vmscan, row, threads, kswapdRests } = this.#parts;
    let moved = false;
    if (ext4 !== undefined) {
      if (this.now() >= this.#lookAt) this.#wantsJournal = this.#wantsFlusher = true;
      if (this.#wantsJournal) {
        threads.takes(JBD2);
        this.#wantsJournal = ext4.stepJournal();
        this.#wakeEnded();
        moved = this.#wantsJournal;
        if (moved) this.#wakeFor(Wait.Journal);
      }
      if (this.#wantsFlusher) {
        threads.takes(FLUSHER);
        this.#wantsFlusher = ext4.stepWriteback();
        if (this.#wantsFlusher) {
          moved = this.#wantsJournal = true;
          this.#wakeFor(Wait.Writeback);
        }
      }
      if (!moved) this.#lookAt = Math.min(this.now() + LOOK_NS, Math.max(ext4.nextAtNs(), this.now() + RECHECK_NS));
    } else this.#lookAt = this.now() + LOOK_NS;
    this.#parts.tables.memory?.mm.tick(row);
    if (vmscan === undefined || !vmscan.awake) return moved;
    threads.takes(KSWAPD);
    if (vmscan.step(row, SWAP_CLUSTER) > 0) this.#sleepers.wakeAll(Wait.Memory, WakeContext.Task);
    if (!vmscan.awake) kswapdRests();
    return moved || vmscan.awake;
  }

  #wakeFor(channel: number): void {
    this.wakeAll(channel);
    this.wakeAll(Wait.FileSystem);
  }

  #publish(): void {
    const cache = this.#parts.ext4?.fs.cache;
    if (cache === undefined) return;
    const cached = cache.cached();
    this.#port.publish(cached, Math.max(0, cached - cache.dirty() - cache.writeback()));
  }

  // --- one call ---

  #make(p: number): void {
    const { processes } = this;
    const { ext4, tree } = this.#parts;
    if (ext4 !== undefined) ext4.fs.io.task = p;
    this.#parts.refaults.caller(this.#parts.row, p);
    if (processes.phase[p] === Phase.Exiting) this.#exit(p);
    else if (processes.nr[p] === Nr.clone) this.#clone(p);
    else if (processes.killed[p] !== 0) {
      if (tree.vfs.cancel(processes.vfsTask[p]!) === EIOCBQUEUED) {
        this.#givenUp.add(p);
        this.sleep(p, this.#channel());
      } else {
        this.#givenUp.delete(p);
        this.#answer(p, EINTR);
      }
    } else {
      const code = this.#calls[processes.nr[p]!];
      const result = code === undefined ? ENOSYS : code(p);
      if (result !== EIOCBQUEUED) this.#answer(p, result);
    }
    if (ext4 !== undefined) ext4.fs.io.task = 0;
  }

  #answer(p: number, result: number): void {
    const { processes } = this;
    processes.phase[p] = Phase.Ready;
    processes.result[p] = result;
    processes.progress[p] = 0;
    this.#parts.tables.times.io.count(p, processes.nr[p]!, result);
    this.#parts.tables.trace(SysEv.Exit, this.#parts.row, p, processes.nr[p]!, result | 0, processes.waits[p]!);
    this.#sleepers.wake(p, WakeContext.Device);
  }

  #exit(p: number): void {
    const { processes } = this;
    if (this.#parts.tree.vfs.exit(processes.vfsTask[p]!) === EIOCBQUEUED) {
      this.sleep(p, this.#channel());
      return;
    }
    processes.vfsTask[p] = NO_VFS;
    this.#sleepers.wake(p, WakeContext.Device);
  }

  /** Descriptors of a child; or, when the child could not be made, what to do with them. */
  #clone(p: number): void {
    const { processes } = this;
    const { vfs } = this.#parts.tree;
    if (processes.progress[p] === 0) {
      const made = vfs.fork(processes.vfsTask[p]!, false);
      if (isErr(made)) {
        this.#answer(p, made);
        return;
      }
      this.#port.child[p] = made;
      processes.progress[p] = 1 + made;
      this.#sleepers.wake(p, WakeContext.Device);
    } else if (vfs.exit(this.#port.child[p]!) === EIOCBQUEUED) this.sleep(p, this.#channel());
    else this.#answer(p, processes.progress[p]!);
  }

  // --- checks and the end ---

  /** Nothing has come for a while: a call that could be made now has been forgotten. */
  #audit(): void {
    const { disk } = this.#parts;
    const { processes } = this;
    const busy = disk !== undefined && disk.inFlight() > 0;
    if (busy) return;
    for (let p = 1; p < processes.rows; p++) {
      const channel = this.#waits.channel[p]!;
      if (channel !== Wait.None) {
        this.#waited(p);
        this.#make(p);
        if (this.#waits.channel[p] === Wait.None) this.counts.lost++;
      } else if (this.#sleepers.waits.channel[p] === Wait.Storage && this.#isForgotten(p)) {
        this.counts.lost++;
        this.#sleepers.wake(p, WakeContext.Device);
      }
    }
  }

  /** It sleeps for its call, and has the answer. */
  #isForgotten(p: number): boolean {
    const { phase, nr, progress, vfsTask } = this.processes;
    if (!this.#sleepers.isAsleep(p)) return false;
    if (phase[p] === Phase.Ready) return true;
    return phase[p] === Phase.Exiting ? vfsTask[p] === NO_VFS : nr[p] === Nr.clone && progress[p]! > 0;
  }

  /** The machine is to stop: true when all is done. */
  #stops(): boolean {
    const { processes } = this;
    if (!this.#killed) {
      this.#killed = true;
      this.#stopBy = this.now() + STOP_NS_MAX;
      const { tables, row } = this.#parts;
      for (let p = 1; p < processes.rows; p++)
        if (processes.kind[p] === Kind.User) killTask({ ...tables, cpu: row }, p, SIGTERM);
    }
    assert(this.now() < this.#stopBy, "stop: tasks do not end");
    if (this.#port.live > 0) return false;
    this.unmounted = this.#unmount();
    this.#publish();
    this.#port.move(Life.Stop, Life.Over);
    this.#parts.smp.stop(Stop.Time);
    return true;
  }

  #unmount(): number {
    const { tree, ext4, idle } = this.#parts;
    return unmountTree(tree, ext4, () => {
      this.#port.beat();
      if (ext4?.step() !== true) idle();
    });
  }
}

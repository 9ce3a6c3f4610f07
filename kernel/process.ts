/**
 * Task records beside the scheduler's: what a task is to the rest of the kernel (Linux: task_struct, mm_struct). Same
 * rows as the scheduler's table; kernel tasks have one, too.
 *
 *   row p | pid, parent, kind, program, vfs task | phase, number and arguments of its call, result | wait | memory | counts
 *
 * A user task is in one of these phases:
 *
 *   Ready     its program says what it does next
 *   Entered   it has paid for the way into the kernel; its call is made (again, when it had to wait) as it runs next
 *   Exiting   it closes what it has open and gives its memory back; then the row is free and a Zombie record remains
 *             until its parent waits for it
 *
 * Rows that are free and zombies together are never fewer than `rows`: a fork looks for that (room).
 *
 * Anonymous memory is frames in a list of the task's: head[p], next[frame], prev[frame]; they have no content yet, being
 * memory demand alone. A program's window (program.ts) is a block of its own.
 */
import { Areas, State } from "./areas.ts";
import { EAGAIN, ENOMEM, isErr } from "./abi/errno.ts";
import type { ObjectCache } from "./abi/object_cache.ts";
import { USER_BYTES, USER_WORDS } from "./abi/program.ts";
import type { UserProgram } from "./abi/program.ts";
import type { Errno, Pfn } from "./abi/units.ts";
import { PAGE_SIZE } from "./abi/units.ts";
import type { Arena } from "./lib/arena.ts";
import { assert } from "./lib/assert.ts";
import { noLocks } from "./lib/lock_ops.ts";
import type { LockOps } from "./lib/lock_ops.ts";
import { nextBelow, PRNG_WORDS, seedPrng } from "./lib/prng.ts";
import { TaskNames } from "./task_names.ts";
import { giveObjects, LASTING, TASK_OBJECTS, takeObjects } from "./task_objects.ts";

export const Kind = { Free: 0, User: 1, Kernel: 2 } as const;
export const Phase = { Ready: 0, Entered: 1, Exiting: 2 } as const;
/** Arguments of a system call. */
export const ARGS = 6;
/** No task of the VFS. */
export const NO_VFS = -1;
const WINDOW_ORDER = Math.log2(USER_BYTES / PAGE_SIZE);

/** Words of a zombie: pid, parent, status, and the objects that its task left. */
const ZOMBIE = 3 + TASK_OBJECTS;
const NO_CACHES: readonly ObjectCache[] = [];

/** Where windows and anonymous frames come from: the page allocator, or (memory is off) nothing but windows. */
export interface TaskMemory {
  /** Slab caches that a task has an object of each of (task_objects.ts); missing: none. */
  readonly caches?: readonly ObjectCache[];
  /** The block of a window: its first frame, or ENOMEM. */
  window(p: number, order: number): number | Errno;
  freeWindow(frame: number, order: number): void;
  bytes(frame: number, bytes: number): Uint8Array;
  frame(p: number): Pfn | Errno;
  freeFrame(frame: Pfn): void;
  /** One more than the largest frame. */
  readonly frames: number;
}

export class Processes {
  readonly rows: number;
  readonly kind: Uint8Array;
  readonly phase: Uint8Array;
  readonly pid: Int32Array;
  /** Pid of the parent; 0: the machine's own. */
  readonly parent: Int32Array;
  readonly program: Int32Array;
  readonly vfsTask: Int32Array;
  readonly nr: Int32Array;
  /** [row * ARGS + n] */
  readonly args: Float64Array;
  readonly result: Float64Array;
  /** What a long call has done so far; 0 between calls. */
  readonly progress: Float64Array;
  /** Of a nanosleep: when it ends, ns. */
  readonly wakeAt: Float64Array;
  /** Signal that ends it; 0: none. Negative: it was ending by itself when it came. */
  readonly killed: Int32Array;
  readonly exitCode: Int32Array;
  /** -1000 .. 1000. */
  readonly oomAdj: Int32Array;
  /** Bytes of its heap, all of whose pages have frames; its mappings; frames that it has. */
  readonly brkBytes: Float64Array;
  readonly areas: Areas;
  readonly rss: Int32Array;
  /** Calls made, times a call had to wait, ns slept for a disk, when it last began to. */
  readonly calls: Float64Array;
  readonly waits: Float64Array;
  readonly diskNs: Float64Array;
  readonly sleptAt: Float64Array;
  readonly startedAt: Float64Array;
  readonly programs: UserProgram[] = [];
  /** A row's name is set when it is taken. */
  readonly names: TaskNames;
  /** A view of each row's words and chance: a step of a program asks for them. */
  readonly #words: readonly Float64Array[];
  readonly #chance: readonly Int32Array[];
  readonly #window: Int32Array;
  readonly #head: Int32Array;
  readonly #next: Int32Array;
  readonly #prev: Int32Array;
  readonly #pids: Int32Array;
  readonly #memory: TaskMemory;
  readonly #caches: readonly ObjectCache[];
  /** By row. */
  readonly #objects: readonly Int32Array[];
  readonly #seed: number;
  /** Futex by row, of its list of frames: the task's own CPU, the OOM killer and compaction may change it. */
  readonly #frameLocks: Int32Array;
  readonly #locks: LockOps;
  /** By window. */
  readonly #views: (Uint8Array | undefined)[] = [];
  /** Those that nobody has waited for: ZOMBIE words each; [0] how many. */
  readonly #zombies: Int32Array;

  constructor(
    arena: Arena,
    rows: number,
    memory: TaskMemory,
    seed: number,
    locks: LockOps = noLocks,
    names = new TaskNames(arena, rows),
  ) {
    this.rows = rows;
    this.names = names;
    this.#memory = memory;
    this.#caches = memory.caches ?? NO_CACHES;
    this.#seed = seed;
    this.#locks = locks;
    this.#frameLocks = arena.i32(rows);
    this.kind = arena.u8(rows);
    this.phase = arena.u8(rows);
    this.pid = arena.i32(rows);
    this.parent = arena.i32(rows);
    this.program = arena.i32(rows);
    this.vfsTask = arena.i32(rows).fill(NO_VFS);
    this.nr = arena.i32(rows);
    this.args = arena.f64(rows * ARGS);
    this.result = arena.f64(rows);
    this.progress = arena.f64(rows);
    this.wakeAt = arena.f64(rows);
    this.killed = arena.i32(rows);
    this.exitCode = arena.i32(rows);
    this.oomAdj = arena.i32(rows);
    this.brkBytes = arena.f64(rows);
    this.areas = new Areas(arena, rows);
    this.rss = arena.i32(rows);
    this.calls = arena.f64(rows);
    this.waits = arena.f64(rows);
    this.diskNs = arena.f64(rows);
    this.sleptAt = arena.f64(rows);
    this.startedAt = arena.f64(rows);
    const words = arena.f64(rows * USER_WORDS);
    const chance = arena.i32(rows * PRNG_WORDS);
    this.#words = Array.from({ length: rows }, (_, p) => words.subarray(p * USER_WORDS, (p + 1) * USER_WORDS));
    this.#chance = Array.from({ length: rows }, (_, p) => chance.subarray(p * PRNG_WORDS, (p + 1) * PRNG_WORDS));
    const objects = arena.i32(rows * TASK_OBJECTS);
    this.#objects = Array.from({ length: rows }, (_, p) => objects.subarray(p * TASK_OBJECTS, (p + 1) * TASK_OBJECTS));
    this.#window = arena.i32(rows).fill(-1);
    this.#head = arena.i32(rows).fill(-1);
    this.#next = arena.i32(memory.frames);
    this.#prev = arena.i32(memory.frames);
    this.#pids = arena.i32(1);
    this.#zombies = arena.i32(1 + ZOMBIE * rows);
  }

  static bytes(rows: number, frames: number): number {
    const columns = rows * (8 * (ARGS + USER_WORDS + 9) + 4 * (17 + 2 * TASK_OBJECTS + PRNG_WORDS) + 2);
    return columns + TaskNames.bytes(rows) + Areas.bytes(rows) + frames * 8 + 64 * 35;
  }

  /** Pids given so far. */
  get lastPid(): number {
    return this.#pids[0]!;
  }

  words(p: number): Float64Array {
    return this.#words[p]!;
  }

  /** The window of a user task. */
  memory(p: number): Uint8Array {
    return this.#bytes(this.#window[p]!);
  }

  #bytes(window: number): Uint8Array {
    return (this.#views[window] ??= this.#memory.bytes(window, USER_BYTES));
  }

  below(p: number, bound: number): number {
    return nextBelow(this.#chance[p]!, bound);
  }

  /** Row p, which the scheduler gave, becomes a kernel task. */
  takeKernel(p: number, name: string, now: number): void {
    this.#take(p, Kind.Kernel, name, 0, now);
    const taken = takeObjects(this.#caches, this.#objects[p]!, LASTING);
    assert(taken === 0, "Processes: no memory for a kernel task");
  }

  /** The machine is down: what kernel tasks have of the slab caches goes back. */
  leaveKernel(): void {
    for (let p = 1; p < this.rows; p++)
      if (this.kind[p] === Kind.Kernel) giveObjects(this.#caches, this.#objects[p]!, LASTING);
  }

  /** A window for a task to come; ENOMEM. The task's objects are made with it, and their row lies in it until then. */
  makeWindow(): number | Errno {
    const window = this.#memory.window(0, WINDOW_ORDER);
    if (isErr(window)) return ENOMEM;
    if (takeObjects(this.#caches, this.#rowIn(window), 0) === 0) return window;
    this.#memory.freeWindow(window, WINDOW_ORDER);
    return ENOMEM;
  }

  /** A window of makeWindow() that no task got. */
  dropWindow(window: number): void {
    giveObjects(this.#caches, this.#rowIn(window), 0);
    this.#memory.freeWindow(window, WINDOW_ORDER);
  }

  #rowIn(window: number): Int32Array {
    const { buffer, byteOffset } = this.#bytes(window);
    return new Int32Array(buffer, byteOffset, this.#caches.length);
  }

  /** Row p becomes a user task with a window of makeWindow(). */
  takeUser(p: number, name: string, program: UserProgram, parent: number, window: number, now: number): void {
    this.#take(p, Kind.User, name, parent, now);
    this.#window[p] = window;
    this.#objects[p]!.set(this.#rowIn(window));
    this.memory(p).fill(0);
    let index = this.programs.indexOf(program);
    if (index < 0) index = this.programs.push(program) - 1;
    this.program[p] = index;
  }

  #take(p: number, kind: number, name: string, parent: number, now: number): void {
    assert(this.kind[p] === Kind.Free, "Processes: the row is in use");
    this.kind[p] = kind;
    this.phase[p] = Phase.Ready;
    this.pid[p] = ++this.#pids[0]!;
    this.parent[p] = parent;
    this.names.set(p, name);
    this.vfsTask[p] = NO_VFS;
    this.startedAt[p] = now;
    for (const column of [this.nr, this.killed, this.exitCode, this.oomAdj, this.rss]) column[p] = 0;
    for (const column of [this.result, this.progress, this.brkBytes]) column[p] = 0;
    this.areas.clear(p);
    for (const column of [this.calls, this.waits, this.diskNs, this.wakeAt]) column[p] = 0;
    this.words(p).fill(0);
    seedPrng(this.#chance[p]!, this.#seed * 65_599 + this.pid[p]);
  }

  /** What clone(2) copies: the program's words and window. */
  copy(from: number, to: number): void {
    this.words(to).set(this.words(from));
    this.memory(to).set(this.memory(from));
    this.oomAdj[to] = this.oomAdj[from]!;
  }

  argument(p: number, n: number): number {
    return this.args[p * ARGS + n]!;
  }

  /** One more anonymous frame; EAGAIN never: ENOMEM when the allocator has none. */
  grow(p: number): 0 | Errno {
    const frame = this.#memory.frame(p);
    if (isErr(frame)) return frame;
    this.#locks.lock(this.#frameLocks, p);
    const head = this.#head[p]!;
    this.#next[frame] = head;
    this.#prev[frame] = -1;
    if (head >= 0) this.#prev[head] = frame;
    this.#head[p] = frame;
    this.rss[p]!++;
    this.#locks.unlock(this.#frameLocks, p);
    return 0;
  }

  /** Gives up to `pages` frames back; returns how many. */
  shrink(p: number, pages: number): number {
    let given = 0;
    this.#locks.lock(this.#frameLocks, p);
    for (let frame = this.#head[p]!; frame >= 0 && given < pages; given++) {
      const next = this.#next[frame]!;
      this.#memory.freeFrame(frame as Pfn);
      frame = next;
      this.#head[p] = frame;
      if (frame >= 0) this.#prev[frame] = -1;
    }
    this.rss[p]! -= given;
    this.#locks.unlock(this.#frameLocks, p);
    return given;
  }

  /** Pages of the heap. */
  brkPages(p: number): number {
    return Math.ceil(this.brkBytes[p]! / PAGE_SIZE);
  }

  /** Pages of its address space that it may use. */
  virtualPages(p: number): number {
    return this.brkPages(p) + this.areas.total(p, State.Mapped) + this.areas.total(p, State.Resident);
  }

  /**
   * Compaction moves an anonymous frame of p's; `carry` is called while p can neither use nor free it. False: it is not on
   * p's list. `isIts` is asked after that was looked at: the words of a frame's place in a list outlive its being there.
   */
  move(p: number, from: number, to: number, isIts: () => boolean, carry: () => void): boolean {
    this.#locks.lock(this.#frameLocks, p);
    const moves = this.#holds(p, from) && isIts();
    if (moves) {
      carry();
      this.#relink(p, from, to);
    }
    this.#locks.unlock(this.#frameLocks, p);
    return moves;
  }

  #holds(p: number, frame: number): boolean {
    const prev = this.#prev[frame]!;
    return prev < 0 ? this.#head[p] === frame : this.#next[prev] === frame;
  }

  #relink(p: number, from: number, to: number): void {
    const [next, prev] = [this.#next[from]!, this.#prev[from]!];
    this.#next[to] = next;
    this.#prev[to] = prev;
    if (next >= 0) this.#prev[next] = to;
    if (prev >= 0) this.#next[prev] = to;
    else this.#head[p] = to;
  }

  /** The row is free; a zombie stays until its parent has waited for it, or (parent 0) the reaper has. */
  leave(p: number): void {
    this.shrink(p, Infinity);
    assert(this.#zombies[0]! < this.rows, "Processes: more zombies than rows");
    if (this.#window[p]! >= 0) this.#memory.freeWindow(this.#window[p]!, WINDOW_ORDER);
    this.#window[p] = -1;
    const objects = this.#objects[p]!;
    giveObjects(this.#caches, objects, 0, Math.min(LASTING, this.#caches.length));
    this.kind[p] = Kind.Free;
    if (this.rowOf(this.parent[p]!) === 0) this.parent[p] = 0;
    const at = 1 + ZOMBIE * this.#zombies[0]!++;
    const killed = this.killed[p]!;
    this.#zombies[at] = this.pid[p]!;
    this.#zombies[at + 1] = this.parent[p]!;
    this.#zombies[at + 2] = killed > 0 ? killed : (this.exitCode[p]! & 0xff) << 8;
    this.#zombies.set(objects, at + 3);
    objects.fill(0);
  }

  /** Children of a task that is gone are the machine's own. */
  orphan(pid: number): void {
    for (let p = 1; p < this.rows; p++) if (this.kind[p] !== Kind.Free && this.parent[p] === pid) this.parent[p] = 0;
    for (let n = 0; n < this.#zombies[0]!; n++)
      if (this.#zombies[2 + ZOMBIE * n] === pid) this.#zombies[2 + ZOMBIE * n] = 0;
  }

  /** A live row by pid; 0: none. */
  rowOf(pid: number): number {
    if (pid <= 0) return 0;
    for (let p = 1; p < this.rows; p++) if (this.kind[p] !== Kind.Free && this.pid[p] === pid) return p;
    return 0;
  }

  /** There is a place for one more task, alive and dead. */
  get room(): boolean {
    let used = this.#zombies[0]! + 1;
    for (let p = 1; p < this.rows; p++) if (this.kind[p] !== Kind.Free) used++;
    return used < this.rows;
  }

  get zombies(): number {
    return this.#zombies[0]!;
  }

  /** A dead task has no parent to wait for it. */
  get orphaned(): boolean {
    for (let n = 0; n < this.#zombies[0]!; n++) if (this.#zombies[2 + ZOMBIE * n] === 0) return true;
    return false;
  }

  /** A dead child of `parent` (`pid` -1 is any): its pid and status, and it is gone. EAGAIN: none has ended; 0: there is none. */
  reap(parent: number, pid: number): { readonly pid: number; readonly status: number } | Errno | 0 {
    for (let n = 0; n < this.#zombies[0]!; n++) {
      const at = 1 + ZOMBIE * n;
      if (this.#zombies[at + 1] !== parent || (pid !== -1 && this.#zombies[at] !== pid)) continue;
      const found = { pid: this.#zombies[at]!, status: this.#zombies[at + 2]! };
      this.#bury(n);
      return found;
    }
    for (let p = 1; p < this.rows; p++)
      if (this.kind[p] === Kind.User && this.parent[p] === parent && (pid === -1 || this.pid[p] === pid)) return EAGAIN;
    return 0;
  }

  /** reap() would find one. */
  hasDead(parent: number, pid: number): boolean {
    for (let n = 0; n < this.#zombies[0]!; n++)
      if (this.#zombies[2 + ZOMBIE * n] === parent && (pid === -1 || this.#zombies[1 + ZOMBIE * n] === pid))
        return true;
    return false;
  }

  #bury(n: number): void {
    const at = 1 + ZOMBIE * n;
    giveObjects(this.#caches, this.#zombies.subarray(at + 3, at + ZOMBIE), LASTING);
    const last = 1 + ZOMBIE * --this.#zombies[0]!;
    this.#zombies.copyWithin(at, last, last + ZOMBIE);
  }

  /** Panics when a task's frames and its counts disagree. */
  check(): void {
    for (let p = 1; p < this.rows; p++) {
      let frames = 0;
      for (let frame = this.#head[p]!; frame >= 0; frame = this.#next[frame]!) {
        assert(frames++ < this.rss[p]!, "Processes.check: more frames than counted");
        const prev = this.#prev[frame]!;
        assert(prev < 0 ? this.#head[p] === frame : this.#next[prev] === frame, "Processes.check: a broken list");
      }
      this.areas.check(p);
      const isWhole = this.kind[p] === Kind.User && this.killed[p] === 0 && this.progress[p] === 0;
      const pages = isWhole ? this.brkPages(p) + this.areas.total(p, State.Resident) : frames;
      assert(frames === pages, "Processes.check: frames that are no page of the task's, or the other way round");
      assert(this.kind[p] === Kind.Free || frames === this.rss[p], "Processes.check: fewer frames than counted");
    }
  }
}

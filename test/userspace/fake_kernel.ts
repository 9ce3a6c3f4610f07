/**
 * As little of a kernel as lets a workload run: the system calls on files over the VFS and tmpfs, memory as a number,
 * tasks that take turns a step each, and time that goes on with each of them. Calls fail now and then when they are told to.
 *
 *   const world = new FakeKernel({ starts, seed, failPerMille: 0, filePages: 8192 });
 *   world.step();                      of one task; false: there is none left
 *   world.console                      what was written to /dev/kmsg
 */
import { EAGAIN, ECHILD, EIO, EIOCBQUEUED, ENOMEM, ENOSPC } from "../../kernel/abi/errno.ts";
import { O_RDONLY } from "../../kernel/abi/fcntl.ts";
import { USER_BYTES, USER_WORDS } from "../../kernel/abi/program.ts";
import type { UserProgram, UserStart, UserTask } from "../../kernel/abi/program.ts";
import { Nr, syscallName } from "../../kernel/abi/syscall_nr.ts";
import type { Nanos } from "../../kernel/abi/units.ts";
import { PipeFs } from "../../kernel/fs/pipe.ts";
import { PseudoFs } from "../../kernel/fs/pseudo/pseudo_fs.ts";
import { Tmpfs } from "../../kernel/fs/tmpfs/tmpfs.ts";
import { Vfs } from "../../kernel/fs/vfs/vfs.ts";
import { growingArena } from "../../kernel/lib/growing_arena.ts";
import { nextBelow, prng } from "../../kernel/lib/prng.ts";
import type { Processes } from "../../kernel/process.ts";
import { fileCalls } from "../../kernel/syscall/file.ts";
import { TEXT_AT } from "../../userspace/index.ts";

export interface FakeOptions {
  readonly starts: readonly UserStart[];
  readonly seed: number;
  readonly failPerMille: number;
  readonly filePages: number;
}

/** What a step does next: its call with arguments, its run, or nothing. */
export type Action = readonly number[];
const RUN = -1;
const MMAP_BASE = 2 ** 38;
const FAULTS = [EIO, ENOSPC, ENOMEM];
/** Calls that never fail here: nobody looks at their answers, and a task must be able to go. */
const SURE = new Set<number>([Nr.close, Nr.exit, Nr.exit_group, Nr.nanosleep, Nr.wait4, Nr.munmap]);

/** A task that only takes down what its program does. */
export class FakeTask implements UserTask {
  readonly words = new Float64Array(USER_WORDS);
  readonly memory = new Uint8Array(USER_BYTES);
  result = 0;
  action: Action = [];
  chance: Int32Array;
  readonly pid: number;
  readonly parent: number;
  readonly program: UserProgram;
  vfsTask = 0;
  startNs = 0;

  constructor(pid: number, parent: number, program: UserProgram) {
    this.pid = pid;
    this.parent = parent;
    this.program = program;
    this.chance = prng(pid);
  }
  below(bound: number): number {
    return nextBelow(this.chance, bound);
  }
  run(ns: number): void {
    this.action = [RUN, ns];
  }
  call(...numbers: number[]): void {
    this.action = numbers;
  }
  /** What its program does next. */
  next(): Action {
    this.action = [];
    this.program.step(this);
    return this.action;
  }
  copy(pid: number, parent: number): FakeTask {
    const copy = new FakeTask(pid, parent, this.program);
    copy.words.set(this.words);
    copy.memory.set(this.memory);
    copy.result = this.result;
    return copy;
  }
}

export class FakeKernel {
  readonly vfs: Vfs;
  readonly root: number;
  readonly tasks: FakeTask[] = [];
  readonly counts = new Map<string, number>();
  console = "";
  now = 0;
  readonly #options: FakeOptions;
  readonly #chance: Int32Array;
  readonly #codes: ReadonlyMap<number, (p: number) => number>;
  readonly #zombies: { readonly pid: number; readonly parent: number; readonly status: number }[] = [];
  #pids = 1;
  #turn = 0;
  #mapped = 0;
  #current: FakeTask | undefined;

  constructor(options: FakeOptions) {
    this.#options = options;
    this.#chance = prng(options.seed);
    const memory = growingArena();
    const now = (): Nanos => this.now as Nanos;
    this.vfs = new Vfs({ memory, now, tasks: 64, files: 512, fds: 32, dentries: 64 });
    this.vfs.reset();
    const fs = new Tmpfs({ memory, pages: options.filePages, inodes: 4096, now });
    fs.reset();
    this.vfs.mountRoot(this.vfs.attachFs(fs));
    this.root = this.vfs.newTask({ uid: 0, gid: 0 });
    const kmsg = { path: "kmsg", text: () => "", write: (text: string) => ((this.console += text), text.length) };
    this.vfs.mkdir(this.root, "/dev", 0o755);
    this.vfs.mount(this.root, this.vfs.attachFs(new PseudoFs("devtmpfs", [kmsg], 0)), "/dev");
    const pipes = new PipeFs(memory, 8, () => {});
    pipes.reset();
    this.vfs.mountPipes(this.vfs.attachFs(pipes), pipes);
    // Of the tables of tasks, what the calls on files look at; p is always the task whose turn it is.
    const self = (): FakeTask => this.#current!;
    const processes = {
      argument: (_: number, n: number) => self().action[1 + n] ?? 0,
      memory: () => self().memory,
      vfsTask: {
        get 0() {
          return self().vfsTask;
        },
      },
    } as unknown as Processes;
    const kernel = { processes, now, cpu: () => 0, charge: () => {}, sleep: () => {}, wakeAll: () => {} };
    this.#codes = new Map(fileCalls({ kernel, vfs: this.vfs, waitChannel: () => 0, pushed: () => this.vfs.step() }));
    for (const { program, args = [], startNs = 0 } of options.starts) {
      const task = new FakeTask(this.#pids++, 0, program);
      task.words.set(args);
      task.vfsTask = this.vfs.fork(this.root, false);
      task.startNs = startNs;
      this.tasks.push(task);
    }
  }

  /** The task whose turn it is. */
  peek(): FakeTask | undefined {
    return this.tasks[this.#turn % this.tasks.length];
  }

  step(): boolean {
    const task = this.peek();
    if (task === undefined) return false;
    this.#turn++;
    this.now += 1000;
    if (this.now < task.startNs) return true;
    // A call that waits is asked again.
    if (task.result !== EIOCBQUEUED) task.next();
    const [nr] = task.action;
    const isLast = nr === undefined || nr === Nr.exit || nr === Nr.exit_group;
    if (isLast) this.#exit(task, task.action[1] ?? 0);
    else task.result = nr === RUN ? 0 : this.#answer(task, nr);
    return true;
  }

  #answer(task: FakeTask, nr: number): number {
    this.#count(syscallName(nr));
    const { failPerMille } = this.#options;
    // A promise has to be taken back before it is broken, so the console never fails.
    const isSure = SURE.has(nr) || (nr === Nr.write && task.action[2] === TEXT_AT);
    if (task.result !== EIOCBQUEUED && !isSure && nextBelow(this.#chance, 1000) < failPerMille) {
      this.#count("fault");
      return FAULTS[nextBelow(this.#chance, FAULTS.length)]!;
    }
    this.#current = task;
    const code = this.#codes.get(nr);
    if (code !== undefined) return code(0);
    if (nr === Nr.nanosleep || nr === Nr.munmap) return 0;
    if (nr === Nr.mmap) return MMAP_BASE + 2 ** 20 * this.#mapped++;
    if (nr === Nr.clone) return this.#fork(task);
    if (nr === Nr.wait4) return this.#wait(task);
    throw new Error(`FakeKernel: nobody answers ${syscallName(nr)}`);
  }

  #count(name: string): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
  }

  #fork(task: FakeTask): number {
    const vfsTask = this.vfs.fork(task.vfsTask, false);
    if (vfsTask < 0) return EAGAIN;
    const child = task.copy(this.#pids++, task.pid);
    child.result = 0;
    child.vfsTask = vfsTask;
    this.tasks.push(child);
    return child.pid;
  }

  #wait(task: FakeTask): number {
    const at = this.#zombies.findIndex(({ parent }) => parent === task.pid);
    if (at < 0) return this.tasks.some(({ parent }) => parent === task.pid) ? EIOCBQUEUED : ECHILD;
    const { pid, status } = this.#zombies.splice(at, 1)[0]!;
    new DataView(task.memory.buffer).setInt32(task.action[2]!, status, true);
    return pid;
  }

  #exit(task: FakeTask, code: number): void {
    this.vfs.exit(task.vfsTask);
    this.tasks.splice(this.tasks.indexOf(task), 1);
    if (this.tasks.some(({ pid }) => pid === task.parent))
      this.#zombies.push({ pid: task.pid, parent: task.parent, status: code * 256 });
  }

  /** All of a file; undefined: it is not there. */
  file(path: string): Uint8Array | undefined {
    const fd = this.vfs.open(this.root, path, O_RDONLY, 0);
    if (fd < 0) return undefined;
    const parts: Buffer[] = [];
    const part = new Uint8Array(2 ** 20);
    for (let got = 1; got > 0;) {
      got = this.vfs.read(this.root, fd, part);
      if (got > 0) parts.push(Buffer.from(part.subarray(0, got)));
    }
    this.vfs.close(this.root, fd);
    return Buffer.concat(parts);
  }
}

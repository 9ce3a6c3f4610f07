/**
 * The lockstep world of a booted machine: user and kernel tasks on all CPUs in one thread, in the order of virtual time,
 * with the disk's interrupts between them. A pure function of its configuration, its disk and its seed. The event loop
 * is that of scheduler experiments (lockstep_loop.ts); what tasks do is execute.ts.
 *
 * - spawn(start)          a task of a workload, at its time
 * - addThread(thread)     a kernel task
 * - run(untilNs, steps)   as the loop's
 * - stop()                orderly shutdown: tasks end, files are closed, file systems unmounted. 0, or an errno
 */
import { EAGAIN, EINVAL, EIO, isErr } from "./abi/errno.ts";
import { SysEv, TaskLeft } from "./abi/events.ts";
import type { EventSink } from "./abi/machine.ts";
import type { UserStart } from "./abi/program.ts";
import type { TaskStalls } from "./abi/reclaim.ts";
import type { PolicyFactory } from "./abi/sched.ts";
import type { Errno } from "./abi/units.ts";
import { assert } from "./lib/assert.ts";
import { Arena } from "./lib/arena.ts";
import { noLocks } from "./lib/lock_ops.ts";
import { plainWords } from "./lib/word_ops.ts";
import { CALL_COSTS } from "./call_cost.ts";
import { Executor } from "./execute.ts";
import { fileChannel } from "./file_wait.ts";
import type { Ext4 } from "./fs/ext4/ext4.ts";
import type { PolicyTunableFile } from "./fs/pseudo/sys_nodes.ts";
import { FLUSHER, JBD2, REAPER } from "./kthread.ts";
import type { KernelThread } from "./kthread.ts";
import { lockstepLoop } from "./lockstep_loop.ts";
import type { LockstepLoop } from "./lockstep_loop.ts";
import type { VirtualMachine } from "./machine.ts";
import { Kind, NO_VFS, Processes } from "./process.ts";
import type { TaskMemory } from "./process.ts";
import { fileCalls } from "./syscall/file.ts";
import { memoryCalls } from "./syscall/memory.ts";
import { taskCalls } from "./syscall/task.ts";
import { Wait, WaitQueues } from "./wait.ts";
import type { Disk } from "./wire_disk.ts";
import type { Slabs } from "./wire_slabs.ts";
import { unmountTree } from "./wire_files.ts";
import type { Tree } from "./wire_files.ts";
import { checkSched, createSched, SchedMetrics } from "../sched/index.ts";
import type { Costs, Sched } from "../sched/index.ts";

export interface NamedPolicy {
  readonly name: string;
  readonly factory: PolicyFactory;
}

export interface SystemConfig {
  readonly machine: VirtualMachine;
  /** The machine's events and whoever looks at them. */
  readonly trace: EventSink;
  readonly seed: number;
  readonly cpus: number;
  /** Rows of the task table: tasks alive and dead, kernel tasks, idle row 0. */
  readonly rows: number;
  /** First the one that rules, then cfs, the fallback, then whatever else can be chosen. */
  readonly policies: readonly NamedPolicy[];
  readonly costs: Costs;
  readonly tickNs: number;
  readonly tickPhaseNs: number;
  readonly exactSlices: boolean;
  readonly metrics: boolean;
  /** More bytes that observers ask of the arena. */
  readonly extraBytes: number;
  readonly taskMemory: TaskMemory;
  readonly psi: TaskStalls | undefined;
}

const KIB = 1024;
/** The signal by which a shutdown ends tasks. */
const SIGTERM = 15;
/** CPU that takes the disk's interrupts: the vector's first, as Linux spreads one queue. */
const IRQ_CPU = 0;
/** Virtual time that tasks have to end in. */
const STOP_NS_MAX = 120e9;
const STOP_SLICE_NS = 10_000_000;

export class System {
  readonly sched: Sched;
  readonly metrics: SchedMetrics | undefined;
  readonly processes: Processes;
  readonly waits: WaitQueues;
  readonly executor: Executor;
  readonly arena: Arena;
  readonly run: LockstepLoop["run"];
  readonly steps: () => number;
  /** What the machine has beside CPUs and tasks: set by the boot steps that bring them. */
  tree: Tree | undefined;
  ext4: Ext4 | undefined;
  disk: Disk | undefined;
  slabs: Slabs | undefined;
  /** Time in the disk's interrupt, ns, and how many there were. */
  irqNs = 0;
  irqs = 0;
  readonly #config: SystemConfig;
  readonly #loop: LockstepLoop;
  #threads: Readonly<Record<string, number>> = {};
  #spawned = 0;
  #endedSeen = 0;
  #endsSeen = 0;

  constructor(config: SystemConfig) {
    const { machine, cpus, rows, policies, tickNs, costs, taskMemory } = config;
    const { time } = machine;
    this.#config = config;
    const arena = (this.arena = new Arena(new SharedArrayBuffer(systemBytes(config))));
    this.metrics = config.metrics ? new SchedMetrics(arena, cpus, rows) : undefined;
    const pending = arena.u8(cpus + 1);
    const [policy, fallback, ...others] = policies.map(({ factory }) => factory);
    this.sched = createSched(
      arena,
      { cpus, tasksMax: rows, tickNs, policy: policy!, fallback: fallback!, others },
      {
        now: machine.now,
        trace: config.trace,
        locks: noLocks,
        words: plainWords,
        wakePath: () => {
          time[0]! += costs.select;
        },
        resched: (cpu) => {
          pending[cpu] = pending[cpus] = 1;
        },
      },
      this.metrics,
    );
    const { sched } = this;
    this.waits = new WaitQueues(arena, rows);
    this.processes = new Processes(arena, rows, taskMemory, config.seed);
    this.executor = new Executor({
      arena,
      cpus,
      processes: this.processes,
      waits: this.waits,
      time,
      trace: config.trace,
      sumExec: sched.task.sumExec,
      cpuOf: sched.task.cpu,
      exitFiles: (task) => this.tree!.vfs.exit(task),
      cancelCall: (task) => this.tree!.vfs.cancel(task),
      fileChannel: () => this.#fileChannel(),
      plug: (p) => this.#plug(p),
      unplug: () => this.disk?.queue.unplug(),
      psi: config.psi,
    });
    this.executor.answer(
      taskCalls({
        kernel: this.executor,
        fork: (p) => this.#fork(p),
        yieldCpu: () => this.executor.yieldCpu(),
        setNice: (p, nice) => sched.setNice(p, nice),
      }),
    );
    this.#loop = lockstepLoop({
      arena,
      time,
      sched,
      programs: this.executor,
      device: { cpu: IRQ_CPU, nextAtNs: () => this.disk?.nextAtNs() ?? Infinity, interrupt: () => this.#interrupt() },
      costs,
      cpus,
      workloadTasks: rows,
      rows,
      tickNs,
      tickPhaseNs: config.tickPhaseNs,
      exactSlices: config.exactSlices,
      below: machine.below,
      pending,
    });
    this.executor.wakeRow = this.#loop.wake;
    this.run = this.#loop.run;
    this.steps = this.#loop.steps;
    for (let cpu = 0; cpu < cpus; cpu++) sched.schedule(cpu, TaskLeft.Runnable);
  }

  /** Calls on files; the VFS's tasks are the machine's from now on. */
  attachTree(tree: Tree): void {
    this.tree = tree;
    const waitChannel = (): number => this.#fileChannel();
    this.executor.answer(fileCalls({ kernel: this.executor, vfs: tree.vfs, waitChannel, pushed: () => undefined }));
  }

  attachMemory(pagesMax: number): void {
    this.executor.answer(memoryCalls({ kernel: this.executor, pagesMax }));
  }

  addThread(thread: KernelThread): number {
    const { executor, processes, sched } = this;
    const p = sched.addTask(0, this.#spawned++ % this.#config.cpus);
    assert(p !== 0, "System: no row for a kernel task");
    processes.takeKernel(p, thread.name, 0);
    this.#config.machine.log?.names.set(p, thread.name);
    executor.fresh(p);
    executor.runThread(p, thread);
    if (thread.name === REAPER) executor.reaper = p;
    this.#threads = { ...this.#threads, [thread.name]: p };
    this.#loop.startAt(p, this.#config.machine.time[0]!);
    return p;
  }

  /** Names of the policies that can rule, each once. */
  policyNames(): readonly string[] {
    return [...new Set(this.#config.policies.map(({ name }) => name))].sort();
  }

  /** Name of the one that rules. */
  policy(): string {
    return this.#config.policies[this.sched.rules()]!.name;
  }

  /** Of all policies; of two of one name, the one that setPolicy() chooses. */
  policyTunables(): readonly PolicyTunableFile[] {
    const { policies } = this.#config;
    const files: PolicyTunableFile[] = [];
    for (const [n, { name: policy }] of policies.entries()) {
      if (policies.findIndex(({ name }) => name === policy) !== n) continue;
      for (const { name, least, most, value } of this.sched.tunables(n)) {
        const set = (to: number): void => void (value[0] = to);
        files.push({ policy, name, least, most, value: { get: () => value[0]!, set } });
      }
    }
    return files;
  }

  /** 0, or EINVAL: there is no such policy, or it does not come up. */
  setPolicy(name: string): 0 | Errno {
    if (name === this.policy()) return 0;
    const n = this.#config.policies.findIndex((policy) => policy.name === name);
    const result = n < 0 ? EINVAL : this.sched.switchTo(n);
    checkSched(this.sched);
    return result;
  }

  /** Wakes a kernel task that has nothing to do; one that is not there is nobody. */
  wakeThread(name: string): void {
    const p = this.#threads[name];
    if (p !== undefined) this.executor.wakeThread(p);
  }

  spawn(start: UserStart): void {
    const { executor, processes, sched } = this;
    const now = this.#config.machine.time[0]!;
    const window = processes.makeWindow();
    assert(!isErr(window), "System: no memory for a task of the workload");
    const p = sched.addTask(start.nice ?? 0, this.#spawned++ % this.#config.cpus);
    assert(p !== 0, "System: no row for a task of the workload");
    processes.takeUser(p, start.name ?? start.program.name, start.program, 0, window, now);
    this.#config.machine.log?.names.set(p, processes.names.get(p));
    processes.words(p).set(start.args ?? []);
    processes.vfsTask[p] = this.tree?.vfs.newTask({ uid: 0, gid: 0 }) ?? NO_VFS;
    assert(this.tree === undefined || processes.vfsTask[p] >= 0, "System: no row of the VFS for a task");
    executor.fresh(p);
    executor.live++;
    this.#loop.startAt(p, now + (start.startNs ?? 0));
  }

  /** clone(SIGCHLD): a copy of p that finds 0 as the result of its call. */
  #fork(p: number): number {
    const { executor, processes, sched, tree } = this;
    if (!processes.room) return EAGAIN;
    const window = processes.makeWindow();
    if (isErr(window)) return window;
    const vfsTask = tree?.vfs.fork(processes.vfsTask[p]!, false) ?? NO_VFS;
    const child = vfsTask < 0 && tree !== undefined ? 0 : sched.addTask(sched.task.nice[p]!, sched.task.cpu[p]!);
    if (child === 0) {
      processes.dropWindow(window);
      if (vfsTask >= 0) tree!.vfs.exit(vfsTask);
      return vfsTask < 0 && tree !== undefined ? vfsTask : EAGAIN;
    }
    const program = processes.programs[processes.program[p]!]!;
    processes.takeUser(child, processes.names.get(p), program, processes.pid[p]!, window, executor.now());
    this.#config.machine.log?.names.set(child, processes.names.get(p));
    processes.copy(p, child);
    processes.vfsTask[child] = vfsTask;
    executor.fresh(child);
    executor.live++;
    executor.begin(child);
    sched.wakeNew(child, executor.cpu(), p);
    return child;
  }

  /** The channel for what the VFS says that its call waits for; wakes whoever has to bring it about. */
  #fileChannel(): number {
    return fileChannel(this.tree!.vfs, {
      jbd2: () => this.wakeThread(JBD2),
      flusher: () => this.wakeThread(FLUSHER),
    });
  }

  #plug(p: number): void {
    this.disk?.queue.plug();
    if (this.ext4 !== undefined) this.ext4.fs.io.task = this.processes.kind[p] === Kind.User ? p : 0;
  }

  /** Wakes those who wait for a commit or a request, when some have ended since the last look. */
  wakeEnded(): number {
    const { executor } = this;
    const ends = this.ext4!.fs.journal.ends;
    if (ends !== this.#endsSeen) executor.wakeAll(Wait.Commit);
    this.#endsSeen = ends;
    const ended = this.disk!.ended() - this.#endedSeen;
    if (ended === 0) return 0;
    this.#endedSeen += ended;
    executor.wakeAll(Wait.Data);
    executor.wakeAll(Wait.Metadata);
    executor.wakeAll(Wait.Writeback);
    executor.wakeAll(Wait.FileSystem);
    executor.wakeAll(Wait.Journal);
    return ended;
  }

  /** Somebody waits for pages to become clean. */
  #wantsFlusher(): boolean {
    return this.waits.oldest(Wait.Writeback) !== 0 || this.ext4!.fs.cache.pressed();
  }

  #interrupt(): void {
    const { executor, disk, ext4 } = this;
    const { machine, trace } = this.#config;
    const began = machine.time[0]!;
    executor.interrupt(IRQ_CPU, () => {
      trace(SysEv.IrqEntry, IRQ_CPU, 0, 0, 0, 0);
      disk!.work();
      ext4!.fs.io.poll();
      const ended = this.wakeEnded();
      executor.charge(ended * CALL_COSTS.completion);
      if (ended > 0) this.wakeThread(JBD2);
      if (ended > 0 && this.#wantsFlusher()) this.wakeThread(FLUSHER);
      trace(SysEv.IrqExit, IRQ_CPU, 0, ended, 0, 0);
    });
    this.irqNs += machine.time[0]! - began;
    this.irqs++;
  }

  /** Whatever the disk has in flight goes on in virtual time: for who polls outside of the world. */
  idle(): void {
    const { time } = this.#config.machine;
    if (this.disk === undefined) return;
    const next = this.disk.nextAtNs();
    if (next !== Infinity) time[0] = Math.max(time[0]!, next);
    this.disk.work();
  }

  stop(): number {
    const { executor, processes, waits } = this;
    const { time } = this.#config.machine;
    executor.open = false;
    for (let p = 1; p < processes.rows; p++) if (processes.kind[p] === Kind.User) executor.kill(p, SIGTERM);
    for (const until = time[0]! + STOP_NS_MAX; (executor.live > 0 || processes.zombies > 0) && time[0]! < until;)
      this.run(time[0]! + STOP_SLICE_NS);
    if (executor.live > 0 || processes.zombies > 0) return EIO;
    assert(waits.oldest(Wait.Pipe) === 0, "stop: a task waits, and there is none");
    return this.#unmount();
  }

  #unmount(): number {
    const { tree, ext4, processes, slabs } = this;
    const turn = (): void => {
      if (ext4?.step() !== true) this.idle();
    };
    const left = tree === undefined ? 0 : unmountTree(tree, ext4, turn);
    processes.leaveKernel();
    slabs?.settleAll();
    return left;
  }
}

/** Enough for every table of the machine. */
function systemBytes({ cpus, rows, policies, taskMemory, extraBytes }: SystemConfig): number {
  const sched = 256 * KIB + rows * 600 + cpus * 128 * KIB + (cpus + 16) * rows * (8 + 4 * policies.length);
  return (
    sched + Processes.bytes(rows, taskMemory.frames) + WaitQueues.bytes(rows) + Executor.bytes(rows, cpus) + extraBytes
  );
}

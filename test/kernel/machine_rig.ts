/**
 * A small machine for tests of the kernel, with programs written as generators: what one yields is its next system call
 * or its next computing, and it gets the answer back.
 *
 *   const { machine } = await start([function* (t) { const fd = yield* call(t, Nr.openat, AT_FDCWD, text(t, "/a")); }]);
 *   runToEnd(machine);
 */
import { expect } from "vitest";
import type { UserProgram, UserTask } from "../../kernel/abi/program.ts";
import { bootMachine, imageOf, isRefusal, MACHINE_FEATURES, makeExt4 } from "../../kernel/index.ts";
import type { BootedMachine, Feature, MachineConfig } from "../../kernel/index.ts";
import { NVME_SSD } from "../../drivers/index.ts";
import { checkPageAlloc } from "../../mm/index.ts";
import { COSTS } from "../../sched/index.ts";

/** A system call, number first; or nanoseconds to compute. */
export type Said = readonly number[] | number;
export type Script = Generator<Said, void, number>;
export type Body = (task: UserTask) => Script;

export function* call(nr: number, ...args: readonly number[]): Generator<Said, number, number> {
  return yield [nr, ...args];
}

export function* compute(ns: number): Generator<Said, void, number> {
  yield ns;
}

/** Puts a path into the window; its address. */
export function text(task: UserTask, path: string, at = 64): number {
  task.memory.set(new TextEncoder().encode(`${path}\0`), at);
  return at;
}

export const int32 = (task: UserTask, at: number): number =>
  new DataView(task.memory.buffer, task.memory.byteOffset).getInt32(at, true);

export const int64 = (task: UserTask, at: number): number =>
  Number(new DataView(task.memory.buffer, task.memory.byteOffset).getBigInt64(at, true));

export function putTimes(task: UserTask, at: number, sec: number, nsec: number): number {
  const view = new DataView(task.memory.buffer, task.memory.byteOffset);
  view.setBigInt64(at, BigInt(sec), true);
  view.setBigInt64(at + 8, BigInt(nsec), true);
  return at;
}

const STARTED = 31;

/** `child`: what a copy does, made by clone. */
export function scripted(body: Body, child: Body = function* () {}): UserProgram {
  const running = new Map<number, Script>();
  return {
    name: "script",
    step(task) {
      let script = running.get(task.pid);
      const isNew = script === undefined;
      if (script === undefined) {
        script = (task.words[STARTED] === 0 ? body : child)(task);
        running.set(task.pid, script);
        task.words[STARTED] = 1;
      }
      const said = isNew ? script.next() : script.next(task.result);
      if (said.done === true) return;
      if (typeof said.value === "number") task.run(said.value);
      else task.call(said.value[0]!, ...said.value.slice(1));
    },
  };
}

let image: Uint8Array | undefined;

/** A new ext4 of 8 MiB. */
export function newImage(): Uint8Array {
  if (image === undefined) {
    const made = makeExt4({
      sizeBytes: 8 * 2 ** 20,
      blockSize: 1024,
      uuid: new Uint8Array(16).fill(7),
      hashSeed: new Uint8Array(16).fill(9),
      now: 1_767_225_600,
    });
    if (isRefusal(made)) throw new Error(made.reason);
    image = imageOf(made).bytes.slice();
  }
  return image.slice();
}

export interface Started {
  readonly machine: BootedMachine;
  readonly image: Uint8Array | undefined;
  /** Frames taken by others than tasks and the page cache. */
  readonly frames: number;
}

/** Frames that somebody has beside the page cache and slabs. */
export const framesTaken = ({ memory, pages, slabs }: BootedMachine): number =>
  memory === undefined
    ? 0
    : checkPageAlloc(memory.mm).allocated - (pages?.cache.cached() ?? 0) - (slabs?.frames() ?? 0);

export async function start(
  programs: readonly (UserProgram | Body)[],
  options: Partial<MachineConfig> & { readonly features?: readonly Feature[] } = {},
): Promise<Started> {
  const features = options.features ?? MACHINE_FEATURES;
  const disk = features.includes("BLOCK") ? newImage() : undefined;
  const starts = programs.map((program) => ({
    program: typeof program === "function" ? scripted(program) : program,
  }));
  const machine = await bootMachine({
    seed: 1,
    cpus: 2,
    costs: COSTS.hardware,
    starts,
    memoryBytes: 64 * 2 ** 20,
    rows: 40,
    service: NVME_SSD,
    ...(disk === undefined ? {} : { image: disk }),
    ...options,
    features,
  });
  if ("reason" in machine) throw new Error(machine.reason);
  return {
    machine,
    image: disk,
    frames: framesTaken(machine) - (machine.memory === undefined ? 0 : starts.length * 16),
  };
}

/** Runs until every task has ended; what stays must be what was there before. */
export function runToEnd({ machine, frames }: Started, ns = 20e9): void {
  const { system } = machine;
  for (let slice = 1; slice <= 100 && system.executor.live > 0; slice++) {
    system.run((ns * slice) / 100, 1_000_000);
    system.processes.check();
  }
  expect(system.executor.live).toBe(0);
  expectAtRest({ machine, frames, image: undefined });
}

export function expectAtRest({ machine, frames }: Started): void {
  const { system, times, slabs } = machine;
  expect(system.stop()).toBe(0);
  system.processes.check();
  slabs?.slub.check();
  expect({
    zombies: system.processes.zombies,
    pipes: system.tree!.pipes.open,
    files: system.tree!.vfs.state.openFiles,
    frames: framesTaken(machine),
    blocked: times.blocked,
    objects: slabs?.inUse() ?? {},
    slabFrames: slabs?.frames() ?? 0,
  }).toEqual({ zombies: 0, pipes: 0, files: 0, frames, blocked: 0, objects: {}, slabFrames: 0 });
}

/** Runs one program to its end. */
export async function runOne(body: Body, options: Parameters<typeof start>[1] = {}, child?: Body): Promise<Started> {
  const started = await start([scripted(body, child)], options);
  runToEnd(started);
  return started;
}

/** The task table against lists: who lives, who is dead and not waited for, whose frames are whose. */
import { fc, test } from "@fast-check/vitest";
import { expect, it } from "vitest";
import { EAGAIN, ENOMEM } from "../../kernel/abi/errno.ts";
import { USER_BYTES } from "../../kernel/abi/program.ts";
import type { Pfn } from "../../kernel/abi/units.ts";
import { Arena } from "../../kernel/lib/arena.ts";
import { Kind, Processes } from "../../kernel/process.ts";
import type { TaskMemory } from "../../kernel/process.ts";

const SEED = 20_261_128;
const ROWS = 8;
const FRAMES = 40;
const program = { name: "none", step: () => undefined };

/** Windows above, frames below; both can run out. */
function fakeMemory(): TaskMemory & { readonly taken: Set<number> } {
  const ram = new SharedArrayBuffer(ROWS * USER_BYTES);
  const taken = new Set<number>();
  const first = (from: number, to: number): number => {
    for (let frame = from; frame < to; frame++)
      if (!taken.has(frame)) {
        taken.add(frame);
        return frame;
      }
    return ENOMEM;
  };
  const free = (frame: number): void => {
    expect(taken.delete(frame)).toBe(true);
  };
  return {
    taken,
    frames: FRAMES,
    window: () => first(FRAMES, FRAMES + ROWS - 1),
    freeWindow: free,
    bytes: (frame, bytes) => new Uint8Array(ram, (frame - FRAMES) * USER_BYTES, bytes),
    frame: () => first(0, FRAMES) as Pfn,
    freeFrame: free,
  };
}

function made(): { readonly processes: Processes; readonly memory: ReturnType<typeof fakeMemory> } {
  const memory = fakeMemory();
  const arena = new Arena(new SharedArrayBuffer(Processes.bytes(ROWS, FRAMES)));
  return { processes: new Processes(arena, ROWS, memory, 1), memory };
}

interface Model {
  readonly pid: number;
  parent: number;
  readonly row: number;
  frames: number;
  status: number | undefined;
}

const op = fc.record({
  what: fc.constantFrom("fork", "exit", "kill", "wait", "waitAny", "grow", "shrink", "reap"),
  who: fc.nat(7),
  pages: fc.nat(9),
});

test.prop([fc.array(op, { maxLength: 120 })], { seed: SEED })("the table does what lists do", (ops) => {
  const { processes, memory } = made();
  let all: Model[] = [];
  const add = (parent: number): void => {
    const row = Array.from({ length: ROWS }, (_, p) => p).find((p) => p > 0 && processes.kind[p] === Kind.Free);
    expect(processes.room).toBe(all.length + 1 < ROWS);
    if (!processes.room || row === undefined) return;
    const window = processes.makeWindow();
    expect(window).toBeGreaterThanOrEqual(0);
    processes.takeUser(row, "task", program, parent, window, 0);
    all.push({ pid: processes.pid[row]!, parent, row, frames: 0, status: undefined });
  };
  add(0);
  for (const { what, who, pages } of ops) {
    const alive = all.filter((task) => task.status === undefined);
    const task = alive[who % Math.max(1, alive.length)];
    if (task === undefined) add(0);
    else if (what === "fork") add(task.pid);
    else if (what === "exit" || what === "kill") {
      if (what === "kill") processes.killed[task.row] = 9;
      else processes.exitCode[task.row] = 300 + pages;
      processes.leave(task.row);
      processes.orphan(task.pid);
      task.status = what === "kill" ? 9 : ((300 + pages) & 0xff) << 8;
      task.frames = 0;
      for (const child of all) if (child.parent === task.pid) child.parent = 0;
    } else if (what === "wait" || what === "waitAny" || what === "reap") {
      const parent = what === "reap" ? 0 : task.pid;
      const pid = what === "wait" ? (all[pages % all.length]?.pid ?? 99) : -1;
      const meant = all.filter((child) => child.parent === parent && (pid === -1 || child.pid === pid));
      const found = processes.reap(parent, pid);
      const dead = meant.filter((child) => child.status !== undefined);
      if (dead.length === 0) expect(found).toBe(meant.length > 0 ? EAGAIN : 0);
      else {
        const told = found as { readonly pid: number; readonly status: number };
        expect(dead.find((child) => child.pid === told.pid)?.status).toBe(told.status);
        all = all.filter((child) => child.pid !== told.pid);
      }
    } else if (what === "grow") {
      for (let n = 0; n < pages; n++) if (processes.grow(task.row) === 0) task.frames++;
    } else {
      expect(processes.shrink(task.row, pages)).toBe(Math.min(pages, task.frames));
      task.frames = Math.max(0, task.frames - pages);
    }
    const alone = all.filter((other) => other.status === undefined);
    processes.brkBytes.fill(0);
    for (const { row, frames } of alone) {
      expect(processes.rss[row]).toBe(frames);
      processes.brkBytes[row] = frames * 4096;
    }
    processes.check();
    expect(processes.zombies).toBe(all.length - alone.length);
    expect(processes.orphaned).toBe(all.some((other) => other.status !== undefined && other.parent === 0));
    expect(memory.taken.size).toBe(alone.length + alone.reduce((sum, { frames }) => sum + frames, 0));
    for (const { pid, row, status } of all) expect(processes.rowOf(pid)).toBe(status === undefined ? row : 0);
  }
});

it("a new task has nothing of the row's last one", () => {
  const { processes } = made();
  const take = (): void => processes.takeUser(1, "task", program, 0, processes.makeWindow(), 5);
  take();
  processes.words(1).fill(7);
  processes.memory(1).fill(7);
  for (let n = 0; n < 3; n++) processes.grow(1);
  processes.brkBytes[1] = 12_288;
  processes.areas.paint(1, 5, 9, 1);
  processes.killed[1] = 9;
  processes.leave(1);
  take();
  expect(processes.words(1).every((word) => word === 0)).toBe(true);
  expect(processes.memory(1).every((byte) => byte === 0)).toBe(true);
  expect([processes.pid[1], processes.rss[1], processes.virtualPages(1), processes.killed[1]]).toEqual([2, 0, 0, 0]);
});

it("move() keeps the list of frames whole, at its head, in it and at its end; a frame that is not on it stays", () => {
  const { processes, memory } = made();
  processes.takeUser(1, "task", program, 0, processes.makeWindow(), 0);
  for (let n = 0; n < 3; n++) processes.grow(1);
  processes.brkBytes[1] = 3 * 4096;
  const moves = (p: number, from: number, to: number, isIts = true): boolean => {
    memory.taken.add(to);
    let carried = 0;
    const moved = processes.move(
      p,
      from,
      to,
      () => isIts,
      () => carried++,
    );
    expect(carried).toBe(moved ? 1 : 0);
    memory.taken.delete(moved ? from : to);
    processes.check();
    return moved;
  };
  // In between, and now nobody's: words of its place in the list are left.
  expect(moves(1, 1, 21)).toBe(true);
  expect(moves(1, 1, 30)).toBe(false);
  expect(moves(1, 21, 30, false)).toBe(false);
  for (const from of [2, 0]) expect(moves(1, from, from + 20)).toBe(true);
  expect(processes.shrink(1, 1)).toBe(1);
  processes.brkBytes[1] = 2 * 4096;
  expect(moves(1, 22, 30)).toBe(false);
  expect(processes.shrink(1, Infinity)).toBe(2);
  expect(memory.taken.size).toBe(1);
});

const drawsOf = (seed: number): number[][] => {
  const arena = new Arena(new SharedArrayBuffer(Processes.bytes(ROWS, FRAMES)));
  const processes = new Processes(arena, ROWS, fakeMemory(), seed);
  for (const p of [1, 2]) processes.takeUser(p, "task", program, 0, processes.makeWindow(), 0);
  return [1, 2].map((p) => Array.from({ length: 5 }, () => processes.below(p, 1000)));
};

it("below() is each task's own chance: by pid and seed", () => {
  expect(drawsOf(1)).toEqual(drawsOf(1));
  expect(drawsOf(1)).not.toEqual(drawsOf(2));
  expect(drawsOf(1)[0]).not.toEqual(drawsOf(1)[1]);
});

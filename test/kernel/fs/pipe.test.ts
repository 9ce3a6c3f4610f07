/** Pipes against a list of bytes, below the VFS and through it; errno by errno as pipe(7) has them. */
import { fc, test } from "@fast-check/vitest";
import { describe, expect, it } from "vitest";
import { EAGAIN, EBADF, EINVAL, EIOCBQUEUED, EMFILE, ENFILE, EPIPE, ESPIPE } from "../../../kernel/abi/errno.ts";
import { F_GETFD, F_GETFL, F_SETFL, O_CLOEXEC, O_DIRECT, O_NONBLOCK, O_WRONLY } from "../../../kernel/abi/fcntl.ts";
import { isFifo } from "../../../kernel/abi/stat.ts";
import type { Nanos } from "../../../kernel/abi/units.ts";
import { PIPE_BUF, PIPE_BYTES, PipeFs } from "../../../kernel/fs/pipe.ts";
import { Tmpfs } from "../../../kernel/fs/tmpfs/tmpfs.ts";
import { IO_NONBLOCK } from "../../../kernel/fs/vfs/file_system.ts";
import { newStat } from "../../../kernel/fs/vfs/state.ts";
import { Vfs } from "../../../kernel/fs/vfs/vfs.ts";
import { growingArena } from "../../../kernel/lib/growing_arena.ts";

const SEED = 20_261_128;
const [READ, WRITE] = [PipeFs.readEnd(0), PipeFs.writeEnd(0)];

function madePipe(): PipeFs {
  const pipes = new PipeFs(growingArena(), 2);
  pipes.reset();
  expect(pipes.makePipe()).toBe(0);
  return pipes;
}

const size = fc.oneof(
  fc.nat(PIPE_BUF + 2),
  fc.constantFrom(PIPE_BUF, PIPE_BUF + 1, PIPE_BYTES - 1, PIPE_BYTES, PIPE_BYTES + 1, 100_000),
);
const op = fc.record({ isRead: fc.boolean(), size, nonblock: fc.boolean() });

test.prop([fc.array(op, { maxLength: 60 })], { seed: SEED, numRuns: 60 })("a pipe is a queue of 64 KiB", (ops) => {
  const pipes = madePipe();
  let model = Buffer.alloc(0);
  let stamp = 0;
  for (const { isRead, size: bytes, nonblock } of ops) {
    const how = nonblock ? IO_NONBLOCK : 0;
    const wait = nonblock ? EAGAIN : EIOCBQUEUED;
    if (isRead) {
      const into = new Uint8Array(bytes);
      const count = pipes.read(READ, 0, into, how);
      expect(count).toBe(model.length === 0 || bytes === 0 ? wait : Math.min(bytes, model.length));
      if (count < 0) continue;
      expect(Buffer.compare(into.subarray(0, count), model.subarray(0, count))).toBe(0);
      model = model.subarray(count);
    } else if (bytes > 0) {
      const from = Uint8Array.from({ length: bytes }, () => stamp++ % 251);
      const count = pipes.write(WRITE, 0, from, how);
      const room = PIPE_BYTES - model.length;
      const isFull = bytes <= PIPE_BUF ? room < bytes : room === 0;
      expect(count).toBe(isFull ? wait : Math.min(bytes, room));
      if (count > 0) model = Buffer.concat([model, from.subarray(0, count)]);
    }
  }
  pipes.release(WRITE);
  for (let left = model.length; ;) {
    const count = pipes.read(READ, 0, new Uint8Array(40_000));
    expect(count).toBe(Math.min(left, 40_000));
    if (count === 0) break;
    left -= count;
  }
});

describe("the ends of a pipe", () => {
  it("reading is 0 when nobody writes any more; writing is EPIPE when nobody reads", () => {
    const pipes = madePipe();
    expect(pipes.read(READ, 0, new Uint8Array(1))).toBe(EIOCBQUEUED);
    pipes.hold(WRITE);
    pipes.release(WRITE);
    expect(pipes.read(READ, 0, new Uint8Array(1))).toBe(EIOCBQUEUED);
    pipes.release(WRITE);
    expect(pipes.read(READ, 0, new Uint8Array(1))).toBe(0);
    const other = madePipe();
    other.release(READ);
    expect(other.write(WRITE, 0, new Uint8Array(1))).toBe(EPIPE);
    other.release(WRITE);
    expect(other.open).toBe(0);
    expect(() => other.release(WRITE)).toThrow(/release too many/);
  });

  it("there are so many pipes, and a row is used again", () => {
    const pipes = madePipe();
    expect([pipes.makePipe(), pipes.makePipe(), pipes.open]).toEqual([1, ENFILE, 2]);
    pipes.write(WRITE, 0, new Uint8Array(10));
    pipes.release(READ);
    expect(pipes.makePipe()).toBe(ENFILE);
    pipes.release(WRITE);
    expect(pipes.makePipe()).toBe(0);
    expect(pipes.read(READ, 0, new Uint8Array(1))).toBe(EIOCBQUEUED);
  });
});

const now = (): Nanos => 0 as Nanos;

function tree(fds = 16): { readonly vfs: Vfs; readonly pipes: PipeFs; readonly task: number } {
  const vfs = new Vfs({ memory: growingArena(), now, fds, files: 8, tasks: 4 });
  vfs.reset();
  const root = new Tmpfs({ memory: growingArena(), pages: 16, inodes: 16, now });
  root.reset();
  vfs.mountRoot(vfs.attachFs(root));
  const pipes = new PipeFs(growingArena(), 2);
  pipes.reset();
  vfs.mountPipes(vfs.attachFs(pipes), pipes);
  return { vfs, pipes, task: vfs.newTask({ uid: 0, gid: 0 }) };
}

describe("pipe2()", () => {
  it("gives the lowest two descriptors, with O_CLOEXEC and O_NONBLOCK as asked", () => {
    const { vfs, task } = tree();
    expect(vfs.pipe2(task, O_CLOEXEC | O_NONBLOCK)).toEqual([0, 1]);
    expect([vfs.fcntl(task, 0, F_GETFD), vfs.fcntl(task, 0, F_GETFL), vfs.fcntl(task, 1, F_GETFL)]).toEqual([
      1,
      O_NONBLOCK,
      O_WRONLY | O_NONBLOCK,
    ]);
    expect(vfs.read(task, 0, new Uint8Array(1))).toBe(EAGAIN);
    vfs.fcntl(task, 0, F_SETFL, 0);
    expect(vfs.read(task, 0, new Uint8Array(1))).toBe(EIOCBQUEUED);
    expect(vfs.cancel(task)).toBe(0);
  });

  it("is EINVAL for other flags", () => {
    const { vfs, task, pipes } = tree();
    expect([vfs.pipe2(task, O_DIRECT), vfs.pipe2(task, -1), pipes.open]).toEqual([EINVAL, EINVAL, 0]);
  });

  it("makes nothing when it fails half-way: EMFILE, ENFILE", () => {
    const few = tree(3);
    expect(few.vfs.pipe2(few.task, 0)).toEqual([0, 1]);
    expect(few.vfs.pipe2(few.task, 0)).toBe(EMFILE);
    expect([few.pipes.open, few.vfs.state.openFiles, few.vfs.dup(few.task, 0)]).toEqual([1, 2, 2]);
    const { vfs, task, pipes } = tree();
    expect([vfs.pipe2(task, 0), vfs.pipe2(task, 0)]).toEqual([
      [0, 1],
      [2, 3],
    ]);
    expect([vfs.pipe2(task, 0), vfs.state.openFiles, vfs.exit(task), pipes.open, vfs.state.openFiles]).toEqual([
      ENFILE,
      4,
      0,
      0,
      0,
    ]);
  });
});

describe("calls on a pipe", () => {
  it("know its direction, and that it has no positions", () => {
    const { vfs, task } = tree();
    vfs.pipe2(task, 0);
    const bytes = new Uint8Array(4);
    expect([vfs.write(task, 0, bytes), vfs.read(task, 1, bytes)]).toEqual([EBADF, EBADF]);
    expect([
      vfs.lseek(task, 0, 0, 0),
      vfs.pread(task, 0, bytes, 0),
      vfs.pwrite(task, 1, bytes, 0),
      vfs.fallocate(task, 1, 0, 0, 1),
      vfs.ftruncate(task, 1, 0),
      vfs.fsync(task, 0),
    ]).toEqual([ESPIPE, ESPIPE, ESPIPE, ESPIPE, EINVAL, EINVAL]);
    const stat = { ...newStat(), dev: 0 };
    expect([vfs.stat(task, 0, stat), isFifo(stat.mode)]).toEqual([0, true]);
  });

  it("write all that they are given: a long write waits for room again and again, and counts it all", () => {
    const { vfs, task } = tree();
    vfs.pipe2(task, 0);
    const reader = vfs.fork(task, false);
    const all = Uint8Array.from({ length: 3 * PIPE_BYTES + 7 }, (_, n) => n % 249);
    const seen: number[] = [];
    const into = new Uint8Array(50_000);
    let written = vfs.write(task, 1, all);
    for (let round = 0; round < 20 && written === EIOCBQUEUED; round++) {
      seen.push(...into.subarray(0, vfs.read(reader, 0, into)));
      written = vfs.write(task, 1, all);
    }
    expect(written).toBe(all.length);
    while (seen.length < all.length) seen.push(...into.subarray(0, vfs.read(reader, 0, into)));
    expect(Buffer.compare(Buffer.from(seen), all)).toBe(0);
  });

  it("count what a long write had written when its readers went away, and with O_NONBLOCK", () => {
    const { vfs, task } = tree();
    vfs.pipe2(task, 0);
    const all = new Uint8Array(PIPE_BYTES + 1);
    const reader = vfs.fork(task, false);
    vfs.close(task, 0);
    expect(vfs.write(task, 1, all)).toBe(EIOCBQUEUED);
    expect(vfs.exit(reader)).toBe(0);
    expect([vfs.write(task, 1, all), vfs.write(task, 1, all)]).toEqual([PIPE_BYTES, EPIPE]);
    const { vfs: quick, task: who } = tree();
    quick.pipe2(who, O_NONBLOCK);
    expect([quick.write(who, 1, all), quick.write(who, 1, all)]).toEqual([PIPE_BYTES, EAGAIN]);
  });
});

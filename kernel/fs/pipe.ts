/**
 * Pipes (Linux: fs/pipe.c), as a file system that has no names: each end is an inode, and an open file holds it.
 *
 *   pipe n: inode 2n + 2 is its end for reading, 2n + 3 for writing; PIPE_BYTES bytes in a ring
 *
 * Reading an empty pipe waits while the other end is open, and is 0 then; writing to one whose reading end is closed is
 * EPIPE. Up to PIPE_BUF bytes are written in one piece (pipe(7)); more, as much as fits, and who called waits for the
 * rest (vfs/read_write.ts). IO_NONBLOCK: EAGAIN instead of a wait. The ring's counters count bytes since the pipe was made.
 *
 * - makePipe()          its number, both ends held once for the caller; ENFILE, ENOMEM
 * - moved(pipe)         told to whoever wakes the other end, after each read, write and last release
 */
import { EAGAIN, EINVAL, EIOCBQUEUED, ENFILE, ENOENT, ENOTDIR, EPIPE, ESPIPE, isErr } from "../abi/errno.ts";
import type { EvictMemory } from "../abi/evict.ts";
import { NO_MEMORY, type ObjectCache } from "../abi/object_cache.ts";
import { S_IFIFO } from "../abi/stat.ts";
import type { Errno } from "../abi/units.ts";
import { layout } from "../lib/layout.ts";
import { assert } from "../lib/assert.ts";
import { FixedFs } from "./fixed_fs.ts";
import { IO_NONBLOCK } from "./vfs/file_system.ts";
import type { FileSystem, Stat } from "./vfs/file_system.ts";

export const PIPE_BYTES = 65_536;
/** Bytes that are written in one piece (limits.h). */
export const PIPE_BUF = 4096;
const PIPE = layout("readers", "writers", "written", "read", "inode", "info", "slots");

/** Memory of a pipe: its inode, struct pipe_inode_info, the array of its slots. */
export interface PipeObjects {
  readonly pipeInode: ObjectCache;
  readonly pipe: ObjectCache;
  readonly pipeRing: ObjectCache;
}

const NO_OBJECTS: PipeObjects = { pipeInode: NO_MEMORY, pipe: NO_MEMORY, pipeRing: NO_MEMORY };

const waits = (how: number): Errno => ((how & IO_NONBLOCK) === 0 ? EIOCBQUEUED : EAGAIN);

export class PipeFs extends FixedFs implements FileSystem {
  readonly type = "pipefs";
  readonly readOnly = false;
  readonly #pipes: Float64Array;
  readonly #rings: Uint8Array;
  readonly #count: number;
  readonly #moved: () => void;
  /** In the order of PIPE's words. */
  readonly #objects: readonly (readonly [field: number, from: ObjectCache])[];

  /** @param pipes most pipes at once; each has its ring from the start. */
  constructor(
    memory: EvictMemory,
    pipes: number,
    moved: () => void = () => {},
    { pipeInode, pipe, pipeRing }: PipeObjects = NO_OBJECTS,
  ) {
    super();
    this.#objects = [
      [PIPE.inode, pipeInode],
      [PIPE.info, pipe],
      [PIPE.slots, pipeRing],
    ];
    this.#count = pipes;
    this.#pipes = memory.float64(pipes * PIPE.words);
    this.#rings = memory.uint8(pipes * PIPE_BYTES);
    this.#moved = moved;
  }

  reset(): void {
    this.#pipes.fill(0);
  }

  #get(pipe: number, field: number): number {
    return this.#pipes[pipe * PIPE.words + field]!;
  }

  #set(pipe: number, field: number, value: number): void {
    this.#pipes[pipe * PIPE.words + field] = value;
  }

  makePipe(): number | Errno {
    for (let pipe = 0; pipe < this.#count; pipe++) {
      if (this.#get(pipe, PIPE.readers) !== 0 || this.#get(pipe, PIPE.writers) !== 0) continue;
      const taken = this.#takeObjects(pipe);
      if (taken !== 0) return taken;
      for (const [field, value] of [
        [PIPE.readers, 1],
        [PIPE.writers, 1],
        [PIPE.written, 0],
        [PIPE.read, 0],
      ] as const)
        this.#set(pipe, field, value);
      return pipe;
    }
    return ENFILE;
  }

  #takeObjects(pipe: number): 0 | Errno {
    for (const [n, [field, from]] of this.#objects.entries()) {
      const addr = from.alloc();
      if (isErr(addr)) {
        this.#giveObjects(pipe, n);
        return addr;
      }
      this.#set(pipe, field, addr);
    }
    return 0;
  }

  /** The first `count`. */
  #giveObjects(pipe: number, count: number): void {
    for (const [field, from] of this.#objects.slice(0, count)) from.free(this.#get(pipe, field));
  }

  /** Pipes in use, for checks of a machine at rest. */
  get open(): number {
    let open = 0;
    for (let pipe = 0; pipe < this.#count; pipe++)
      if (this.#get(pipe, PIPE.readers) + this.#get(pipe, PIPE.writers) > 0) open++;
    return open;
  }

  static readEnd(pipe: number): number {
    return 2 * pipe + 2;
  }

  static writeEnd(pipe: number): number {
    return 2 * pipe + 3;
  }

  #side(ino: number): number {
    return ino % 2 === 0 ? PIPE.readers : PIPE.writers;
  }

  #pipeOf(ino: number): number {
    const pipe = (ino - 2) >> 1;
    assert(pipe >= 0 && pipe < this.#count, "PipeFs: an inode that is none");
    return pipe;
  }

  root(): number {
    return 1;
  }

  hold(ino: number): 0 | Errno {
    if (ino < 2) return 0;
    const pipe = this.#pipeOf(ino);
    this.#set(pipe, this.#side(ino), this.#get(pipe, this.#side(ino)) + 1);
    return 0;
  }

  release(ino: number): 0 | Errno {
    if (ino < 2) return 0;
    const pipe = this.#pipeOf(ino);
    const left = this.#get(pipe, this.#side(ino)) - 1;
    assert(left >= 0, "PipeFs: a release too many");
    this.#set(pipe, this.#side(ino), left);
    if (this.#get(pipe, PIPE.readers) + this.#get(pipe, PIPE.writers) === 0)
      this.#giveObjects(pipe, this.#objects.length);
    if (left === 0) this.#moved();
    return 0;
  }

  read(ino: number, _offset: number, into: Uint8Array, how = 0): number | Errno {
    const pipe = this.#pipeOf(ino);
    const from = this.#get(pipe, PIPE.read);
    const count = Math.min(into.length, this.#get(pipe, PIPE.written) - from);
    if (count === 0) return this.#get(pipe, PIPE.writers) === 0 ? 0 : waits(how);
    this.#eachPart(pipe, from, count, (ring, done) => into.set(ring, done));
    this.#set(pipe, PIPE.read, from + count);
    this.#moved();
    return count;
  }

  write(ino: number, _offset: number, from: Uint8Array, how = 0): number | Errno {
    const pipe = this.#pipeOf(ino);
    if (this.#get(pipe, PIPE.readers) === 0) return EPIPE;
    const at = this.#get(pipe, PIPE.written);
    const room = PIPE_BYTES - (at - this.#get(pipe, PIPE.read));
    if (room < (from.length <= PIPE_BUF ? from.length : 1)) return waits(how);
    const count = Math.min(from.length, room);
    this.#eachPart(pipe, at, count, (ring, done) => ring.set(from.subarray(done, done + ring.length)));
    this.#set(pipe, PIPE.written, at + count);
    this.#moved();
    return count;
  }

  /** The one or two pieces of the ring that `count` bytes from a position on lie in. */
  #eachPart(pipe: number, position: number, count: number, part: (ring: Uint8Array, done: number) => void): void {
    for (let done = 0; done < count;) {
      const at = (position + done) % PIPE_BYTES;
      const bytes = Math.min(count - done, PIPE_BYTES - at);
      const base = pipe * PIPE_BYTES + at;
      part(this.#rings.subarray(base, base + bytes), done);
      done += bytes;
    }
  }

  getattr(ino: number, out: Stat): 0 | Errno {
    out.ino = ino;
    out.mode = S_IFIFO | 0o600;
    out.links = 1;
    out.blockSize = PIPE_BUF;
    out.uid = out.gid = out.rdev = out.size = out.sectors = out.generation = 0;
    out.atimeSec = out.mtimeSec = out.ctimeSec = out.atimeNsec = out.mtimeNsec = out.ctimeNsec = 0;
    return 0;
  }

  setattr(): 0 {
    return 0;
  }

  lookup(): Errno {
    return ENOENT;
  }

  parent(dir: number): number {
    return dir;
  }

  readdir(): Errno {
    return ENOTDIR;
  }

  truncate(): Errno {
    return EINVAL;
  }

  fallocate(): Errno {
    return ESPIPE;
  }

  seek(): Errno {
    return ESPIPE;
  }

  fsync(): Errno {
    return EINVAL;
  }
}

/**
 * Runs operations of a script on a file system under the VFS, as root, each to its end.
 *
 * - new ScriptRun(vfs, task)
 * - run.apply(op)            what the call gave: 0, bytes, or a negative errno
 * - run.read                 bytes that the last read gave
 * - run.closeAll()           before unmounting
 *
 * An operation on a path opens, acts and closes; mmapwrite is a write and an fdatasync, as a store and msync would be.
 */
import { EBADF, EINVAL, isErr } from "../../../kernel/abi/errno.ts";
import {
  O_APPEND,
  O_CREAT,
  O_DIRECT,
  O_DSYNC,
  O_EXCL,
  O_RDONLY,
  O_RDWR,
  O_SYNC,
  O_TRUNC,
  O_WRONLY,
} from "../../../kernel/abi/fcntl.ts";
import { isDir } from "../../../kernel/abi/stat.ts";
import { finish, newStat } from "../../../kernel/index.ts";
import type { FileStat, Vfs } from "../../../kernel/index.ts";
import { DIRECTORY_MODE, FILE_MODE, dataBytes } from "./op.ts";
import type { Op } from "./op.ts";

const OPEN_BITS: Readonly<Record<string, number>> = {
  r: O_RDONLY,
  w: O_WRONLY,
  rw: O_RDWR,
  creat: O_CREAT,
  excl: O_EXCL,
  trunc: O_TRUNC,
  append: O_APPEND,
  direct: O_DIRECT,
  sync: O_SYNC,
  dsync: O_DSYNC,
};

export class ScriptRun {
  readonly #vfs: Vfs;
  readonly #task: number;
  readonly #handles = new Map<string, number>();
  readonly #stat: FileStat = { ...newStat(), dev: 0 };
  read = new Uint8Array(0);

  constructor(vfs: Vfs, task: number) {
    this.#vfs = vfs;
    this.#task = task;
  }

  #end(call: () => number): number {
    return finish(this.#vfs, call);
  }

  apply(op: Op): number {
    const [vfs, task] = [this.#vfs, this.#task];
    const { path, to, mode } = op;
    switch (op.name) {
      case "creat":
        return this.#on(path, O_CREAT | O_WRONLY | O_TRUNC, () => 0, mode < 0 ? FILE_MODE : mode);
      case "open":
        return this.#open(op);
      case "close":
        return this.#close(path.slice(1));
      case "write":
        return this.#on(path, O_WRONLY, (fd) => this.#all(dataBytes(op.data!), (part) => vfs.write(task, fd, part)));
      case "append":
        return this.#on(path, O_WRONLY | O_APPEND, (fd) => this.#append(fd, path, dataBytes(op.data!)));
      case "pwrite":
        return this.#on(path, O_WRONLY, (fd) => this.#pwrite(fd, op));
      case "dwrite":
        return this.#on(path, O_WRONLY | O_DIRECT, (fd) => this.#pwrite(fd, op));
      case "mmapwrite":
        return this.#on(path, O_RDWR, (fd) => this.#mmapwrite(fd, op));
      case "read":
        return this.#on(path, O_RDONLY, (fd) => this.#read(fd, op));
      case "truncate":
        return this.#end(() =>
          path.startsWith("@") ? vfs.ftruncate(task, this.#fd(path), op.length) : vfs.truncate(task, path, op.length),
        );
      case "fallocate":
        return this.#on(path, O_WRONLY, (fd) =>
          this.#end(() => vfs.fallocate(task, fd, op.flags, op.offset, op.length)),
        );
      case "rename":
        return this.#end(() => vfs.rename(task, path, to, op.flags));
      case "link":
        return this.#end(() => vfs.link(task, path, to));
      case "symlink":
        return this.#end(() => vfs.symlink(task, to, path));
      case "unlink":
        return this.#end(() => vfs.unlink(task, path));
      case "mkdir":
        return this.#end(() => vfs.mkdir(task, path, mode < 0 ? DIRECTORY_MODE : mode));
      case "rmdir":
        return this.#end(() => vfs.rmdir(task, path));
      case "setxattr":
        return this.#end(() => vfs.setxattr(task, this.#what(path), op.attribute, dataBytes(op.data!)));
      case "removexattr":
        return this.#end(() => vfs.removexattr(task, this.#what(path), op.attribute));
      case "fsync":
        return this.#on(path, O_RDONLY, (fd) => this.#end(() => vfs.fsync(task, fd)));
      case "fdatasync":
        return this.#on(path, O_RDONLY, (fd) => this.#end(() => vfs.fdatasync(task, fd)));
      default:
        return this.#end(() => vfs.sync(task));
    }
  }

  /** Handles that the script left open. */
  closeAll(): void {
    for (const handle of this.#handles.keys()) this.#close(handle);
  }

  #fd = (path: string): number => this.#handles.get(path.slice(1)) ?? -1;

  #what = (path: string): string | number => (path.startsWith("@") ? this.#fd(path) : path);

  /** Acts on a handle, or on a path that is opened for it. */
  #on(path: string, flags: number, act: (fd: number) => number, mode = 0): number {
    if (path.startsWith("@")) return this.#handles.has(path.slice(1)) ? act(this.#fd(path)) : EBADF;
    const fd = this.#end(() => this.#vfs.open(this.#task, path, flags, mode));
    if (isErr(fd)) return fd;
    const result = act(fd);
    const closed = this.#end(() => this.#vfs.close(this.#task, fd));
    return isErr(result) ? result : isErr(closed) ? closed : result;
  }

  #open({ path, to, open, mode }: Op): number {
    if (this.#handles.has(to)) return EBADF;
    const flags = open.reduce((all, word) => all | OPEN_BITS[word]!, 0);
    const fd = this.#end(() => this.#vfs.open(this.#task, path, flags, mode < 0 ? FILE_MODE : mode));
    if (isErr(fd)) return fd;
    this.#handles.set(to, fd);
    return 0;
  }

  #close(handle: string): number {
    const fd = this.#handles.get(handle);
    if (fd === undefined) return EBADF;
    this.#handles.delete(handle);
    return this.#end(() => this.#vfs.close(this.#task, fd));
  }

  /** A write may be cut short; the rest follows. */
  #all(bytes: Uint8Array, write: (part: Uint8Array, done: number) => number): number {
    let done = 0;
    do {
      const got = this.#end(() => write(bytes.subarray(done), done));
      if (isErr(got)) return done > 0 ? done : got;
      done += got;
    } while (done < bytes.length);
    return done;
  }

  #append(fd: number, path: string, bytes: Uint8Array): number {
    if (!path.startsWith("@")) return this.#all(bytes, (part) => this.#vfs.write(this.#task, fd, part));
    const found = this.#end(() => this.#vfs.stat(this.#task, fd, this.#stat));
    if (isErr(found)) return found;
    const { size } = this.#stat;
    return this.#all(bytes, (part, done) => this.#vfs.pwrite(this.#task, fd, part, size + done));
  }

  #pwrite(fd: number, { offset, data }: Op): number {
    const bytes = dataBytes(data!);
    return this.#all(bytes, (part, done) => this.#vfs.pwrite(this.#task, fd, part, offset + done));
  }

  #mmapwrite(fd: number, op: Op): number {
    const found = this.#end(() => this.#vfs.stat(this.#task, fd, this.#stat));
    if (isErr(found)) return found;
    if (!isDir(this.#stat.mode) && op.offset + dataBytes(op.data!).length > this.#stat.size) return EINVAL;
    const written = this.#pwrite(fd, op);
    const synced = isErr(written) ? 0 : this.#end(() => this.#vfs.fdatasync(this.#task, fd));
    return isErr(synced) ? synced : written;
  }

  #read(fd: number, { offset, length }: Op): number {
    const into = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const got = this.#end(() => this.#vfs.pread(this.#task, fd, into.subarray(done), offset + done));
      if (isErr(got)) return got;
      if (got === 0) break;
      done += got;
    }
    this.read = into.subarray(0, done);
    return done;
  }
}

/**
 * A workload carried out on our ext4, on a disk that records: the recording, and the model of what was promised. The
 * file system is a bare one (kernel/fs/bare_fs.ts) under a VFS; the recording ends as a crash does, without unmounting.
 *
 * - crashBase(options)           an image to start from; one for thousands of runs
 * - runWorkload(base, calls, options)
 */
import { O_CREAT, O_DIRECT, O_DIRECTORY, O_EXCL, O_RDONLY, O_RDWR } from "../../kernel/abi/fcntl.ts";
import { assert } from "../../kernel/lib/assert.ts";
import { growingArena } from "../../kernel/lib/growing_arena.ts";
import { bareFs, imageOf, isRefusal, makeExt4, mountOptions, Vfs } from "../../kernel/index.ts";
import type { BareFs, DataMode, Features } from "../../kernel/index.ts";
import { nanos } from "../../kernel/abi/units.ts";
import { UserError } from "../cli/exit.ts";
import { SparseDisk } from "../disk/sparse.ts";
import type { LogEntry } from "../nbd/log.ts";
import { RecordingDisk } from "../nbd/record.ts";
import type { AceCall } from "./ace.ts";
import { ModelTree } from "./model_tree.ts";
import type { ModelNode } from "./model_tree.ts";
import { markText, ModelPromises } from "./promises_model.ts";
import type { Mark } from "./promises_model.ts";
import { recordedOf } from "./recorded.ts";
import type { Recorded } from "./recorded.ts";

export interface BaseOptions {
  readonly sizeBytes: number;
  readonly blockSize: number;
  readonly journalBytes: number;
  readonly features?: Features;
}

export interface WorkloadOptions {
  readonly data: DataMode;
  /** Further mount options, as text. */
  readonly mount: string;
}

export interface WorkloadRun {
  readonly recorded: Recorded;
  readonly promises: ModelPromises;
  /** Calls that failed: none may, unless the disk was full. */
  readonly failed: readonly string[];
}

const XATTR = "user.orrery";
const ROOT_DIR = "/";

export interface CrashBase {
  readonly image: Uint8Array;
  readonly disk: SparseDisk;
}

export function crashBase(options: BaseOptions): CrashBase {
  const fixed = new Uint8Array(16).map((_, at) => at + 1);
  const made = makeExt4({ ...options, uuid: fixed, hashSeed: fixed, now: 0 });
  if (isRefusal(made)) throw new UserError(`there is no such file system: ${made.reason}`);
  const blocks = imageOf(made);
  const image = blocks.bytes.slice(0, blocks.count * blocks.blockSize);
  const disk = new SparseDisk(image.length);
  disk.writeAt(0, image);
  return { image, disk };
}

/** Bytes that no other call writes anywhere: a word for the call, a word for the place. */
function pattern(step: number, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) {
    const place = offset + at;
    const word = (place & 4) === 0 ? step + 0x5a000000 : (place >>> 3) ^ 0x00c3a500;
    bytes[at] = (word >>> (8 * (place & 3))) & 0xff;
  }
  return bytes;
}

export function runWorkload(base: CrashBase, calls: readonly AceCall[], { data, mount }: WorkloadOptions): WorkloadRun {
  const options = mountOptions([`data=${data}`, mount].filter((word) => word !== "").join(","));
  if (typeof options === "string") throw new UserError(options);
  const entries: LogEntry[] = [];
  // Buffers are used again: what was written is kept by its bytes.
  const append = (entry: LogEntry): void => void entries.push({ ...entry, data: entry.data?.slice() });
  const sink = {
    append,
    get count() {
      return entries.length;
    },
    close: () => undefined,
  };
  const device = new RecordingDisk(base.disk.snapshot(), sink, () => 0);
  const bare = bareFs({ device, mount: options });
  if (isRefusal(bare)) throw new UserError(`our ext4 does not mount: ${bare.reason}`);
  const runner = new Runner(bare, device);
  for (const call of calls) runner.call(call);
  runner.end();
  const recorded = recordedOf(base.image, entries, "the recording");
  return { recorded, promises: new ModelPromises(runner.tree, runner.marks, data), failed: runner.failed };
}

const at = (name: string): string => (name === ROOT_DIR ? name : `/${name}`);

class Runner {
  readonly tree = new ModelTree();
  readonly marks: Mark[] = [];
  readonly failed: string[] = [];
  readonly #vfs: Vfs;
  readonly #bare: BareFs;
  readonly #device: RecordingDisk;
  readonly #task: number;
  #step = 0;

  constructor(bare: BareFs, device: RecordingDisk) {
    this.#bare = bare;
    this.#device = device;
    this.#vfs = new Vfs({ memory: growingArena(), now: () => nanos(0) });
    this.#vfs.reset();
    this.#vfs.mountRoot(this.#vfs.attachFs(bare.fs));
    this.#task = this.#vfs.newTask({ uid: 0, gid: 0 });
  }

  #mark(mark: Mark): void {
    this.marks.push(mark);
    this.#device.mark(markText(mark));
  }

  #do(what: () => number): number {
    return this.#bare.run(what);
  }

  /** What is in flight goes on a little, as it would behind the last call's back. */
  end(): void {
    while (this.#bare.fs.step());
  }

  call(call: AceCall): void {
    const step = ++this.#step;
    this.#mark({ step, kind: "begin" });
    const node = this.tree.find(call.path);
    const result = this.#carryOut(call, step);
    if (result < 0) {
      this.failed.push(`${call.op} ${call.path}${call.to === undefined ? "" : ` ${call.to}`}: ${result}`);
      this.#mark({ step, kind: "done" });
      return;
    }
    this.#note(call, step);
    this.#mark(this.#promise(call, step, node));
  }

  #promise({ op, path }: AceCall, step: number, node: ModelNode | undefined): Mark {
    if (op === "sync") return { step, kind: "sync" };
    if (op === "fsync" && path !== ROOT_DIR) return { step, kind: "fsync", node: node!.id };
    if (op === "fdatasync" || op === "mmapwrite") return { step, kind: "fdatasync", node: node!.id };
    return { step, kind: "done" };
  }

  #carryOut({ op, path, to, offset, length, mode }: AceCall, step: number): number {
    const vfs = this.#vfs;
    const task = this.#task;
    switch (op) {
      case "creat":
        return this.#onFile(path, O_RDWR | O_CREAT | O_EXCL, () => 0);
      case "mkdir":
        return this.#do(() => vfs.mkdir(task, at(path), 0o777));
      case "rmdir":
        return this.#do(() => vfs.rmdir(task, at(path)));
      case "unlink":
      case "remove":
        return this.#do(() => vfs.unlink(task, at(path)));
      case "link":
        return this.#do(() => vfs.link(task, at(path), at(to!)));
      case "rename":
        return this.#do(() => vfs.rename(task, at(path), at(to!)));
      case "truncate":
        return this.#do(() => vfs.truncate(task, at(path), length!));
      case "fsetxattr":
        return this.#do(() => vfs.setxattr(task, at(path), XATTR, pattern(step, 0, 24)));
      case "removexattr":
        return this.#do(() => vfs.removexattr(task, at(path), XATTR));
      case "falloc":
        return this.#onFile(path, O_RDWR, (fd) => this.#do(() => vfs.fallocate(task, fd, mode!, offset!, length!)));
      case "write":
        return this.#onFile(path, O_RDWR, (fd) => this.#write(fd, step, offset!, length!));
      case "dwrite":
        return this.#onFile(path, O_RDWR | O_DIRECT, (fd) => this.#write(fd, step, offset!, length!));
      case "mmapwrite":
        // A mapping's pages are the page cache's, and msync(MS_SYNC) of them is fdatasync.
        return this.#onFile(path, O_RDWR, (fd) => {
          const wrote = this.#write(fd, step, offset!, length!);
          return wrote < 0 ? wrote : this.#do(() => vfs.fdatasync(task, fd));
        });
      case "fdatasync":
        return this.#onFile(path, O_RDWR, (fd) => this.#do(() => vfs.fdatasync(task, fd)));
      case "fsync":
        return this.#onFile(path, this.#isDirectory(path) ? O_RDONLY | O_DIRECTORY : O_RDWR, (fd) =>
          this.#do(() => vfs.fsync(task, fd)),
        );
      default:
        return this.#do(() => vfs.sync(task));
    }
  }

  #isDirectory(path: string): boolean {
    return path === ROOT_DIR || this.tree.find(path)?.kind === "dir";
  }

  #onFile(path: string, flags: number, work: (fd: number) => number): number {
    const vfs = this.#vfs;
    const fd = this.#do(() => vfs.open(this.#task, at(path), flags, 0o777));
    if (fd < 0) return fd;
    const result = work(fd);
    const closed = this.#do(() => vfs.close(this.#task, fd));
    return result < 0 ? result : closed;
  }

  #write(fd: number, step: number, offset: number, length: number): number {
    const bytes = pattern(step, offset, length);
    for (let done = 0; done < length;) {
      const wrote = this.#do(() => this.#vfs.pwrite(this.#task, fd, bytes.subarray(done), offset + done));
      if (wrote < 0) return wrote;
      assert(wrote > 0, "runWorkload: a write that writes nothing");
      done += wrote;
    }
    return length;
  }

  /** The same on the model. */
  #note({ op, path, to, offset, length, mode }: AceCall, step: number): void {
    const { tree } = this;
    const file = (): ModelNode => tree.find(path)!;
    switch (op) {
      case "creat":
        return void tree.make(step, path, "file");
      case "mkdir":
        return void tree.make(step, path, "dir");
      case "rmdir":
      case "unlink":
      case "remove":
        return tree.remove(step, path);
      case "link":
        return tree.link(step, path, to!);
      case "rename":
        return tree.move(step, path, to!);
      case "truncate":
        return tree.resize(step, file(), length!);
      case "fsetxattr":
        return tree.setXattr(step, file(), XATTR.slice(5), Buffer.from(pattern(step, 0, 24)).toString("latin1"));
      case "removexattr":
        return tree.setXattr(step, file(), XATTR.slice(5), undefined);
      case "write":
      case "dwrite":
      case "mmapwrite":
        return tree.write(step, file(), offset!, pattern(step, offset!, length!));
      case "falloc":
        return this.#allocated(file(), step, mode!, offset!, length!);
      default:
    }
  }

  #allocated(node: ModelNode, step: number, mode: number, offset: number, length: number): void {
    const KEEP_SIZE = 1;
    const before = this.tree.content(node);
    const size = (mode & KEEP_SIZE) === 0 ? Math.max(before.length, offset + length) : before.length;
    const content = new Uint8Array(size);
    content.set(before);
    // Punching a hole and zeroing a range both read as zeroes afterwards.
    if ((mode & ~KEEP_SIZE) !== 0) content.fill(0, offset, Math.min(size, offset + length));
    this.tree.setContent(step, node, content);
  }
}

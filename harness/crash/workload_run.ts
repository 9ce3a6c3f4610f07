/**
 * A workload carried out on our ext4, on a disk that records: the recording, and the model of what was promised. The
 * file system is a bare one (kernel/fs/bare_fs.ts) under a VFS; the recording ends as a crash does, without unmounting.
 *
 * - crashBase(options)           an image to start from; one for thousands of runs
 * - runWorkload(base, calls, options)
 * - runRecovery(run, options)    the mount after a crash at the end of such a run, recorded in its turn
 *
 * Nothing here runs for ever: a call or a recovery that goes on and on is given up with NoEnd.
 */
import type { BlockDevice } from "../../kernel/abi/block.ts";
import { O_CREAT, O_DIRECT, O_DIRECTORY, O_EXCL, O_RDONLY, O_RDWR } from "../../kernel/abi/fcntl.ts";
import { assert } from "../../kernel/lib/assert.ts";
import { growingArena } from "../../kernel/lib/growing_arena.ts";
import { bareFs, Checker, imageOf, isRefusal, makeExt4, mountOptions, Vfs } from "../../kernel/index.ts";
import type { BareFs, BlockImage, DataMode, Features, MountOptions, Super } from "../../kernel/index.ts";
import { nanos, NS_PER_SEC } from "../../kernel/abi/units.ts";
import { UserError } from "../cli/exit.ts";
import { SparseDisk } from "../disk/sparse.ts";
import type { LogEntry } from "../nbd/log.ts";
import { RecordingDisk } from "../nbd/record.ts";
import type { AceCall } from "./ace.ts";
import { LateDisk, SLOW_POLLS } from "./late_disk.ts";
import type { SlowSpot } from "./late_disk.ts";
import { ModelTree } from "./model_tree.ts";
import type { ModelNode } from "./model_tree.ts";
import { markText, ModelPromises } from "./promises_model.ts";
import type { Mark } from "./promises_model.ts";
import { recordedOf } from "./recorded.ts";
import type { Recorded } from "./recorded.ts";
import type { Promises } from "./verdict.ts";

export interface BaseOptions {
  readonly sizeBytes: number;
  readonly blockSize: number;
  readonly journalBytes: number;
  readonly features?: Features;
  /** Blocks that our ext4 keeps in memory; missing: by the size of the disk. */
  readonly buffers?: number;
}

export interface WorkloadOptions {
  readonly data: DataMode;
  /** Further mount options, as text. */
  readonly mount: string;
  /** Seed of a disk that ends its requests late and in any order; missing: all end at once. */
  readonly late?: number;
  /** Of such a disk: a spot that is very slow, and whether its flushes are recorded where they have ended (nbd/record.ts). */
  readonly slowSpot?: SlowSpot;
  readonly flushAt?: "submit" | "end";
  /** Calls that had been carried out, and the disk unmounted, before the recording begins. */
  readonly before?: readonly AceCall[];
}

export interface WorkloadRun {
  readonly recorded: Recorded;
  /** What the disk recorded, as it came. */
  readonly entries: readonly LogEntry[];
  readonly promises: Promises;
  /** Calls that failed: none may, unless the disk was full. */
  readonly failed: readonly string[];
  /** Fast commits that were written. */
  readonly fastCommits: number;
}

const XATTR = "user.orrery";
const ROOT_DIR = "/";
const IDLE_SEC = 60;
const STILL_POLLS = SLOW_POLLS + 4;
/** Steps of the file system in one call, one recovery, or until nothing moves: many times more than any of ours takes. */
const STEPS_MAX = 200_000;

/** What comes before the recording does not work by itself: such a workload shows nothing. */
export class Unprepared extends Error {}

/** What ought to have ended did not. */
export class NoEnd extends Error {
  constructor(what: string) {
    super(`${what} does not end: it went on for ${STEPS_MAX} steps`);
  }
}

export interface CrashBase {
  readonly image: Uint8Array;
  readonly disk: SparseDisk;
  readonly buffers?: number;
}

export function crashBase(options: BaseOptions): CrashBase {
  const fixed = new Uint8Array(16).map((_, at) => at + 1);
  const made = makeExt4({ ...options, uuid: fixed, hashSeed: fixed, now: 0 });
  if (isRefusal(made)) throw new UserError(`there is no such file system: ${made.reason}`);
  const blocks = imageOf(made);
  soil(blocks, made.sb);
  const image = blocks.bytes.slice(0, blocks.count * blocks.blockSize);
  const disk = new SparseDisk(image.length);
  disk.writeAt(0, image);
  return { image, disk, ...(options.buffers === undefined ? {} : { buffers: options.buffers }) };
}

/** Free blocks hold what nobody wrote, as on a disk that has been used: a file that shows it shows stale data. */
function soil(image: BlockImage, sb: Super): void {
  const checker = new Checker();
  assert(checker.run(image, sb).clean, "crashBase: a new file system is damaged");
  const { owner } = checker.state!;
  for (let block = sb.firstDataBlock; block < sb.blocksCount; block++) {
    if (owner[Math.floor((block - sb.firstDataBlock) / 2 ** sb.clusterBits)] !== 0) continue;
    const at = block * sb.blockSize;
    image.bytes.fill(SOIL, at, at + sb.blockSize);
  }
}
const SOIL = 0xee;

/** The first bytes of the journal's own blocks. */
const MAGIC = [0xc0, 0x3b, 0x39, 0x98];
const MAGIC_EVERY = 1024;

/** Bytes that no other call writes anywhere: a word for the call, a word for the place. */
function pattern(step: number, offset: number, length: number, magic = false): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) {
    const place = offset + at;
    const word = (place & 4) === 0 ? step + 0x5a000000 : (place >>> 3) ^ 0x00c3a500;
    bytes[at] = (word >>> (8 * (place & 3))) & 0xff;
    if (magic && place % MAGIC_EVERY < MAGIC.length) bytes[at] = MAGIC[place % MAGIC_EVERY]!;
  }
  return bytes;
}

/** The disk under a file system, and what happened to it. */
function recorder(
  disk: SparseDisk,
  { late, slowSpot, flushAt }: WorkloadOptions,
): { readonly device: RecordingDisk; readonly entries: LogEntry[] } {
  const entries: LogEntry[] = [];
  const sink = {
    // Buffers are used again: what was written is kept by its bytes.
    append: (entry: LogEntry): void => void entries.push({ ...entry, data: entry.data?.slice() }),
    get count() {
      return entries.length;
    },
    close: () => undefined,
  };
  const below = late === undefined ? disk : new LateDisk(disk, late, slowSpot);
  return { device: new RecordingDisk(below, sink, () => 0, flushAt), entries };
}

function parsedOptions({ data, mount }: WorkloadOptions): MountOptions {
  const options = mountOptions([`data=${data}`, mount].filter((word) => word !== "").join(","));
  if (typeof options === "string") throw new UserError(options);
  return options;
}

function mounted(
  device: BlockDevice,
  buffers: number | undefined,
  options: WorkloadOptions,
  clock: Float64Array,
): BareFs {
  const bare = bareFs({
    device,
    mount: parsedOptions(options),
    now: () => nanos(clock[0]!),
    ...(buffers === undefined ? {} : { buffers }),
  });
  if (isRefusal(bare)) throw new UserError(`our ext4 does not mount: ${bare.reason}`);
  return bare;
}

export function runWorkload(base: CrashBase, calls: readonly AceCall[], options: WorkloadOptions): WorkloadRun {
  const clock = new Float64Array(1);
  const { before = [] } = options;
  const tree = new ModelTree();
  const disk = base.disk.snapshot();
  let { image } = base;
  const failed: string[] = [];
  if (before.length > 0) {
    failed.push(...prepare(mounted(disk, base.buffers, options, clock), before, clock, tree));
    image = new Uint8Array(image.length);
    disk.readAt(0, image);
  }
  const { device, entries } = recorder(disk, options);
  const bare = mounted(device, base.buffers, options, clock);
  const runner = new Runner(bare, (text) => device.mark(text), clock, tree, before.length);
  for (const call of calls) runner.call(call);
  runner.end();
  failed.push(...runner.failed);
  const recorded = recordedOf(image, entries, "the recording");
  const promises = new ModelPromises(tree, runner.marks, options.data, before.length);
  return { recorded, entries, promises, failed, fastCommits: bare.fs.fastCommits };
}

/** Calls that failed. */
function prepare(bare: BareFs, calls: readonly AceCall[], clock: Float64Array, tree: ModelTree): readonly string[] {
  const runner = new Runner(bare, () => undefined, clock, tree, 0);
  try {
    for (const call of calls) runner.call(call);
    assert(bare.unmount() === 0, "runWorkload: what comes before the recording does not unmount");
  } catch (error) {
    throw new Unprepared(error instanceof Error ? error.message : String(error));
  }
  return runner.failed;
}

export function runRecovery(run: WorkloadRun, options: WorkloadOptions): WorkloadRun {
  const image = run.recorded.base.slice();
  for (const { offset, length, data } of run.recorded.writes)
    if (data === undefined) image.fill(0, offset, offset + length);
    else image.set(data, offset);
  const disk = new SparseDisk(image.length);
  disk.writeAt(0, image);
  const { device, entries } = recorder(disk, options);
  const bare = bareFs({ device, mount: parsedOptions(options) });
  if (isRefusal(bare)) throw new UserError(`our ext4 does not mount after a crash: ${bare.reason}`);
  for (let steps = 0; bare.fs.step(); steps++) if (steps >= STEPS_MAX) throw new NoEnd("what a mount begins");
  const all = run.recorded.markers.length;
  const promises: Promises = { broken: (state, sb) => run.promises.broken(state, sb, all) };
  const recorded = recordedOf(image, entries, "the recording of a recovery");
  return { recorded, entries, promises, failed: [], fastCommits: run.fastCommits };
}

const at = (name: string): string => (name === ROOT_DIR ? name : `/${name}`);

class Runner {
  readonly marks: Mark[] = [];
  readonly failed: string[] = [];
  readonly #vfs: Vfs;
  readonly #bare: BareFs;
  readonly #tree: ModelTree;
  readonly #tell: (text: string) => void;
  readonly #task: number;
  readonly #clock: Float64Array;
  #step: number;
  /** Bytes that the present write has written. */
  #partial = 0;

  /** Its first call is the one after call `step` of the tree. */
  constructor(bare: BareFs, tell: (text: string) => void, clock: Float64Array, tree: ModelTree, step: number) {
    this.#clock = clock;
    this.#bare = bare;
    this.#tell = tell;
    this.#tree = tree;
    this.#step = step;
    this.#vfs = new Vfs({ memory: growingArena(), now: () => nanos(clock[0]!) });
    this.#vfs.reset();
    this.#vfs.mountRoot(this.#vfs.attachFs(bare.fs));
    this.#task = this.#vfs.newTask({ uid: 0, gid: 0 });
  }

  #mark(mark: Mark): void {
    this.marks.push(mark);
    this.#tell(markText(mark));
  }

  /** A call that waits is made again after each step. */
  #do(what: () => number): number {
    let tries = 0;
    return this.#bare.run(() => {
      if (++tries > STEPS_MAX) throw new NoEnd("a call");
      return what();
    });
  }

  /** What is in flight goes on a little, as it would behind the last call's back. */
  end(): void {
    this.#settle();
  }

  /** Until nothing moves for a while: a late disk may have nothing to say at one poll. */
  #settle(): void {
    for (let still = 0, steps = 0; still < STILL_POLLS; still++, steps++) {
      if (steps >= STEPS_MAX) throw new NoEnd("what goes on behind the calls");
      if (this.#bare.fs.step()) still = 0;
    }
  }

  /** A minute: the journal commits, data are written back, what was committed goes home. */
  #idle(): number {
    for (let second = 0; second < IDLE_SEC; second++) {
      this.#clock[0]! += NS_PER_SEC;
      this.#settle();
    }
    return 0;
  }

  call(call: AceCall): void {
    const step = ++this.#step;
    this.#partial = 0;
    this.#mark({ step, kind: "begin" });
    const node = this.#tree.find(call.path);
    const result = this.#carryOut(call, step);
    if (result < 0) {
      // A disk that fills up takes the first part of a write.
      if (this.#partial > 0)
        this.#tree.write(step, node!, call.offset!, pattern(step, call.offset!, this.#partial, call.magic));
      this.failed.push(`${call.op} ${call.path}${call.to === undefined ? "" : ` ${call.to}`}: ${result}`);
      this.#mark({ step, kind: "done" });
      return;
    }
    this.#note(call, step);
    this.#mark(this.#promise(call, step, node));
  }

  #promise({ op, path }: AceCall, step: number, node: ModelNode | undefined): Mark {
    if (op === "sync") return { step, kind: "sync" };
    if ((op === "fsync" || op === "fdatasync") && this.#isDirectory(path)) return { step, kind: "commit" };
    if (op === "fsync") return { step, kind: "fsync", node: node!.id };
    if (op === "fdatasync" || op === "mmapwrite") return { step, kind: "fdatasync", node: node!.id };
    return { step, kind: "done" };
  }

  #carryOut({ op, path, to, offset, length, mode, magic }: AceCall, step: number): number {
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
        return this.#onFile(path, O_RDWR, (fd) => this.#write(fd, pattern(step, offset!, length!, magic), offset!));
      case "dwrite":
        return this.#onFile(path, O_RDWR | O_DIRECT, (fd) => this.#write(fd, pattern(step, offset!, length!), offset!));
      case "mmapwrite":
        // A mapping's pages are the page cache's, and msync(MS_SYNC) of them is fdatasync.
        return this.#onFile(path, O_RDWR, (fd) => {
          const wrote = this.#write(fd, pattern(step, offset!, length!), offset!);
          return wrote < 0 ? wrote : this.#do(() => vfs.fdatasync(task, fd));
        });
      case "fdatasync":
      case "fsync":
        return this.#onFile(path, this.#isDirectory(path) ? O_RDONLY | O_DIRECTORY : O_RDWR, (fd) =>
          this.#do(() => vfs[op](task, fd)),
        );
      case "idle":
        return this.#idle();
      case "hold":
        return Math.min(
          0,
          this.#do(() => vfs.open(task, at(path), O_RDWR)),
        );
      default:
        return this.#do(() => vfs.sync(task));
    }
  }

  #isDirectory(path: string): boolean {
    return path === ROOT_DIR || this.#tree.find(path)?.kind === "dir";
  }

  #onFile(path: string, flags: number, work: (fd: number) => number): number {
    const vfs = this.#vfs;
    const fd = this.#do(() => vfs.open(this.#task, at(path), flags, 0o777));
    if (fd < 0) return fd;
    const result = work(fd);
    const closed = this.#do(() => vfs.close(this.#task, fd));
    return result < 0 ? result : closed;
  }

  #write(fd: number, bytes: Uint8Array, offset: number): number {
    for (let done = 0; done < bytes.length;) {
      const wrote = this.#do(() => this.#vfs.pwrite(this.#task, fd, bytes.subarray(done), offset + done));
      if (wrote < 0) return wrote;
      assert(wrote > 0, "runWorkload: a write that writes nothing");
      done += wrote;
      this.#partial = done;
    }
    return bytes.length;
  }

  /** The same on the model. */
  #note({ op, path, to, offset, length, mode, magic }: AceCall, step: number): void {
    const tree = this.#tree;
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
        return tree.write(step, file(), offset!, pattern(step, offset!, length!, magic));
      case "falloc":
        return this.#allocated(file(), step, mode!, offset!, length!);
      default:
    }
  }

  #allocated(node: ModelNode, step: number, mode: number, offset: number, length: number): void {
    const KEEP_SIZE = 1;
    const before = this.#tree.content(node);
    const size = (mode & KEEP_SIZE) === 0 ? Math.max(before.length, offset + length) : before.length;
    const content = new Uint8Array(size);
    content.set(before);
    // Punching a hole and zeroing a range both read as zeroes afterwards.
    if ((mode & ~KEEP_SIZE) !== 0) content.fill(0, offset, Math.min(size, offset + length));
    this.#tree.setContent(step, node, content);
  }
}

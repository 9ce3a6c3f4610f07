/**
 * Damaged and hostile ext4 images into everything that reads them: readSuper, recover by both policies, the checker, and
 * a walk over directories, files, links, attributes and paths. Whatever comes: nothing throws, each case ends in bounded
 * time, reports stay short, and
 *
 * - a refusal changes nothing and says why, in one line
 * - what the checker calls clean can be walked and read without an error, and every name is found by its hash
 * - after recovery the log is empty: a second one replays nothing
 */
import {
  BlockImage,
  Checker,
  blockArea,
  ext4DirLayout,
  ext4Inode,
  ext4Layout,
  ibodyArea,
  inodeAt,
  isRefusal,
  lookup,
  readFile,
  readLink,
  readSuper,
  recover,
  resolve,
  walkDir,
  walkXattrs,
} from "../kernel/index.ts";
import type { CheckReport, Policy, Refusal, Super } from "../kernel/index.ts";
import { nextBelow, prng } from "../kernel/lib/prng.ts";
import { ABSENT_NAME, DamagedImage, SMALL_IMAGES } from "../harness/index.ts";
import type { FuzzResult, FuzzTarget } from "./target.ts";

const { SUPER_OFFSET, S_IFDIR, S_IFLNK, S_IFREG, INO_ROOT } = ext4Layout;
const { DIRENT } = ext4DirLayout;

/** Of this thread's own time: a case takes some milliseconds, whatever else the machine does. */
const CASE_MS_MAX = 3000;
const DAMAGES_MAX = 3;
/** What a walk looks at, so that a case stays short whatever the damage is. */
const INODES_MAX = 400;
const NAMES_MAX = 2000;
const READ_BYTES = 8192;
const NOW = 1_800_000_000;
const POLICIES: readonly Policy[] = ["kernel", "e2fsck"];
const TEXT_MAX = 300;
const REPORT_MAX = 200;
const PROGRESS_EVERY = 64;
const PATHS = ["/a/b/c/up/a/b/c/up/a/short", "a/long", "wide/../tree/d1/moved", "a/./b/../f1/x", ""].map((path) =>
  new TextEncoder().encode(path),
);

type Check = (image: BlockImage, sb: Super) => CheckReport;

/** Everything that can be reached; undefined when no error came up. */
class Walk {
  readonly #image: BlockImage;
  readonly #sb: Super;
  readonly #seen = new Set<number>();
  readonly #buffer = new Uint8Array(READ_BYTES);
  #names = 0;
  fault: string | undefined;

  constructor(image: BlockImage, sb: Super) {
    this.#image = image;
    this.#sb = sb;
  }

  run(): string | undefined {
    const queue = [INO_ROOT];
    for (let n = 0; n < queue.length && n < INODES_MAX; n++) this.#inode(queue[n]!, queue);
    for (const path of PATHS) {
      resolve(this.#image, this.#sb, path, true);
      resolve(this.#image, this.#sb, path, false);
    }
    return this.fault;
  }

  #error(text: string): void {
    this.fault ??= text;
  }

  #inode(ino: number, queue: number[]): void {
    const [image, sb] = [this.#image, this.#sb];
    const at = inodeAt(image, sb, ino);
    if (at < 0) return this.#error(`inode ${ino} is not there`);
    const type = ext4Inode.inodeType(image.view, at);
    this.#attributes(ino, at);
    if (type === S_IFDIR) this.#directory(ino, at, queue);
    else if (type === S_IFREG) this.#file(ino, at);
    else if (type === S_IFLNK && typeof readLink(image, sb, at) === "number") this.#error(`link ${ino} has no target`);
  }

  #attributes(ino: number, at: number): void {
    const [image, sb] = [this.#image, this.#sb];
    const { view } = image;
    const inside = ibodyArea(view, sb, at);
    if (inside !== undefined && !walkXattrs(view, inside, () => true)) this.#error(`attributes in inode ${ino}`);
    const block = image.at(ext4Inode.inodeFileAcl(sb, view, at));
    if (ext4Inode.inodeFileAcl(sb, view, at) === 0 || block < 0) return;
    if (!walkXattrs(view, blockArea(sb, block), () => true)) this.#error(`attributes of inode ${ino}`);
  }

  #directory(ino: number, at: number, queue: number[]): void {
    const [image, sb] = [this.#image, this.#sb];
    const names: { name: Uint8Array; child: number }[] = [];
    const ended = walkDir(image, sb, at, {
      entry: (entry, child, length) => {
        const name = image.bytes.slice(entry + DIRENT.bytes, entry + DIRENT.bytes + length);
        names.push({ name, child });
        return ++this.#names < NAMES_MAX;
      },
    });
    if (ended !== 0) this.#error(`directory ${ino}: ${ended}`);
    for (const [n, { name, child }] of names.entries()) {
      if (n < 40 && lookup(image, sb, at, name) !== child) this.#error(`a name of directory ${ino} is not found`);
      if (this.#seen.has(child)) continue;
      this.#seen.add(child);
      queue.push(child);
    }
    if (lookup(image, sb, at, ABSENT_NAME) > 0) this.#error(`directory ${ino} has a name that nobody gave`);
  }

  #file(ino: number, at: number): void {
    const size = ext4Inode.inodeSizeBytes(this.#sb, this.#image.view, at);
    for (const from of [0, Math.floor(size / 2), Math.max(0, size - READ_BYTES)]) {
      const got = readFile(this.#image, this.#sb, at, from, this.#buffer);
      if (got < 0) return this.#error(`file ${ino} at ${from}: ${got}`);
    }
  }
}

const isOneLine = ({ reason }: Refusal): boolean =>
  reason.length > 0 && reason.length < TEXT_MAX && !reason.includes("\n");

/** What is wrong with how an image was taken, or undefined. */
function judge(bytes: Uint8Array, deviceBytes: number, check: Check): string | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const sb = readSuper(view, SUPER_OFFSET, deviceBytes);
  if (isRefusal(sb)) return isOneLine(sb) ? undefined : `readSuper() gave as reason: ${sb.reason}`;
  const image = new BlockImage(bytes, sb.blockSize, sb.blocksCount);
  const raw = checked(image, sb, check, "as it is");
  if (raw !== undefined) return raw;
  for (const policy of POLICIES) {
    const mark = image.mark();
    const done = recover(image, sb, { policy, now: NOW });
    if (isRefusal(done)) {
      if (!isOneLine(done)) return `recover() by ${policy} gave as reason: ${done.reason}`;
      if (image.changed().length > 0) return `recover() by ${policy} refused, and changed something`;
    } else {
      const after = checked(image, done.sb, check, `recovered by ${policy}`);
      if (after !== undefined) return after;
      const again = recover(image, done.sb, { policy, now: NOW });
      // What the log brought home may itself be damage that is refused now.
      if (!isRefusal(again) && (again.replay?.replayed ?? 0) > 0)
        return `a second recover() by ${policy} replayed blocks`;
    }
    image.rollback(mark);
  }
  return undefined;
}

function checked(image: BlockImage, sb: Super, check: Check, when: string): string | undefined {
  const report = check(image, sb);
  if (report.damage.length > REPORT_MAX) return `the report ${when} has ${report.damage.length} lines`;
  if (report.clean !== (report.damage.length === 0)) return `the report ${when} is clean, and has damage`;
  const fault = new Walk(image, sb).run();
  if (report.clean && fault !== undefined) return `the checker calls it clean ${when}: ${fault}`;
  return undefined;
}

/** Both forms of each image: as Linux left it, and recovered. */
const images = new Map<string, DamagedImage>();
function imageOf(state: Int32Array): DamagedImage {
  const name = SMALL_IMAGES[nextBelow(state, SMALL_IMAGES.length)]!;
  const recovered = nextBelow(state, 2) === 0;
  const key = `${name} ${recovered}`;
  let found = images.get(key);
  if (found === undefined) images.set(key, (found = new DamagedImage(name, recovered)));
  return found;
}

function runCase(seed: number, check: Check): string | undefined {
  const state = prng(seed);
  const damaged = imageOf(state);
  const { scratch } = damaged;
  const told: string[] = [];
  for (let n = 1 + nextBelow(state, DAMAGES_MAX); n > 0; n--) told.push(damaged.damage(state));
  const isCut = nextBelow(state, 50) === 0;
  const deviceBytes = isCut ? SUPER_OFFSET + 1024 + nextBelow(state, scratch.sizeBytes) : scratch.sizeBytes;
  const start = process.threadCpuUsage();
  let message: string | undefined;
  try {
    message = judge(scratch.bytes, Math.min(deviceBytes, scratch.sizeBytes), check);
  } catch (error) {
    message = `it threw ${error instanceof Error ? error.message : String(error)}`;
  }
  const { user } = process.threadCpuUsage(start);
  const ms = user / 1000;
  scratch.restore();
  if (message === undefined && ms > CASE_MS_MAX) message = `it took ${Math.round(ms)} ms`;
  return message === undefined ? undefined : `${message} (${told.join("; ")})`;
}

function campaign(seed: number, runs: number, check: Check, progress: (done: number) => void): FuzzResult {
  for (let k = 0; k < runs; k++) {
    const message = runCase(seed + k, check);
    if (message !== undefined) return { runs: k + 1, failure: { seed: seed + k, message } };
    if (k % PROGRESS_EVERY === 0) progress(k);
  }
  progress(runs);
  return { runs };
}

const checker = new Checker();

export const target: FuzzTarget = {
  name: "ext4_image",
  help: "damaged ext4 images into recovery, checker and reader",
  run: (seed, runs, progress) => campaign(seed, runs, (image, sb) => checker.run(image, sb), progress),
  /** A checker that is content with everything: files that cannot be read must give it away. */
  canary: (seed) =>
    campaign(
      seed,
      2000,
      (image, sb) => ({ ...checker.run(image, sb), clean: true, damage: [], counts: new Map() }),
      () => undefined,
    ),
};

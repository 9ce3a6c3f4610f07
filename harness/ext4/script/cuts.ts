/**
 * A script on ext4, cut off after every single write of the device: each prefix of what was written is recovered, checked,
 * and asked for what was promised. States are tables over one image with all versions of its blocks (block_image.ts).
 *
 * - cutAll(options)      how many states there were, and the first that is wrong
 */
import { Checker, BlockImage, isRefusal, readSuper, recover, ext4Layout } from "../../../kernel/index.ts";
import type { Policy } from "../../../kernel/index.ts";
import { assert } from "../../../kernel/lib/assert.ts";
import { manifestEntries } from "../tree.ts";
import { ModelTree } from "./model.ts";
import { scriptLine } from "./op.ts";
import type { Op } from "./op.ts";
import { PromiseBook } from "./promises.ts";
import { Workload, emptyImage } from "./workload.ts";
import type { DataMode, FeatureSet } from "./workload.ts";

export interface CutOptions {
  readonly features: FeatureSet;
  readonly mode: DataMode;
  readonly ops: readonly Op[];
  /** Each state is recovered in these ways. */
  readonly policies: readonly Policy[];
  /** The disk forgets every write of so many: for a canary. */
  readonly forgetOneIn?: number;
  /** A state that was found good, before the next one: its bytes are those of image.at(). */
  readonly sample?: (image: BlockImage, cut: number) => void;
}

export interface CutResult {
  readonly states: number;
  readonly wrong: string | undefined;
}

/** Room for the private copies of one recovery. */
const PRIVATE_BLOCKS = 6000;
const RECOVERED_SEC = 1_785_000_000;

export function cutAll(options: CutOptions): CutResult {
  const { features, mode, ops } = options;
  const workload = new Workload({ features, mode, log: true });
  const log = workload.disk.log!;
  const ends: number[] = [];
  for (const op of ops) {
    const message = workload.apply(op);
    if (message !== undefined) return { states: 0, wrong: message };
    ends.push(log.length);
  }
  return play(options, log, ends, workload);
}

function play(
  { features, ops, policies, forgetOneIn, sample }: CutOptions,
  log: NonNullable<Workload["disk"]["log"]>,
  ends: readonly number[],
  ran: Workload,
): CutResult {
  const base = emptyImage(features);
  const writes = log.filter(({ bytes }) => bytes !== undefined);
  const written = writes.reduce((sum, { bytes }) => sum + bytes!.length, 0);
  const first = readSuper(new DataView(base.buffer), ext4Layout.SUPER_OFFSET, base.length);
  assert(!isRefusal(first), "cutAll: mkfs made no file system");
  const { blockSize, blocksCount } = first;
  const buffer = new Uint8Array(base.length + written + PRIVATE_BLOCKS * blockSize);
  buffer.set(base);
  const image = new BlockImage(buffer, blockSize, blocksCount);
  const versions = writes.map(({ offset, bytes }) => {
    assert(offset % blockSize === 0 && bytes!.length % blockSize === 0, "cutAll: a write of parts of blocks");
    return Array.from({ length: bytes!.length / blockSize }, (_, n): readonly [number, number] => [
      offset / blockSize + n,
      image.addVersion(bytes!.subarray(n * blockSize, (n + 1) * blockSize)),
    ]);
  });
  const checker = new Checker();
  // The script again, on the model alone: what is promised at each state.
  const replay = new Replay(ran, ops, ends);
  let states = 0;
  let write = 0;
  for (let cut = 0; cut <= log.length; cut++) {
    if (cut > 0 && log[cut - 1]!.bytes !== undefined) {
      const lost = forgetOneIn !== undefined && write % forgetOneIn === forgetOneIn - 1;
      if (!lost) for (const [block, slot] of versions[write]!) image.point(block, slot);
      write++;
    } else if (cut > 0) continue;
    replay.to(cut);
    for (const policy of policies) {
      states++;
      const mark = image.mark();
      const wrong = judgeState(image, policy, checker, replay.book);
      if (wrong === undefined) sample?.(image, cut);
      image.rollback(mark);
      if (wrong !== undefined)
        return { states, wrong: `${policy}, after ${cut} of ${log.length} records, in "${replay.words}": ${wrong}` };
    }
  }
  return { states, wrong: undefined };
}

/** Promises beside the log: operation n is under way from the record where the one before ended. */
class Replay {
  readonly book: PromiseBook;
  readonly #ends: readonly number[];
  readonly #ops: readonly Op[];
  readonly #model = new ModelTree();
  readonly #apply: (op: Op) => number;
  #begun = 0;
  #pending: number | undefined;

  constructor(ran: Workload, ops: readonly Op[], ends: readonly number[]) {
    this.#ops = ops;
    this.#ends = ends;
    this.#apply = (op) => ran.modelResult(this.#model, op);
    this.book = new PromiseBook(this.#model);
    this.#begin();
  }

  #begin(): void {
    const op = this.#ops[this.#begun];
    if (op === undefined) return;
    this.#pending = this.#apply(op);
    this.book.begin(op);
  }

  to(cut: number): void {
    while (this.#begun < this.#ops.length && this.#ends[this.#begun]! <= cut) {
      this.book.end(this.#ops[this.#begun]!, this.#pending!);
      this.#begun++;
      this.#begin();
    }
  }

  get words(): string {
    const op = this.#ops[this.#begun];
    return op === undefined ? "the end" : scriptLine(op).slice(0, 100);
  }
}

const superAt = (image: BlockImage): number =>
  image.blockSize === 1024 ? image.at(1) : image.at(0) + ext4Layout.SUPER_OFFSET;

function judgeState(image: BlockImage, policy: Policy, checker: Checker, book: PromiseBook): string | undefined {
  const sb = readSuper(image.view, superAt(image), image.count * image.blockSize);
  if (isRefusal(sb)) return sb.reason;
  const done = recover(image, sb, { policy, now: RECOVERED_SEC });
  if (isRefusal(done)) return `refused: ${done.reason}`;
  if (done.damage.length > 0) return `recovery: ${done.damage[0]}`;
  const after = readSuper(image.view, superAt(image), image.count * image.blockSize);
  if (isRefusal(after)) return `after recovery: ${after.reason}`;
  const { clean, damage } = checker.run(image, after);
  if (!clean) return `the checker: ${damage[0]!.text}`;
  const tree = new Map(manifestEntries(image, after).filter(([path]) => path !== "lost+found"));
  return book.broken(tree);
}

/**
 * The journal, two ways. A case is either
 *
 *   - a random rig (jbd2_rig.ts): calls, commits, checkpoints and crashes; what is recovered is compared with a model
 *   - or a hostile log: a valid one is damaged here and there, its superblock among it, and recovered. It must end, within
 *     its budget and without an exception; a second recovery of the same bytes gives the same; an error comes with a
 *     reason; and it has changed no more blocks than it says
 */
import { be32, setBe32 } from "../kernel/lib/bytes.ts";
import { jbd2Layout } from "../kernel/index.ts";
import { nextBelow, prng } from "../kernel/lib/prng.ts";
import {
  BLOCK,
  DISK_BLOCKS,
  JOURNAL_AT,
  JOURNAL_BLOCKS,
  JournalRig,
  recovered,
  rigOptions,
  runRig,
} from "./jbd2_rig.ts";
import type { FuzzResult, FuzzTarget } from "./target.ts";

const { JBD2_MAGIC, JSB } = jbd2Layout;
const STEPS = 300;
const DAMAGES_MAX = 12;
/** One case in so many is a rig: a hostile log takes a tenth of the time. */
const RIG_ONE_IN = 4;

/** A log with some transactions in it, cut off somewhere. */
function validLog(seed: number): Uint8Array {
  const rig = new JournalRig({ ...rigOptions(seed), slow: false, shuffled: false, moveEvery: 0 });
  for (let n = 0; n < 120; n++) rig.step();
  return rig.crash();
}

/** Blocks of the journal that begin as blocks of a log do, its superblock first. */
function logBlocks(image: Uint8Array): number[] {
  const view = new DataView(image.buffer, image.byteOffset);
  const found: number[] = [];
  for (let n = 0; n < JOURNAL_BLOCKS; n++)
    if (be32(view, (JOURNAL_AT + n) * BLOCK) === JBD2_MAGIC) found.push(JOURNAL_AT + n);
  return found;
}

function damage(image: Uint8Array, random: Int32Array): void {
  const below = (bound: number): number => nextBelow(random, bound);
  const view = new DataView(image.buffer, image.byteOffset);
  const blocks = logBlocks(image);
  for (let left = 1 + below(DAMAGES_MAX); left > 0; left--) {
    const block = blocks[below(blocks.length)]! * BLOCK;
    const words = [0, 1, 2, 3, 4, 0x7fffffff, 0x80000000, 0xffffffff, JBD2_MAGIC, BLOCK, JOURNAL_BLOCKS, DISK_BLOCKS];
    const word = below(3) === 0 ? below(2 ** 32) : words[below(words.length)]!;
    switch (below(6)) {
      case 0:
        setBe32(view, block + 4 * below(8), word);
        break;
      case 1:
        setBe32(view, block + 4 * below(BLOCK / 4), word);
        break;
      case 2:
        image[block + below(BLOCK)]! ^= 1 << below(8);
        break;
      case 3:
        // A field of the superblock.
        setBe32(view, JOURNAL_AT * BLOCK + 4 * below(24), word);
        break;
      case 4:
        // A block of the log lies elsewhere, too.
        image.copyWithin((JOURNAL_AT + below(JOURNAL_BLOCKS)) * BLOCK, block, block + BLOCK);
        break;
      default:
        // Where the log starts, or what is expected there.
        setBe32(view, JOURNAL_AT * BLOCK + (below(2) === 0 ? JSB.s_start : JSB.s_sequence), below(JOURNAL_BLOCKS + 8));
    }
  }
}

/** `lie`: a recovery that is not the same twice. */
function hostileCase(seed: number, lie: boolean): string {
  const random = prng(seed ^ 0x2545f491);
  const image = validLog(seed);
  damage(image, random);
  const once = recovered(image);
  if (lie) image[(JOURNAL_AT + 1) * BLOCK + nextBelow(random, BLOCK * 8)]! ^= 0xff;
  const again = recovered(image);
  if (typeof once === "string") return once === again ? "" : `refused with "${once}", then otherwise`;
  if (typeof again === "string") return `recovered, then refused with "${again}"`;
  const { recovery } = once;
  if (JSON.stringify(recovery) !== JSON.stringify(again.recovery)) return "two recoveries of one log differ";
  if (recovery.error !== 0 && recovery.faults.length === 0) return `errno ${recovery.error} without a reason`;
  if (recovery.replayed > JOURNAL_BLOCKS) return `${recovery.replayed} blocks came from ${JOURNAL_BLOCKS}`;
  const changed = once.image.changed();
  if (changed.length > recovery.replayed) return `${changed.length} blocks changed, ${recovery.replayed} were replayed`;
  for (const block of changed) {
    const [a, b] = [once.image.at(block), again.image.at(block)];
    for (let n = 0; n < BLOCK; n++)
      if (once.image.bytes[a + n] !== again.image.bytes[b + n]) return `two recoveries differ in block ${block}`;
  }
  return "";
}

function runCase(seed: number, lie: boolean): string {
  try {
    return seed % RIG_ONE_IN === 0 && !lie ? runRig(rigOptions(seed), STEPS) : hostileCase(seed, lie);
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  }
}

function run(
  seed: number,
  runs: number,
  progress: (done: number) => void,
  check: (seed: number) => string,
): FuzzResult {
  for (let k = 0; k < runs; k++) {
    const message = check(seed + k);
    if (message !== "") return { runs: k + 1, failure: { seed: seed + k, message } };
    progress(k + 1);
  }
  return { runs };
}

export const target: FuzzTarget = {
  name: "jbd2",
  help: "the journal cut off at random instants, and recovery of damaged logs",
  run: (seed, runs, progress) => run(seed, runs, progress, (one) => runCase(one, false)),
  /** A mount without barriers. */
  canary: (seed) =>
    run(
      seed,
      20,
      () => {},
      (one) => runRig({ ...rigOptions(one), barrier: false }, STEPS) || runCase(one, true),
    ),
};

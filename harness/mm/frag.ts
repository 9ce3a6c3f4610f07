/**
 * The mixed-lifetime experiment: what grouping by mobility and compaction do to fragmentation, on one workload that is
 * the same for all arms of a seed (orders, kinds and lifetimes are drawn before any allocator is asked).
 *
 * Per step one allocation: 5 % unmovable and 3 % reclaimable single pages that live long, the rest movable, a fifth of
 * it of order 1 or 2. Lifetimes are exponential: of the movable 15 % live long, the others short, and five times as
 * long in every other phase, a burst. About half of memory is in use between bursts, four fifths in them. Measured
 * between bursts: the unusable index at order 9, pageblocks with a page that cannot be moved, and whether huge pages can be had.
 *
 * - runFrag(seed, options)        four arms, and the naive compactor for its page moves
 * - reductions(results)           by how much an arm's index is below that of the arm with neither, with 95 % interval
 */
import type { Pfn } from "../../kernel/abi/units.ts";
import { isErr } from "../../kernel/abi/errno.ts";
import { assert } from "../../kernel/lib/assert.ts";
import { nextBelow, nextUnit, prng } from "../../kernel/lib/prng.ts";
import { noLocks } from "../../kernel/lib/lock_ops.ts";
import {
  Compaction,
  GFP,
  Kind,
  Migrate,
  PAGEBLOCK_ORDER,
  PageAlloc,
  attachReclaim,
  checkPageAlloc,
  unusableShare,
  zonesOf,
} from "../../mm/index.ts";
import { Holder } from "./holder.ts";
import { slide } from "./naive_compactor.ts";

export interface FragOptions {
  readonly frames: number;
  readonly steps: number;
  /** vm.compaction_proactiveness of the arms with compaction. */
  readonly proactiveness: number;
}

export const FRAG_DEFAULTS: FragOptions = { frames: 65_536, steps: 600_000, proactiveness: 100 };

export interface ArmResult {
  readonly arm: string;
  readonly grouping: boolean;
  readonly compaction: "off" | "on" | "naive";
  /** Means over the samples. */
  readonly unusable9: number;
  readonly pinnedBlocks: number;
  readonly freeShare: number;
  /** Huge pages had of those asked for. */
  readonly hugeSuccess: number;
  readonly pagesMoved: number;
  readonly failures: number;
  readonly samples: number;
}

const KIND_GFP = [GFP.GFP_KERNEL, GFP.GFP_HIGHUSER_MOVABLE, GFP.GFP_NOFS | GFP.__GFP_RECLAIMABLE] as const;
const PHASES = 12;
const SAMPLES_A_PHASE = 5;
/** Huge pages asked for at a sample: seven eighths of what is free could hold them. */
const HUGE_ASKED = 32;
/** kcompactd's share: frames it may move, once in so many steps. */
const COMPACT_EVERY = 20;
const COMPACT_FRAMES = 128;
/** The naive compactor rests for so many steps after a slide that moved next to nothing. */
const NAIVE_WORTH = 64;
const NAIVE_REST = 500;

export interface Workload {
  readonly kind: Uint8Array;
  readonly order: Uint8Array;
  readonly dies: Int32Array;
}

/**
 * Lifetimes are in steps, in units of half of memory's frames. With `singles` all is order 0, and what was reclaimable
 * cannot move either: what a process can make another kernel do page by page.
 */
export function workload(
  seed: number,
  { frames, steps }: { readonly frames: number; readonly steps: number },
  singles = false,
): Workload {
  const draw = prng(seed);
  const kind = new Uint8Array(steps);
  const order = new Uint8Array(steps);
  const dies = new Int32Array(steps);
  const unit = frames / 2;
  const phase = Math.ceil(steps / PHASES);
  for (let step = 0; step < steps; step++) {
    const burst = Math.floor(step / phase) % 2 === 1;
    const r = nextUnit(draw);
    let life = nextUnit(draw) < 0.3 ? 2.5 : burst ? 0.45 : 0.15;
    if (r < 0.08) {
      kind[step] = r < 0.05 || singles ? Migrate.Unmovable : Migrate.Reclaimable;
      life = 4;
    } else {
      kind[step] = Migrate.Movable;
      if (r > 0.8 && !singles) order[step] = 1 + nextBelow(draw, 2);
    }
    dies[step] = step + 1 + Math.floor(-Math.log(1 - nextUnit(draw)) * life * unit);
  }
  return { kind, order, dies };
}

/** When kcompactd, or the naive compactor, has its turn. */
export interface Rhythm {
  /** Once in so many steps. */
  readonly every: number;
  /** Frames that kcompactd may move then. */
  readonly frames: number;
}
const RHYTHM: Rhythm = { every: COMPACT_EVERY, frames: COMPACT_FRAMES };

export class Arm {
  readonly mm: PageAlloc;
  readonly holder: Holder;
  readonly compaction: Compaction | undefined;
  failures = 0;
  readonly #naive: boolean;
  #restUntil = 0;
  readonly #threshold: number;
  readonly #work: Workload;
  readonly #rhythm: Rhythm;
  /** Steps by the step at which they end: a list of chains. */
  readonly #first: Int32Array;
  readonly #next: Int32Array;
  readonly #pfn: Int32Array;

  constructor(
    work: Workload,
    mm: PageAlloc,
    kind: ArmResult["compaction"],
    proactiveness: number,
    rhythm: Rhythm = RHYTHM,
  ) {
    const steps = work.kind.length;
    this.mm = mm;
    this.holder = new Holder(mm.map.shape.frames, steps);
    this.#rhythm = rhythm;
    this.#naive = kind === "naive";
    this.#threshold = Math.max(100 - proactiveness, 5) + 10;
    this.#work = work;
    this.#first = new Int32Array(steps + 1).fill(-1);
    this.#next = new Int32Array(steps).fill(-1);
    this.#pfn = new Int32Array(steps).fill(-1);
    if (kind === "on") {
      this.compaction = attachReclaim(this.mm, { movable: this.holder }).compaction;
      this.compaction.proactiveness = proactiveness;
    }
  }

  step(step: number): void {
    const { kind, order, dies } = this.#work;
    for (let ended = this.#first[step]!; ended !== -1; ended = this.#next[ended]!) this.#end(ended);
    const pfn = this.mm.alloc(0, KIND_GFP[kind[step]!]!, order[step]!, step);
    if (isErr(pfn)) {
      this.failures++;
      return;
    }
    if (kind[step] === Migrate.Movable) this.holder.hold(pfn, step);
    else this.#pfn[step] = pfn;
    if (dies[step]! < kind.length) {
      this.#next[step] = this.#first[dies[step]!]!;
      this.#first[dies[step]!] = step;
    }
    if (step % this.#rhythm.every !== 0) return;
    this.compaction?.step(0, this.#rhythm.frames);
    if (this.#naive && step >= this.#restUntil && 100 * this.unusable() > this.#threshold)
      if (slide(this.mm, this.holder) < NAIVE_WORTH) this.#restUntil = step + NAIVE_REST;
  }

  #end(step: number): void {
    const movable = this.#work.kind[step] === Migrate.Movable;
    const pfn = movable ? this.holder.frameOf(step) : (this.#pfn[step]! as Pfn);
    if (movable) this.holder.drop(step);
    this.mm.free(0, pfn, this.#work.order[step]!);
  }

  /** Of the last zone, which is all of memory or most of it. */
  unusable(): number {
    return unusableShare(zonesOf(this.mm).at(-1)!.free, PAGEBLOCK_ORDER);
  }

  freeShare(): number {
    const free = zonesOf(this.mm)
      .at(-1)!
      .free.reduce((sum, blocks, order) => sum + blocks * 2 ** order, 0);
    return free / this.mm.map.shape.frames;
  }

  /** Pageblocks that cannot become one free block. */
  pinned(): number {
    const { state, shape } = this.mm.map;
    let blocks = 0;
    for (let start = 0; start < shape.frames; start += 1 << PAGEBLOCK_ORDER)
      for (let at = start; at < start + (1 << PAGEBLOCK_ORDER);) {
        const byte = state[at]!;
        if (byte >> 6 === Kind.Allocated && ((byte >> 4) & 3) !== Migrate.Movable) {
          blocks++;
          break;
        }
        at += byte === 0 ? 1 : 1 << (byte & 15);
      }
    return blocks;
  }

  /** Huge pages had without compacting for them, given back at once. */
  hugePages(wanted = HUGE_ASKED): number {
    const had: Pfn[] = [];
    for (let asked = 0; asked < wanted; asked++) {
      const pfn = this.mm.alloc(0, GFP.GFP_TRANSHUGE_LIGHT, PAGEBLOCK_ORDER, -2);
      if (!isErr(pfn)) had.push(pfn);
    }
    for (const pfn of had) this.mm.free(0, pfn, PAGEBLOCK_ORDER);
    return had.length;
  }
}

/** Five times in each phase between bursts, from the third phase on. */
export function isSample(step: number, steps: number): boolean {
  const phase = Math.ceil(steps / PHASES);
  const every = Math.floor(phase / (SAMPLES_A_PHASE + 1));
  return Math.floor(step / phase) % 2 === 0 && step > phase * 2 && step % every === 0;
}

function runArm(work: Workload, grouping: boolean, kind: ArmResult["compaction"], options: FragOptions): ArmResult {
  const { frames, steps, proactiveness } = options;
  const zones = [{ name: "DMA32", start: 0, end: frames }] as const;
  const arm = new Arm(work, new PageAlloc({ zones, cpus: 1, grouping, locks: noLocks }), kind, proactiveness);
  const sum = { unusable: 0, pinned: 0, free: 0, huge: 0 };
  let samples = 0;
  for (let step = 0; step < steps; step++) {
    arm.step(step);
    if (!isSample(step, steps)) continue;
    sum.unusable += arm.unusable();
    sum.pinned += arm.pinned();
    sum.free += arm.freeShare();
    sum.huge += arm.hugePages();
    samples++;
  }
  checkPageAlloc(arm.mm);
  assert(samples > 0, "runFrag: too few steps for a sample");
  const name = `${grouping ? "grouping" : "no grouping"}, ${kind === "on" ? "compaction" : kind === "off" ? "no compaction" : "naive compaction"}`;
  return {
    arm: name,
    grouping,
    compaction: kind,
    unusable9: sum.unusable / samples,
    pinnedBlocks: sum.pinned / samples,
    freeShare: sum.free / samples,
    hugeSuccess: sum.huge / (samples * HUGE_ASKED),
    pagesMoved: arm.holder.moved,
    failures: arm.failures,
    samples,
  };
}

export function runFrag(seed: number, options: FragOptions): ArmResult[] {
  const work = workload(seed, options);
  return [
    runArm(work, false, "off", options),
    runArm(work, true, "off", options),
    runArm(work, false, "on", options),
    runArm(work, true, "on", options),
    runArm(work, true, "naive", options),
  ];
}

export interface Reduction {
  readonly arm: string;
  /** Mean over seeds of 1 - index / index with neither; half-width of its 95 % interval, null for one seed. */
  readonly mean: number;
  readonly halfWidth: number | null;
}

/** Student's t, 97.5 %, by degrees of freedom 1..30; beyond: the normal's. */
const T975 = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11,
  2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042,
];

export function reductions(results: readonly (readonly ArmResult[])[]): Reduction[] {
  return results[0]!.slice(1).map(({ arm }, index) => {
    const values = results.map((arms) => 1 - arms[index + 1]!.unusable9 / arms[0]!.unusable9);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    if (values.length < 2) return { arm, mean, halfWidth: null };
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1);
    const t = T975[values.length - 2] ?? 1.96;
    return { arm, mean, halfWidth: t * Math.sqrt(variance / values.length) };
  });
}

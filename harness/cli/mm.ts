/**
 * `orrery mm`: experiments on memory.
 *
 *   index --free COUNTS   fragmentation of free memory, from the counts of a buddyinfo line
 *   replay --trace FILE   page and slab events of a real guest through our allocators
 *   frag                  the mixed-lifetime experiment: grouping and compaction, on and off
 *   guest                 the same churn in a real Linux guest and in our allocator
 *   formulas              index and watermark formulas against a real Linux guest's, digit for digit
 *   evict                 replacement policies on a trace, beside the best possible
 *   mutants               seeded bugs: does the test suite notice them?
 */
import { existsSync } from "node:fs";
import { type Command, InvalidArgumentError } from "commander";
import { registerEvict } from "./mm_evict.ts";
import { byteSize, formatOption, seedOption, wholeNumber } from "./args.ts";
import { EXIT, UserError } from "./exit.ts";
import { type Format, type Row, emit } from "./output.ts";

const SCHEMA = 1;
const ORDERS_MAX = 11;
const FRAME = 4096;
const PAGEBLOCK = 512 * FRAME;
const MEMORY_MAX = 2 ** 32;

export function register(program: Command): void {
  const mm = program.command("mm").description("Experiments on memory: fragmentation, real traces, seeded bugs.");
  registerEvict(mm);
  mm.command("index")
    .description(
      "Compute the unusable free space index and the fragmentation index of each order, in Linux's integers, from the\ncounts of free blocks by order, as /proc/buddyinfo prints them.",
    )
    .requiredOption("--free <counts>", 'free blocks of order 0, 1, ...: "6 4 6 4 3 7 9 8 6 3 8"', freeCounts)
    .addOption(formatOption("json", "csv", "md"))
    .action(indexCommand);
  mm.command("replay")
    .description(
      "Replay the page and slab events of a recorded guest through our allocators, from the state that the recording\nstarted in (FILE's .before.txt), and compare the end with the guest's own (.after.txt); and once more without\ngrouping pages by mobility.",
    )
    .requiredOption("--trace <file>", "ftrace text with events/kmem, plain or gzip")
    .option("--memory <size>", "memory of the guest", byteSize(16 * 2 ** 20, MEMORY_MAX), 256 * 2 ** 20)
    .option("--before <file>", "/proc/buddyinfo and pagetypeinfo before (default: beside the trace)")
    .option("--after <file>", "the same after (default: beside the trace)")
    .addOption(formatOption("json", "csv", "md"))
    .action(replayCommand);
  mm.command("frag")
    .description(
      "Run one workload of mixed lifetimes with grouping and compaction on and off: unusable index at order 9, pageblocks\nthat are pinned, huge pages had, pages moved; a naive compactor's moves beside it.",
    )
    .option(
      "--seeds <n>",
      "seeds to run, from --seed on: with two and more, an interval is given",
      wholeNumber(1, 1000),
      1,
    )
    .option("--memory <size>", "memory of the machine", byteSize(64 * 2 ** 20, 2 ** 30), 256 * 2 ** 20)
    .option("--proactiveness <n>", "vm.compaction_proactiveness of the arms with compaction", wholeNumber(1, 100), 100)
    .addOption(seedOption())
    .addOption(formatOption("json", "csv", "md"))
    .action(fragCommand);
  mm.command("guest")
    .description(
      "Run one churn of single pages in a real Linux guest and in our allocator from the guest's own free memory: unusable\nindex at order 9, huge pages had of those that free memory could hold (nothing is compacted for them), pages moved. Needs QEMU and a C compiler.",
    )
    .option("--memory <size>", "memory of the guest", byteSize(128 * 2 ** 20, 2 ** 31), 256 * 2 ** 20)
    .option(
      "--seconds <n>",
      "how long the guest's churn lasts: kcompactd looks twice a second",
      wholeNumber(1, 3600),
      30,
    )
    .option("--proactiveness <n>", "vm.compaction_proactiveness of both", wholeNumber(0, 100), 100)
    .addOption(seedOption())
    .addOption(formatOption("json", "csv", "md"))
    .action(guestCommand);
  mm.command("formulas")
    .description(
      "Compare what a real Linux guest says of its free memory, watermarks, reserves and per-CPU lists with what our\nformulas make of the same counts, digit for digit. Needs QEMU. Exit code 1 when a digit differs.",
    )
    .option("--memory <size>", "memory of the guest", byteSize(128 * 2 ** 20, 2 ** 31), 256 * 2 ** 20)
    .addOption(formatOption("json", "csv", "md"))
    .action(formulasCommand);
  mm.command("mutants")
    .description(
      "Put each seeded bug of the memory wing into a copy of the source tree, run its fast tests there, and report which\nbugs were noticed. Needs a checkout. Exit code 1 when one survives.",
    )
    .option("--only <numbers>", "only these, by number from 0: 3,7,12", numberList)
    .addOption(formatOption("json", "csv", "md"))
    .action(mutantsCommand);
}

function freeCounts(text: string): number[] {
  const words = text.trim().split(/[\s,]+/);
  const good = text.trim() !== "" && words.every((word) => /^\d{1,10}$/.test(word) && Number(word) <= 2 ** 32);
  if (!good || words.length > ORDERS_MAX)
    throw new InvalidArgumentError(`One to ${ORDERS_MAX} whole numbers from 0 to 2^32, smallest order first.`);
  return words.map(Number);
}

function numberList(text: string): number[] {
  const words = text.split(",");
  if (!words.every((word) => /^\d{1,4}$/.test(word))) throw new InvalidArgumentError("Whole numbers, with commas.");
  return words.map(Number);
}

async function indexCommand({ free, format }: { free: number[]; format: Format }): Promise<void> {
  const { fragmentationIndex, unusableIndex } = await import("../../mm/index.ts");
  const counts = [...free, ...Array.from({ length: ORDERS_MAX - free.length }, () => 0)];
  const unusable = counts.map((_, order) => unusableIndex(counts, order) / 1000);
  const fragmentation = counts.map((_, order) => fragmentationIndex(counts, order));
  const frames = counts.reduce((sum, blocks, order) => sum + blocks * 2 ** order, 0);
  emit(format, {
    document: { schema: SCHEMA, free: counts, freeFrames: frames, unusable, fragmentation },
    rows: counts.map((blocks, order) => ({
      order,
      free: blocks,
      unusable: unusable[order]!,
      fragmentation: fragmentation[order]!,
    })),
    notes: [
      "unusable: share of free memory that a request of this order cannot use",
      "fragmentation: -1000 it would succeed; near 0 memory is short; near 1000 memory is fragmented",
    ],
  });
}

interface ReplayOptions {
  readonly trace: string;
  readonly memory: number;
  readonly before?: string;
  readonly after?: string;
  readonly format: Format;
}

/** Free blocks by order, by zone. */
const byZone = (zones: readonly { name: string; free: readonly number[] }[]) =>
  Object.fromEntries(zones.map((zone) => [zone.name, zone.free]));

async function replayCommand(options: ReplayOptions): Promise<void> {
  const { trace, memory, format } = options;
  if (memory % PAGEBLOCK !== 0) throw new UserError(`--memory ${memory} is no whole number of pageblocks (2M)`);
  const { readKmemTrace, readText } = await import("../mm/kmem_trace.ts");
  const { replayTrace, distanceTo } = await import("../mm/replay.ts");
  const { parsePagetypeinfo } = await import("../../mm/index.ts");
  const events = readKmemTrace(trace);
  const stem = trace.replace(/(\.ftrace|\.txt)?(\.gz)?$/, "");
  const state = (given: string | undefined, suffix: string) => {
    const path = given ?? `${stem}.${suffix}.txt`;
    if (given === undefined && !existsSync(path)) return undefined;
    const zones = parsePagetypeinfo(readText(path));
    if (zones === undefined)
      throw new UserError(`${path} is no /proc/pagetypeinfo: it has no "Free pages count" table`);
    return zones;
  };
  const before = state(options.before, "before");
  const after = state(options.after, "after");
  const arms = [true, false].map((grouping) => {
    const result = replayTrace({ events, frames: memory / FRAME, before, grouping });
    return { grouping, result, distance: after === undefined ? null : distanceTo(result.end, after) };
  });
  const [grouped, plain] = [arms[0]!, arms[1]!];
  const { result } = grouped;
  const unchanged = before === undefined || after === undefined ? null : distanceTo(before, after);
  emit(format, {
    document: {
      schema: SCHEMA,
      trace,
      memory,
      events: result.events,
      pageEvents: result.pageEvents,
      slabEvents: result.slabEvents,
      failures: result.failures,
      unknownFrees: result.unknownFrees,
      unknownObjects: result.unknownObjects,
      orderHistogram: result.orderHistogram,
      before: byZone(result.start),
      after: byZone(result.end),
      linux: {
        before: before === undefined ? null : byZone(before),
        after: after === undefined ? null : byZone(after),
      },
      distance: grouped.distance,
      withoutGrouping: { after: byZone(plain.result.end), failures: plain.result.failures, distance: plain.distance },
      distanceOfDoingNothing: unchanged,
      rebuildShortfall: result.shortfall,
      unusable: result.unusable,
      fragmentation: result.fragmentation,
      series: result.series,
      peakFrames: result.peakFrames,
      checks: result.checks + plain.result.checks,
      slabs: result.slabs.filter((slab) => slab.slabs > 0),
    },
    title: `${result.events} events, ${result.failures} failures, ${result.checks} checks passed; last zone:`,
    rows: result.end.at(-1)!.free.map((blocks, order) => {
      const row: Record<string, Row[string]> = { order, requests: result.orderHistogram[order]! };
      row["before"] = result.start.at(-1)!.free[order]!;
      row["ours"] = blocks;
      row["withoutGrouping"] = plain.result.end.at(-1)!.free[order]!;
      row["linux"] = after?.at(-1)?.free[order] ?? null;
      row["unusable"] = result.unusable[order]!;
      row["fragmentation"] = result.fragmentation[order]!;
      return row;
    }),
    notes:
      grouped.distance === null
        ? ["no state after the trace is known: no distance"]
        : [
            `distance to Linux's end state: ${grouped.distance.blocks} blocks (${grouped.distance.frames} frames)`,
            `without grouping: ${plain.distance!.blocks} blocks (${plain.distance!.frames} frames)`,
          ],
  });
  if (result.failures > 0) process.exitCode = EXIT.missed;
}

interface FragCommandOptions {
  readonly seed: number;
  readonly seeds: number;
  readonly memory: number;
  readonly proactiveness: number;
  readonly format: Format;
}

async function fragCommand(options: FragCommandOptions): Promise<void> {
  const { seed, seeds, memory, proactiveness, format } = options;
  if (memory % PAGEBLOCK !== 0) throw new UserError(`--memory ${memory} is no whole number of pageblocks (2M)`);
  const { FRAG_DEFAULTS, reductions, runFrag } = await import("../mm/frag.ts");
  const { progressLine } = await import("./progress.ts");
  const frames = memory / FRAME;
  const setup = { frames, steps: Math.round((FRAG_DEFAULTS.steps * frames) / FRAG_DEFAULTS.frames), proactiveness };
  const progress = progressLine("mm frag");
  const runs = Array.from({ length: seeds }, (_, index) => {
    const arms = runFrag(seed + index, setup);
    progress.count(index + 1, seeds);
    return { seed: seed + index, arms };
  });
  progress.end();
  const mean = (arm: number, value: (one: (typeof runs)[0]["arms"][0]) => number): number =>
    runs.reduce((sum, run) => sum + value(run.arms[arm]!), 0) / seeds;
  const less = reductions(runs.map((run) => run.arms));
  const rows = runs[0]!.arms.map((arm, index) => ({
    arm: arm.arm,
    unusable9: mean(index, (one) => one.unusable9),
    lessThanNeither: index === 0 ? null : less[index - 1]!.mean,
    interval95: index === 0 ? null : less[index - 1]!.halfWidth,
    pinnedBlocks: mean(index, (one) => one.pinnedBlocks),
    hugeSuccess: mean(index, (one) => one.hugeSuccess),
    pagesMoved: mean(index, (one) => one.pagesMoved),
    failures: mean(index, (one) => one.failures),
  }));
  const ours = rows.find((row) => row.arm === "grouping, compaction")!;
  const naive = rows.find((row) => row.arm === "grouping, naive compaction")!;
  const movesToNaive = naive.pagesMoved === 0 ? null : ours.pagesMoved / naive.pagesMoved;
  emit(format, {
    document: { schema: SCHEMA, seed, seeds, ...setup, arms: rows, movesToNaive, runs },
    rows,
    notes: [
      `${seeds} seed${seeds === 1 ? "" : "s"} from ${seed}; lessThanNeither: reduction of the index against the first arm, +- interval95`,
      `pages moved, to the naive compactor's: ${movesToNaive === null ? "-" : movesToNaive.toFixed(2)}`,
    ],
  });
}

interface GuestCommandOptions {
  readonly seed: number;
  readonly memory: number;
  readonly seconds: number;
  readonly proactiveness: number;
  readonly format: Format;
}

async function guestCommand(options: GuestCommandOptions): Promise<void> {
  const { seed, memory, seconds, proactiveness, format } = options;
  if (memory % PAGEBLOCK !== 0) throw new UserError(`--memory ${memory} is no whole number of pageblocks (2M)`);
  const { guestChurn } = await import("../mm/guest_churn.ts");
  const { progressLine } = await import("./progress.ts");
  const line = progressLine("mm guest");
  const progress = (text: string): void => line.update(text);
  const report = await guestChurn({ seed, memoryMiB: memory / 2 ** 20, seconds, proactiveness, progress });
  line.end();
  const [linux, ours] = report.rows;
  const points = 100 * (ours!.hugeSuccess - linux!.hugeSuccess);
  emit(format, {
    document: { schema: SCHEMA, seed, memory, seconds, proactiveness, ...report, hugeSuccessPoints: points },
    rows: report.rows.map((row) => ({ ...row })),
    title: `${report.steps} steps from ${report.startFreeFrames} free frames`,
    notes: [
      `huge pages had: ${points.toFixed(1)} points from Linux's; seed ${seed}`,
      `start rebuilt from pagetypeinfo, ${report.shortfall} blocks without a place`,
    ],
  });
}

async function formulasCommand({ memory, format }: { memory: number; format: Format }): Promise<void> {
  const { guestFormulas } = await import("../mm/guest_formulas.ts");
  const { progressLine } = await import("./progress.ts");
  const line = progressLine("mm formulas");
  const report = await guestFormulas({ memoryMiB: memory / 2 ** 20, progress: (text) => line.update(text) });
  line.end();
  const differ = report.rows.filter(({ compared, equal }) => equal !== compared);
  emit(format, {
    document: { schema: SCHEMA, memory, ...report },
    rows: report.rows.map((row) => ({ ...row })),
    title: `Linux ${report.release}, ${memory / 2 ** 20} MiB`,
    notes: [differ.length === 0 ? "every digit is Linux's" : `${differ.length} formulas differ`],
  });
  if (differ.length > 0) process.exitCode = EXIT.missed;
}

async function mutantsCommand({ only, format }: { only?: number[]; format: Format }): Promise<void> {
  const { packageRoot } = await import("./package.ts");
  if (!existsSync(`${packageRoot}/test/mm`))
    throw new UserError("mm mutants needs the source tree with its tests: run it in a checkout", EXIT.tool);
  const { runMutants } = await import("../mutants/mutant.ts");
  const { mutants } = await import("../mutants/mm.ts");
  const unknown = only?.find((number) => number >= mutants.mutants.length);
  if (unknown !== undefined)
    throw new UserError(`There is no mutant ${unknown}; they are numbered 0 to ${mutants.mutants.length - 1}`);
  const verdicts = runMutants(mutants, {
    root: packageRoot,
    progress: (line) => void process.stderr.write(`${line}\n`),
    ...(only === undefined ? {} : { only }),
  });
  const survived = verdicts.filter((one) => one.verdict === "survived").length;
  emit(format, {
    document: { schema: SCHEMA, mutants: verdicts.length, killed: verdicts.length - survived, survived, verdicts },
    rows: verdicts.map((one) => ({ ...one })),
    notes: [`${verdicts.length - survived} of ${verdicts.length} killed`],
  });
  if (survived > 0) process.exitCode = EXIT.missed;
}

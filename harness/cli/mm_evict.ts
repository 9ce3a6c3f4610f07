/**
 * `orrery mm evict --policy P --trace T --size N`: a request trace through eviction policies, beside Belady's MIN, the
 * least misses that any of them could have. Everything is determined by the trace and the seed.
 */
import type { Command } from "commander";
import type { EvictPolicyType } from "../../kernel/abi/evict.ts";
import type { ReplayResult, Trace } from "../../mm/index.ts";
import { formatOption, realNumber, seedOption, wholeNumber } from "./args.ts";
import { EXIT, UserError } from "./exit.ts";
import { emit, type Format } from "./output.ts";
import { progressLine } from "./progress.ts";

/** Pages in the cache: 16 GiB of them. */
const SIZE_MAX = 2 ** 22;
const REQUESTS_MAX = 2 ** 28;
const REQUESTS_DEFAULT = 1_000_000;

interface Options {
  readonly policy: string;
  readonly trace: string;
  readonly size: number;
  readonly seed: number;
  readonly requests?: number;
  readonly alpha: number;
  readonly format: Format;
}

export function registerEvict(mm: Command): void {
  mm.command("evict")
    .description("Replay a request trace through eviction policies and count misses, beside Belady's bound.")
    .option("--policy <names>", "policies by name or path of a file of your own, separated by commas; or all", "all")
    .requiredOption("--trace <trace>", "zipf, scan, loop, shift, or a file: one key a line, or CSV; gzip too")
    .requiredOption("--size <pages>", "pages in the cache", wholeNumber(1, SIZE_MAX))
    .addOption(seedOption())
    .option(
      "--requests <n>",
      `requests to make (${REQUESTS_DEFAULT}), or to read at most of a file`,
      wholeNumber(1, REQUESTS_MAX),
    )
    .option("--alpha <a>", "skew of zipf and scan; 0 is uniform", realNumber(0, 10), 1)
    .addOption(formatOption("json", "jsonl", "csv", "md"))
    .action(evict);
}

async function loadTrace(options: Options): Promise<Trace & { readonly format?: string }> {
  const { TRACE_SHAPES, syntheticTrace } = await import("../../mm/index.ts");
  const { size, seed, alpha, trace } = options;
  if (Object.hasOwn(TRACE_SHAPES, trace))
    return syntheticTrace(trace, { size, seed, alpha, requests: options.requests ?? REQUESTS_DEFAULT });
  const { readKeyTrace } = await import("../trace/key_trace.ts");
  return readKeyTrace(trace, options.requests ?? REQUESTS_MAX);
}

/** A policy of the user's own that errs is the user's to mend; its panic says how it erred. */
async function run(type: EvictPolicyType, trace: Trace, options: Options): Promise<ReplayResult> {
  const { EVICT_POLICIES, replay } = await import("../../mm/index.ts");
  if (EVICT_POLICIES.includes(type)) return replay(type, trace, options.size, options.seed);
  try {
    return replay(type, trace, options.size, options.seed);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new UserError(`policy ${type.name} of ${options.policy} failed: ${why}`, EXIT.invariant);
  }
}

async function evict(options: Options): Promise<void> {
  const { evictPolicies } = await import("./evict_policies.ts");
  const types = await evictPolicies(options.policy);
  const trace = await loadTrace(options);
  const { minMisses } = await import("../../mm/index.ts");
  const requests = trace.requests.length;
  const progress = progressLine("mm evict");
  const policies: Record<"policy" | "hits" | "misses" | "missRatio" | "overBelady", string | number>[] = [];
  const bound = minMisses(trace.requests, trace.keys, options.size);
  const row = (policy: string, misses: number): (typeof policies)[number] => ({
    policy,
    hits: requests - misses,
    misses,
    missRatio: misses / requests,
    overBelady: misses / bound,
  });
  for (const [at, type] of types.entries()) {
    progress.count(at, types.length);
    policies.push(row(type.name, (await run(type, trace, options)).misses));
  }
  progress.end();
  const { hits, misses, missRatio } = row("belady", bound);
  const { size, seed } = options;
  const about = { name: trace.name, format: trace.format ?? "synthetic", requests, keys: trace.keys };
  emit(options.format, {
    document: {
      schema: 1,
      command: "mm evict",
      seed,
      size,
      trace: about,
      policies,
      belady: { hits, misses, missRatio },
    },
    rows: [...policies, row("belady", bound)],
    title: `${requests} requests of ${trace.name} for ${trace.keys} keys, ${size} pages, seed ${seed}`,
  });
}

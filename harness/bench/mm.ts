/**
 * bench mm: the allocators' hot paths against a C twin that does the same on the same lists, and against the C library's
 * malloc and mimalloc. Interleaved round by round; medians; each net of the loop around it, measured the same way.
 */
import { modulePath } from "../../kernel/lib/module_path.ts";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { PageAlloc, checkPageAlloc } from "../../mm/index.ts";
import type { Bench, BenchOptions, BenchRow, BenchTable } from "./bench.ts";
import { threadCpuNs } from "./cpu_time.ts";
import { median } from "./median.ts";
import { type CpuJob, LOOPS, loopConfig } from "./mm_loops.ts";

const ROUNDS = 9;
const MIMALLOC = ["libmimalloc.so.2", "libmimalloc.so.3", "libmimalloc.so"].flatMap((name) => [
  `/usr/lib/x86_64-linux-gnu/${name}`,
  `/usr/lib/aarch64-linux-gnu/${name}`,
  `/usr/lib64/${name}`,
  `/usr/local/lib/${name}`,
]);

interface Case {
  readonly mode: string;
  readonly what: string;
  readonly must: number;
  readonly aim: number;
}

const CASES: readonly Case[] = [
  { mode: "pair", what: "order 0, per-CPU lists, ns per alloc+free", must: 15, aim: 10 },
  { mode: "random", what: "order 0, per-CPU lists, random slots, ns per operation", must: 15, aim: 10 },
  { mode: "locked", what: "mixed orders under the zone lock, ns per operation", must: 40, aim: 30 },
  { mode: "kmalloc", what: "kmalloc 16..512, random slots, ns per operation", must: 20, aim: 12 },
];

interface Twin {
  run(mode: string, operations: number, preload?: string): { ns: number; sum: number };
  end(): void;
}

/** The C twin, compiled; undefined without a compiler. */
function buildTwin(): Twin | undefined {
  const source = fileURLToPath(new URL("mm_twin.c", import.meta.url));
  const folder = mkdtempSync(join(tmpdir(), "orrery-twin-"));
  const binary = join(folder, "mm_twin");
  const built = spawnSync("cc", ["-O2", "-o", binary, source], { encoding: "utf8" });
  if (built.status !== 0) {
    rmSync(folder, { recursive: true });
    return undefined;
  }
  return {
    run(mode, operations, preload) {
      const env = preload === undefined ? process.env : { ...process.env, LD_PRELOAD: preload };
      const out = spawnSync(binary, [mode, String(operations)], { encoding: "utf8", env });
      if (out.status !== 0) throw new Error(`the C twin ended with ${out.status ?? out.signal} in mode ${mode}`);
      const [ns, sum] = out.stdout.trim().split(" ").map(Number);
      return { ns: ns! / operations, sum: sum! };
    },
    end: () => rmSync(folder, { recursive: true }),
  };
}

function ours(mode: string, operations: number): { ns: number; sum: number } {
  const loop = LOOPS[mode]!();
  loop(operations / 4);
  const started = threadCpuNs();
  const sum = loop(operations);
  return { ns: (threadCpuNs() - started) / operations, sum };
}

const tenth = (value: number): number => Math.round(value * 10) / 10;
const hundredth = (value: number): number => Math.round(value * 100) / 100;

/** Medians, the loop's taken off; null when nothing was measured. */
const net = (gross: readonly number[], loop: readonly number[]): number | null =>
  gross.length === 0 ? null : Math.max(0, median(gross) - median(loop));

function measure(one: Case, twin: Twin | undefined, mimalloc: string | undefined, operations: number): BenchRow {
  const names = ["ours", "oursNull", "c", "cNull", "glibc", "mimalloc"] as const;
  const samples = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<
    (typeof names)[number],
    number[]
  >;
  let equal: string | null = twin === undefined ? null : "equal";
  // Once for the compiler of this engine, unmeasured.
  ours(one.mode, operations / 2);
  ours(`null_${one.mode}`, operations / 2);
  for (let round = 0; round < ROUNDS; round++) {
    const mine = ours(one.mode, operations);
    samples.ours.push(mine.ns);
    samples.oursNull.push(ours(`null_${one.mode}`, operations).ns);
    if (twin === undefined) continue;
    const c = twin.run(one.mode, operations);
    samples.c.push(c.ns);
    if (c.sum !== mine.sum) equal = "DIFFERENT";
    samples.cNull.push(twin.run(`null_${one.mode}`, operations).ns);
    if (one.mode !== "kmalloc") continue;
    samples.glibc.push(twin.run("malloc", operations).ns);
    if (mimalloc !== undefined) samples.mimalloc.push(twin.run("malloc", operations, mimalloc).ns);
  }
  const mine = net(samples.ours, samples.oursNull)!;
  const c = net(samples.c, samples.cNull);
  const glibc = net(samples.glibc, samples.cNull);
  const mi = net(samples.mimalloc, samples.cNull);
  const ratio = (peer: number | null): number | null => (peer === null || peer === 0 ? null : hundredth(mine / peer));
  return {
    measure: one.what,
    ns: tenth(mine),
    nsWithLoop: tenth(median(samples.ours)),
    nsBest: tenth(Math.max(0, Math.min(...samples.ours) - Math.min(...samples.oursNull))),
    must: one.must,
    aim: one.aim,
    cTwin: c === null ? null : tenth(c),
    toCTwin: ratio(c),
    checksum: equal,
    glibc: glibc === null ? null : tenth(glibc),
    toGlibc: ratio(glibc),
    mimalloc: mi === null ? null : tenth(mi),
    toMimalloc: ratio(mi),
  };
}

/** Operations per second of `workers` CPUs on one allocator, all together. */
async function together(workers: number, operations: number): Promise<number> {
  const mm = new PageAlloc(loopConfig(2));
  const gate = new SharedArrayBuffer(4);
  const times = await Promise.all(
    Array.from({ length: workers }, (_, cpu) => {
      const job: CpuJob = { buffer: mm.buffer, cpu, cpus: 2, operations, gate, workers };
      const worker = new Worker(modulePath("./mm_cpu_worker.ts", import.meta.url), { workerData: job });
      return new Promise<number>((resolve, reject) => {
        worker.once("message", resolve);
        worker.once("error", reject);
      });
    }),
  );
  checkPageAlloc(mm);
  return (workers * operations) / (Math.max(...times) / 1e9);
}

async function scaling(operations: number): Promise<BenchRow> {
  const one: number[] = [];
  const two: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    one.push(await together(1, operations));
    two.push(await together(2, operations));
  }
  return {
    measure: "two workers against one, order 0, operations per second",
    ns: null,
    must: 1.5,
    aim: 1.8,
    oneWorker: Math.round(median(one)),
    twoWorkers: Math.round(median(two)),
    speedup: hundredth(median(two) / median(one)),
  };
}

async function run(options: BenchOptions): Promise<BenchTable> {
  const twin = buildTwin();
  const mimalloc = MIMALLOC.find((path) => existsSync(path));
  const operations = options.quick ? 200_000 : 2_000_000;
  const rows: BenchRow[] = [];
  const notes = [
    `medians of ${ROUNDS}, interleaved; ns in CPU time (two workers: wall clock); ns is net of the loop around it, nsWithLoop is not, nsBest is the best round's`,
  ];
  if (twin === undefined) notes.push("no C compiler (cc): the columns of the C twin, glibc and mimalloc are empty");
  if (mimalloc === undefined) notes.push("mimalloc is not installed: its column is empty");
  try {
    for (const one of CASES) {
      options.progress(one.what);
      rows.push(measure(one, twin, mimalloc, operations));
    }
  } finally {
    twin?.end();
  }
  options.progress("two workers against one");
  rows.push(await scaling(operations));
  if (availableParallelism() < 2) notes.push("this machine has one core: two workers cannot be faster than one");
  return { schema: 1, name: "mm", rows, notes };
}

export const bench: Bench = { name: "mm", help: "page and slab allocator against a C twin, glibc and mimalloc", run };

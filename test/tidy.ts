/**
 * The house rules, as a test of the tree itself: who may import whom (docs/architecture.md), words that may not be
 * written, and files nobody reaches.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path/posix";

const WINGS = ["mm", "sched", "drivers"];
const FACES_ALL = ["kernel/abi", "kernel/lib", ...WINGS, "kernel", "userspace"];

/** Layer -> the layers it may name. A layer other than abi and lib is named by its face, `index.ts`. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  "kernel/abi": [],
  "kernel/lib": ["kernel/abi"],
  mm: ["kernel/abi", "kernel/lib"],
  sched: ["kernel/abi", "kernel/lib"],
  drivers: ["kernel/abi", "kernel/lib"],
  kernel: ["kernel/abi", "kernel/lib", ...WINGS],
  userspace: ["kernel/abi", "kernel/lib"],
  harness: FACES_ALL,
  fuzz: [...FACES_ALL, "harness"],
};

/** The part of the kernel's face that loads no file system. */
const FACES_MORE = ["kernel/worlds.ts"];

/** The wiring may name every file inside the machine. */
const WIRING = "kernel/boot.ts";

/** The shape of a fuzz target: the command that runs them needs it, and it imports nothing. */
const SHAPES = ["fuzz/target.ts"];

/** Files below harness that may name a module of Node, and which. Everything else in the machine is plain TypeScript. */
const NODE_INSIDE: Readonly<Record<string, readonly string[]>> = {
  "kernel/observe/hash.ts": ["node:crypto"],
  "kernel/world_parallel.ts": ["node:worker_threads"],
  "kernel/cpu_worker.ts": ["node:worker_threads"],
  "kernel/parallel/parallel_machine.ts": ["node:worker_threads"],
  "kernel/parallel/cpu_worker.ts": ["node:worker_threads"],
  "kernel/parallel/storage_worker.ts": ["node:worker_threads"],
  "kernel/parallel/disk_worker.ts": ["node:worker_threads"],
};

/** Files that are started by path and so imported by nobody. */
const ENTRIES = [
  /^harness\/main\.ts$/,
  /_worker\.ts$/,
  /^test\//,
  /^examples\//,
  /^fuzz\/[a-z0-9_]+\.ts$/,
  /\.config\.ts$/,
  /^harness\/bench\/[a-z0-9_]+\.ts$/,
];

/** A word, where it is banned, and what to write instead. */
const BANNED: readonly (readonly [word: RegExp, where: RegExp, instead: string])[] = [
  [/\bMath\.random\(/, /^(?!test\/)/, "Machine.chance or kernel/lib/prng.ts"],
  [
    /\bDate\.now\(|\bnew Date\(\)|\bperformance\.now\(|\bprocess\.hrtime/,
    /^(kernel|mm|sched|drivers|userspace)\//,
    "Machine.now",
  ],
  [/\bset(Timeout|Interval|Immediate)\(/, /^(kernel|mm|sched|drivers|userspace)\//, "an event on the machine's queue"],
  [/\bas any\b|: any\b|@ts-(ignore|nocheck)/, /./, "a type"],
  [/\bTODO\b|\bFIXME\b|\bXXX\b/, /./, "finish it, or write it in docs/caveats.md"],
  [/\.(only|skip)\(/, /^test\/.*\.test\.ts$/, "skipIf with the reason in the name"],
];

const FILE_NAME = /^[a-z0-9_]+(\.test|\.config)?\.ts$/;
const IMPORTS = /(?:from|import)\s*\(?\s*"([^"]+)"/g;
const WORKER_URLS = /new URL\(\s*"(\.[^"]+)"|modulePath\("(\.[^"]+)"/g;

export const layerOf = (path: string): string =>
  /^kernel\/(abi|lib)\//.test(path) ? path.split("/").slice(0, 2).join("/") : path.split("/")[0]!;

/** Every TypeScript source below `root`, as posix paths from it. */
function sources(root: string): string[] {
  const tops = readdirSync(root, { withFileTypes: true });
  const found: string[] = [];
  for (const top of tops) {
    if (top.isFile() && top.name.endsWith(".ts")) found.push(top.name);
    if (!top.isDirectory() || /^(node_modules|dist|orrery-runs|\..*)$/.test(top.name)) continue;
    for (const file of readdirSync(join(root, top.name), { recursive: true, encoding: "utf8" }))
      if (file.endsWith(".ts")) found.push(`${top.name}/${file}`);
  }
  return found.sort();
}

/** One line a breach; an empty result is a tidy tree. */
export function untidy(root: string): string[] {
  const breaches: string[] = [];
  const files = sources(root);
  const reached = new Set<string>();
  for (const file of files) {
    const text = readFileSync(join(root, file), "utf8");
    const layer = layerOf(file);
    const allowed = MAY_IMPORT[layer];
    for (const [, target] of text.matchAll(IMPORTS)) {
      if (!target!.startsWith(".")) {
        const inside = /^(kernel|mm|sched|drivers|userspace)\//.test(file);
        if (inside && !(NODE_INSIDE[file] ?? []).includes(target!)) breaches.push(`${file}: may not import ${target!}`);
        continue;
      }
      const path = join(dirname(file), target!);
      const to = layerOf(path);
      reached.add(path);
      if (allowed === undefined || to === layer || file === WIRING || SHAPES.includes(path)) continue;
      if (!allowed.includes(to)) breaches.push(`${file}: ${layer} may not import ${to}`);
      else if (!/^kernel\/(abi|lib)$/.test(to) && path !== `${to}/index.ts` && !FACES_MORE.includes(path))
        breaches.push(`${file}: imports ${path}, use ${to}/index.ts`);
    }
    for (const [, url, path] of text.matchAll(WORKER_URLS)) reached.add(join(dirname(file), (url ?? path)!));
    if (file !== "test/tidy.ts")
      for (const [word, where, instead] of BANNED)
        if (where.test(file) && word.test(text))
          breaches.push(`${file}: "${word.exec(text)![0]}" is banned, use ${instead}`);
    if (!FILE_NAME.test(file.split("/").at(-1)!)) breaches.push(`${file}: file names are snake_case`);
  }
  for (const file of files)
    if (!reached.has(file) && !ENTRIES.some((entry) => entry.test(file))) breaches.push(`${file}: nobody imports it`);
  return breaches;
}

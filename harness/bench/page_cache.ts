/**
 * The page cache when the page is there: a call on one page (begin, page, bytes, merge) by eviction policy, and 4 KiB
 * read and written through it. Peers in every round, on the same pages in the same order: the cache one would write
 * first (a Map from number to node, the node moved to the front of a list), one copy of 4 KiB by itself, and pread and
 * pwrite of a file in memory, which is Linux's page cache behind a system call.
 */
import { closeSync, ftruncateSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { growingArena } from "../../kernel/lib/growing_arena.ts";
import type { EvictPolicyType } from "../../kernel/abi/evict.ts";
import { RA_WORDS } from "../../kernel/abi/page_cache.ts";
import type { Mapping } from "../../kernel/abi/page_cache.ts";
import { PAGE_SIZE, nanos } from "../../kernel/abi/units.ts";
import { assert } from "../../kernel/lib/assert.ts";
import { nextBelow, prng } from "../../kernel/lib/prng.ts";
import { EVICT_POLICIES, MemoryStore, PageFrames, fileRead, fileWrite, pageCache, raInit } from "../../mm/index.ts";
import type { PlainFile } from "../../mm/index.ts";
import { runFolder } from "../qemu/open_things.ts";
import type { Bench, BenchOptions, BenchRow, BenchTable } from "./bench.ts";
import { threadCpuNs } from "./cpu_time.ts";
import { median } from "./median.ts";

const ROUNDS = 11;
const ROUNDS_QUICK = 9;
const CALLS = 1_000_000;
const CALLS_QUICK = 100_000;
/** 16 MiB in a cache of twice that: nothing is evicted, and the pages are more than the processor's own caches hold. */
const PAGES = 4096;
const SLOTS = 2 * PAGES;
const FLUSH_PAGES = 256;
const POLICIES = ["lru", "clock", "two-list", "sieve", "arc"];

interface Arm {
  readonly what: string;
  readonly peer: string | null;
  /** Carries out a call on each of `pages`; returns a sum of what it saw. */
  readonly run: (pages: Int32Array) => number;
}

/** The flusher has its turn where it would in a machine: what is dirty stays below the limit. */
function writeWhole(file: PlainFile, index: number, page: Uint8Array): void {
  while (fileWrite(file, index * PAGE_SIZE, page) < 0)
    assert(file.cache.flush(nanos(0), FLUSH_PAGES) > 0, "bench page_cache: a write waits for nothing");
}

function residentFile(policy: EvictPolicyType): PlainFile {
  const memory = growingArena();
  const frames = new PageFrames(memory, SLOTS);
  frames.reset();
  const cache = pageCache({ slots: SLOTS, files: 4, policy, seed: 1, frames, memory });
  const store = new MemoryStore(1);
  store.cache = cache;
  store.setSize(PAGES * PAGE_SIZE);
  const ra = new Int32Array(RA_WORDS);
  raInit(ra, 0, 0);
  const file = { cache, mapping: cache.open(store, 0) as Mapping, store, ra, errorsSince: 0 };
  const page = new Uint8Array(PAGE_SIZE);
  for (let index = 0; index < PAGES; index++) {
    page.fill(index);
    writeWhole(file, index, page);
  }
  return file;
}

/** The call alone: what a file system pays for each page that it looks at. */
function call({ cache, mapping }: PlainFile): Arm["run"] {
  return (pages) => {
    let sum = 0;
    for (const page of pages) {
      cache.begin();
      sum += cache.bytes(cache.page(mapping, page) as never)[0]!;
      cache.merge();
    }
    return sum;
  };
}

interface Node {
  readonly bytes: Uint8Array;
  newer: Node;
  older: Node;
}

function mapOfNodes(memory: Uint8Array): Arm["run"] {
  const head = { bytes: memory } as Node;
  head.newer = head.older = head;
  const nodes = new Map<number, Node>();
  for (let index = 0; index < PAGES; index++) {
    const bytes = memory.subarray(index * PAGE_SIZE, (index + 1) * PAGE_SIZE);
    const node = { bytes, newer: head, older: head.older };
    head.older.newer = node;
    head.older = node;
    nodes.set(index, node);
  }
  return (pages) => {
    let sum = 0;
    for (const page of pages) {
      const node = nodes.get(page)!;
      node.newer.older = node.older;
      node.older.newer = node.newer;
      node.older = head.older;
      node.newer = head;
      head.older.newer = node;
      head.older = node;
      sum += node.bytes[0]!;
    }
    return sum;
  };
}

function arms(folder: string): { readonly list: readonly Arm[]; readonly close: () => void } {
  const memory = new Uint8Array(PAGES * PAGE_SIZE);
  for (let index = 0; index < PAGES; index++) memory.fill(index, index * PAGE_SIZE, (index + 1) * PAGE_SIZE);
  const into = new Uint8Array(PAGE_SIZE);
  const path = `${folder}/pages`;
  const host = openSync(path, "w+");
  ftruncateSync(host, memory.length);
  writeSync(host, memory, 0, memory.length, 0);
  const each =
    (one: (page: number) => void): Arm["run"] =>
    (pages) => {
      let sum = 0;
      for (const page of pages) {
        one(page);
        sum += into[0]!;
      }
      return sum;
    };
  const [read, write] = [residentFile(policyOf("lru")), residentFile(policyOf("lru"))];
  const copy = "one copy of 4 KiB";
  const list: Arm[] = [
    { what: "a Map of nodes in a list", peer: null, run: mapOfNodes(memory) },
    ...POLICIES.map((name) => ({
      what: `a call on one page, ${name}`,
      peer: "a Map of nodes in a list",
      run: call(residentFile(policyOf(name))),
    })),
    {
      what: copy,
      peer: null,
      run: each((page) => into.set(memory.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE))),
    },
    { what: "read 4 KiB through the cache", peer: copy, run: each((page) => fileRead(read, page * PAGE_SIZE, into)) },
    {
      what: "pread of 4 KiB (Linux)",
      peer: copy,
      run: each((page) => readSync(host, into, 0, PAGE_SIZE, page * PAGE_SIZE)),
    },
    {
      what: "write 4 KiB through the cache",
      peer: copy,
      run: each((page) => {
        into[0] = page;
        writeWhole(write, page, into);
      }),
    },
    {
      what: "pwrite of 4 KiB (Linux)",
      peer: copy,
      run: each((page) => {
        into[0] = page;
        writeSync(host, into, 0, PAGE_SIZE, page * PAGE_SIZE);
      }),
    },
  ];
  return {
    list,
    close: () => {
      closeSync(host);
      rmSync(path);
    },
  };
}

const policyOf = (name: string): EvictPolicyType => EVICT_POLICIES.find((type) => type.name === name)!;

async function run({ quick, progress }: BenchOptions): Promise<BenchTable> {
  const rounds = quick ? ROUNDS_QUICK : ROUNDS;
  const calls = quick ? CALLS_QUICK : CALLS;
  const random = prng(1);
  const pages = Int32Array.from({ length: calls }, () => nextBelow(random, PAGES));
  const expected = pages.reduce((sum, page) => sum + (page & 0xff), 0);
  const folder = runFolder();
  const { list, close } = arms(folder.path);
  const times = new Map(list.map(({ what }) => [what, [] as number[]]));
  // The first round warms the code up and is not counted.
  for (let round = 0; round <= rounds; round++) {
    progress(`round ${round} of ${rounds}`);
    for (const arm of list) {
      const start = threadCpuNs();
      const sum = arm.run(pages);
      const ns = (threadCpuNs() - start) / calls;
      assert(sum === expected, "bench page_cache: a page holds other bytes");
      if (round > 0) times.get(arm.what)!.push(ns);
    }
  }
  close();
  folder.remove();
  const rows = list.map(({ what, peer }): BenchRow => {
    const mine = times.get(what)!;
    const theirs = peer === null ? undefined : times.get(peer)!;
    return {
      what,
      ns: Math.round(median(mine) * 10) / 10,
      nsBest: Math.round(Math.min(...mine) * 10) / 10,
      against: peer,
      times: theirs && Math.round(median(mine.map((ns, round) => ns / theirs[round]!)) * 100) / 100,
    } as BenchRow;
  });
  const notes = [
    `${calls} calls a round on ${PAGES} pages in random order, all in the cache; medians of ${rounds} rounds, arms in turn; ns in CPU time`,
    "a call: begin, page, bytes, merge; the peers keep no dirty state, read-ahead, in-flight or journal state",
  ];
  return { schema: 1, name: "page_cache", rows, notes };
}

export const bench: Bench = {
  name: "page_cache",
  help: "page-cache hits: a call by eviction policy, 4 KiB read and written, against a Map, a copy and Linux's pread",
  run,
};

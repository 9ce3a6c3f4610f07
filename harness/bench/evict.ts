/**
 * Requests a second of each eviction policy through the replayer, against the LRU as libraries write it, in both ways:
 * a Map to nodes of a linked list, and a Map alone whose insertion order is the order of use (delete and set on a hit,
 * the first key goes; V8 steps over the deleted entries at the front, which costs more the larger the cache is).
 * Every round runs the peers and all policies one after another on the same trace; ratios are of medians.
 */
import { EVICT_POLICIES, replay, syntheticTrace, type Trace } from "../../mm/index.ts";
import { growingArena } from "../../kernel/lib/growing_arena.ts";
import { assert } from "../../kernel/lib/assert.ts";
import { KeyTable } from "../../kernel/lib/key_table.ts";
import type { Bench, BenchOptions, BenchRow, BenchTable } from "./bench.ts";
import { median } from "./median.ts";

const SEED = 1;
const ROUNDS = 11;
const ROUNDS_QUICK = 9;
const SHAPES = ["zipf", "scan"];
const LRU = EVICT_POLICIES.find((type) => type.name === "lru")!;

interface Node {
  readonly key: number;
  newer: Node;
  older: Node;
}

/** Misses of the first peer. */
function linkedLru({ requests }: Trace, capacity: number): number {
  const cache = new Map<number, Node>();
  const head = { key: -1 } as Node;
  head.newer = head.older = head;
  const unlink = (node: Node): void => {
    node.newer.older = node.older;
    node.older.newer = node.newer;
  };
  const toFront = (node: Node): void => {
    node.older = head.older;
    node.newer = head;
    head.older.newer = node;
    head.older = node;
  };
  let misses = 0;
  for (let at = 0; at < requests.length; at++) {
    const key = requests[at]!;
    const found = cache.get(key);
    if (found !== undefined) {
      unlink(found);
      toFront(found);
      continue;
    }
    misses++;
    if (cache.size === capacity) {
      const oldest = head.newer;
      unlink(oldest);
      cache.delete(oldest.key);
    }
    const node: Node = { key, newer: head, older: head };
    toFront(node);
    cache.set(key, node);
  }
  return misses;
}

/** Misses of the second. */
function mapLru({ requests }: Trace, capacity: number): number {
  const cache = new Map<number, number>();
  let misses = 0;
  for (let at = 0; at < requests.length; at++) {
    const key = requests[at]!;
    const value = cache.get(key);
    if (value !== undefined) {
      cache.delete(key);
      cache.set(key, value);
      continue;
    }
    misses++;
    if (cache.size === capacity) cache.delete(cache.keys().next().value!);
    cache.set(key, at);
  }
  return misses;
}

/** Our LRU with keys in a hash table, as a cache of sparse keys has it: the replayer's own index is an array. */
function hashedLru({ requests }: Trace, capacity: number): number {
  const memory = growingArena();
  const policy = LRU.create({ capacity, seed: SEED, busy: new Uint8Array(capacity) }, memory);
  policy.reset();
  const index = new KeyTable(memory, capacity);
  const keyOf = new Int32Array(capacity);
  let misses = 0;
  for (let at = 0; at < requests.length; at++) {
    const key = requests[at]!;
    const found = index.get(key);
    if (found >= 0) {
      policy.hit(found);
      continue;
    }
    const slot = misses < capacity ? misses : policy.evict(key);
    if (misses++ >= capacity) index.delete(keyOf[slot]!);
    keyOf[slot] = key;
    index.set(key, slot);
    policy.insert(slot, key);
  }
  return misses;
}

const PEERS: readonly (readonly [name: string, (trace: Trace, capacity: number) => number])[] = [
  ["peer: Map and linked list", linkedLru],
  ["peer: Map alone", mapLru],
  ["lru, keys hashed", hashedLru],
];

/** Median millions of requests a second of each arm, in order. */
function race(arms: readonly (() => number)[], requests: number, rounds: number): number[] {
  const times = arms.map((): number[] => []);
  for (const arm of arms) arm();
  for (let round = 0; round < rounds; round++)
    for (const [at, arm] of arms.entries()) {
      const startedMs = performance.now();
      arm();
      times[at]!.push(performance.now() - startedMs);
    }
  return times.map((sample) => requests / median(sample) / 1000);
}

function run({ quick, progress }: BenchOptions): BenchTable {
  const rounds = quick ? ROUNDS_QUICK : ROUNDS;
  const size = quick ? 1_000 : 4_000;
  const requests = quick ? 50_000 : 400_000;
  const rows: BenchRow[] = [];
  for (const shape of SHAPES) {
    progress(`${shape}: ${requests} requests, ${size} pages, ${rounds} rounds`);
    const trace = syntheticTrace(shape, { size, requests, seed: SEED, alpha: 1 });
    for (const [name, peer] of PEERS)
      assert(peer(trace, size) === replay(LRU, trace, size, SEED).misses, `bench evict: ${name} is no LRU`);
    const arms = [
      ...PEERS.map(
        ([, peer]) =>
          () =>
            peer(trace, size),
      ),
      ...EVICT_POLICIES.map((type) => () => replay(type, trace, size, SEED).misses),
    ];
    const names = [...PEERS.map(([name]) => name), ...EVICT_POLICIES.map((type) => type.name)];
    const speeds = race(arms, requests, rounds);
    for (const [at, speed] of speeds.entries())
      rows.push({
        trace: shape,
        policy: names[at]!,
        millionPerSecond: speed,
        overLinkedList: speed / speeds[0]!,
        overMap: speed / speeds[1]!,
      });
  }
  const notes = [
    `${requests} requests, ${size} pages, seed ${SEED}; ${rounds} rounds, peers and policies interleaved, medians`,
    "a policy's time includes building its state and checking it once at the end; its index is an array, that of the arm with keys hashed a table",
  ];
  return { schema: 1, name: "evict", rows, notes };
}

export const bench: Bench = {
  name: "evict",
  help: "requests a second of each eviction policy against LRUs as libraries write them",
  run: (options) => Promise.resolve(run(options)),
};

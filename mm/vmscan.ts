/**
 * Page reclaim: kswapd in the background, direct reclaim for whoever has to wait (Linux: mm/vmscan.c). What can be
 * dropped, and in which order, is the shrinkers' business; here is how much is asked of whom, and when to stop.
 *
 * - wake(zone, order)          kswapd has work
 * - step(cpu, budget)          one piece of kswapd's work, at most `budget` pages; 0: it sleeps. `scanned`: pages asked for
 * - direct(cpu)                up to SWAP_CLUSTER pages for the caller; returns those got
 *
 * kswapd works until every zone is above its high watermark (and boost); it asks for a 4096th of each cache first and
 * for twice as much after each round that was not enough.
 */
import type { Shrinker } from "../kernel/abi/reclaim.ts";
import { MmEv } from "../kernel/abi/events.ts";
import { RECLAIM_RETRIES_MAX, SHRINKERS_MAX } from "../kernel/abi/limits.ts";
import { assert } from "../kernel/lib/assert.ts";
import type { PageAlloc } from "./page_alloc.ts";
import { VM, VM_STRIDE } from "./vmstat.ts";
import { ZONE, refreshMark } from "./zone.ts";

const SWAP_CLUSTER = 32;
const DEF_PRIORITY = 12;
const WORD = { awake: 0, order: 1, priority: 2, failures: 3, progress: 4, words: 5 } as const;

export class Vmscan {
  readonly #mm: PageAlloc;
  readonly #words: Int32Array;
  readonly #shrinkers: Shrinker[] = [];
  /** Pages that the last step or direct reclaim has looked at. */
  scanned = 0;

  constructor(mm: PageAlloc, shared?: SharedArrayBuffer) {
    this.#mm = mm;
    this.#words = new Int32Array(shared ?? new SharedArrayBuffer(WORD.words * 4));
  }

  buffer(): SharedArrayBuffer {
    return this.#words.buffer as SharedArrayBuffer;
  }

  register(shrinker: Shrinker): void {
    assert(this.#shrinkers.length < SHRINKERS_MAX, "Vmscan: more shrinkers than SHRINKERS_MAX");
    this.#shrinkers.push(shrinker);
  }

  reclaimable(): number {
    return this.#shrinkers.reduce((sum, shrinker) => sum + shrinker.count(), 0);
  }

  /** Order kswapd was last woken for: kcompactd takes over from it. */
  get order(): number {
    return this.#words[WORD.order]!;
  }

  get awake(): boolean {
    return this.#words[WORD.awake] !== 0;
  }

  wake(cpu: number, zone: number, order: number): void {
    const words = this.#words;
    if (words[WORD.failures]! >= RECLAIM_RETRIES_MAX) return;
    words[WORD.order] = Math.max(words[WORD.order]!, order);
    if (words[WORD.awake] !== 0) return;
    words[WORD.awake] = 1;
    words[WORD.priority] = DEF_PRIORITY;
    words[WORD.progress] = 0;
    for (const buddy of this.#mm.zones) buddy.words[ZONE.reclaim] = 1;
    this.#mm.trace?.(MmEv.WakeupKswapd, cpu, zone, order, 0, 0);
  }

  step(cpu: number, budget: number): number {
    const words = this.#words;
    this.scanned = 0;
    if (words[WORD.awake] === 0) return 0;
    const wanted = this.#missing();
    if (wanted === 0) {
      this.#sleep(cpu);
      return 0;
    }
    const got = this.#shrink(cpu, Math.min(wanted, budget), words[WORD.priority]!, true);
    words[WORD.progress]! += got;
    if (got >= Math.min(wanted, budget)) return got;
    if (words[WORD.priority]! > 0) words[WORD.priority]!--;
    else {
      // A whole run without a page: after 16 of them only direct reclaim can find that things have changed.
      if (words[WORD.progress] === 0) words[WORD.failures]!++;
      words[WORD.priority] = DEF_PRIORITY;
      if (words[WORD.progress] === 0) this.#sleep(cpu);
      words[WORD.progress] = 0;
    }
    return got;
  }

  direct(cpu: number): number {
    this.scanned = 0;
    let got = 0;
    for (let priority = DEF_PRIORITY; priority >= 0 && got < SWAP_CLUSTER; priority--)
      got += this.#shrink(cpu, SWAP_CLUSTER - got, priority, false);
    if (got > 0) this.#words[WORD.failures] = 0;
    return got;
  }

  /** Frames missing for all zones to be above high; boosts included. */
  #missing(): number {
    let missing = 0;
    for (const { words } of this.#mm.zones)
      missing += Math.max(0, words[ZONE.high]! + words[ZONE.boost]! - words[ZONE.free]!);
    return missing;
  }

  #sleep(cpu: number): void {
    const { locks } = this.#mm.config;
    let free = 0;
    for (const { words } of this.#mm.zones) {
      locks.lock(words, ZONE.lock);
      words[ZONE.boost] = 0;
      words[ZONE.reclaim] = 0;
      refreshMark(words);
      locks.unlock(words, ZONE.lock);
      free += words[ZONE.free]!;
    }
    this.#words[WORD.awake] = 0;
    this.#mm.counters[cpu * VM_STRIDE + VM.pageoutrun]!++;
    this.#mm.trace?.(MmEv.KswapdSleep, cpu, 0, free, 0, 0);
  }

  #shrink(cpu: number, wanted: number, priority: number, kswapd: boolean): number {
    const row = cpu * VM_STRIDE;
    const { counters } = this.#mm;
    let got = 0;
    for (const shrinker of this.#shrinkers) {
      const scan = Math.min(Math.floor(shrinker.count() / 2 ** priority), wanted - got);
      if (scan <= 0) continue;
      const freed = shrinker.scan(scan);
      this.scanned += scan;
      counters[row + (kswapd ? VM.pgscan_kswapd : VM.pgscan_direct)]! += scan;
      counters[row + (kswapd ? VM.pgsteal_kswapd : VM.pgsteal_direct)]! += freed;
      got += freed;
    }
    return got;
  }
}

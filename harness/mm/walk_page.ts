/**
 * The walk "one page": a kmalloc on a fresh machine, down to the frame it gets, and again when all lists are filled;
 * then memory runs short: kswapd below the low watermark, compaction, direct reclaim, a kill, and ENOMEM. The events
 * are those of a real run of 16 MiB; the lines between name the place in the code.
 *
 * - walkPage()   the lines
 */
import { isErr } from "../../kernel/abi/errno.ts";
import { MmEv } from "../../kernel/abi/events.ts";
import type { OomVictims } from "../../kernel/abi/reclaim.ts";
import type { Pfn } from "../../kernel/abi/units.ts";
import { PAGE_SIZE } from "../../kernel/abi/units.ts";
import { noLocks } from "../../kernel/lib/lock_ops.ts";
import { GFP, Kmalloc, MIGRATE_NAMES, PageAlloc, Slub, attachReclaim } from "../../mm/index.ts";

const FRAMES = 4096;
const TASK = 7;
/** Events that come in hundreds, and how many of them are still shown one by one. */
const GIVEN_BACK: readonly number[] = [MmEv.PageFree, MmEv.PagePcpuDrain];
const RUN_MAX = 3;
const RESULTS = ["deferred", "the scanners met", "a block is there", "unfinished"];

interface Told {
  readonly type: number;
  readonly text: string;
}

const hex = (frame: number): string => `0x${frame.toString(16)}`;
const sized = (order: number): string => `order ${order}`;

/** One line an event. */
function tell(type: number, a: number, b: number, c: number, d: number): string {
  switch (type) {
    case MmEv.KmemCacheAlloc:
      return `kmem_cache_alloc     object at ${hex(a * 8)}, ${b} bytes asked of cache ${c}`;
    case MmEv.KmemCacheFree:
      return `kmem_cache_free      object at ${hex(a * 8)} back to cache ${c}`;
    case MmEv.SlabNew:
      return `slab_new             frame ${hex(a)} ${sized(b)} becomes ${d} objects of cache ${c}`;
    case MmEv.Watermark:
      return `watermark            zone ${a}: ${b} frames free, mark ${c}: ${d === 1 ? "enough" : "too few"}`;
    case MmEv.PageAllocExtfrag:
      return `mm_page_alloc_extfrag ${MIGRATE_NAMES[c >> 8]} has none: takes ${sized(b & 255)} at ${hex(a)} from ${MIGRATE_NAMES[c & 255]}${d === 1 ? ", with its pageblock" : ""}`;
    case MmEv.BuddySplit:
      return `buddy_split          ${sized(c)} at ${hex(a)} is halved ${c - b} times: one of ${sized(b)}, the rest to the lists`;
    case MmEv.PageAllocZoneLocked:
      return `mm_page_alloc_zone_locked frame ${hex(a)} ${sized(b)} ${MIGRATE_NAMES[c]}${d === 1 ? ", to the CPU's list" : ""}`;
    case MmEv.PagePcpuDrain:
      return `mm_page_pcpu_drain   frame ${hex(a)} ${sized(b)} back to the zone`;
    case MmEv.PageAlloc:
      return `mm_page_alloc        frame ${hex(a)} ${sized(b)} ${MIGRATE_NAMES[c]}`;
    case MmEv.PageFree:
      return `mm_page_free         frame ${hex(a)} ${sized(b)}`;
    case MmEv.WakeupKswapd:
      return `mm_vmscan_wakeup_kswapd zone ${a} ${sized(b)}`;
    case MmEv.KswapdSleep:
      return `mm_vmscan_kswapd_sleep ${b} frames are free again`;
    case MmEv.DirectReclaimBegin:
      return `mm_vmscan_direct_reclaim_begin ${sized(a)}`;
    case MmEv.DirectReclaimEnd:
      return `mm_vmscan_direct_reclaim_end ${a} frames`;
    case MmEv.CompactionBegin:
      return `mm_compaction_begin  zone ${a}, for ${sized(d)}`;
    case MmEv.CompactionEnd:
      return `mm_compaction_end    ${b} frames moved: ${RESULTS[d]}`;
    case MmEv.OomKill:
      return `oom_kill             task ${a}, badness ${b}: ${c} frames given back`;
    case MmEv.AllocFailed:
      return `page_alloc_failed    ${sized(a)}: ENOMEM`;
    default:
      return `event ${type}`;
  }
}

/** A machine of 16 MiB, one CPU, whose events are kept. */
class Stage {
  readonly mm = new PageAlloc({ zones: [{ name: "DMA32", start: 0, end: FRAMES }], cpus: 1, locks: noLocks });
  readonly kmalloc: Kmalloc;
  readonly #told: Told[] = [];

  constructor() {
    const slub = new Slub(this.mm, new SharedArrayBuffer(FRAMES * PAGE_SIZE), noLocks);
    this.kmalloc = new Kmalloc(slub);
    const sink = (type: number, _cpu: number, a: number, b: number, c: number, d: number): void =>
      void this.#told.push({ type, text: tell(type, a, b, c, d) });
    this.listen = (on) => {
      this.mm.trace = on ? sink : null;
      slub.trace = on ? sink : null;
    };
  }

  readonly listen: (on: boolean) => void;

  /** Events of `act`; of a long run of frees and drains, how many of each. */
  told(act: () => void): string[] {
    this.#told.length = 0;
    this.listen(true);
    act();
    this.listen(false);
    const lines: string[] = [];
    for (let at = 0; at < this.#told.length;) {
      let end = at;
      while (end < this.#told.length && GIVEN_BACK.includes(this.#told[end]!.type)) end++;
      if (end - at <= RUN_MAX) {
        lines.push(this.#told[at]!.text);
        at++;
        continue;
      }
      const run = this.#told.slice(at, end);
      const freed = run.filter(({ type }) => type === MmEv.PageFree).length;
      lines.push(
        `mm_page_free         ${freed} frames; mm_page_pcpu_drain: ${run.length - freed} of them on to the zone`,
      );
      at = end;
    }
    return lines.map((line) => `  ${line}`);
  }
}

const place = (text: string): string => `          ${text}`;

function fresh(stage: Stage): string[] {
  return [
    "kmalloc(100) on a fresh machine",
    place("kmalloc.ts: 100 bytes fit the class of 128; slub.ts: the CPU has no object of it, no slab is partial"),
    place("page_alloc.ts: the CPU's list is empty; pcp.ts refill: the zone lock is taken for a whole batch"),
    ...stage.told(() => stage.kmalloc.kmalloc(0, 100, GFP.GFP_KERNEL, TASK)),
    "kmalloc(100) again",
    place("slub.ts alloc: the first word of the CPU's list; no lock, no page"),
    ...stage.told(() => stage.kmalloc.kmalloc(0, 100, GFP.GFP_KERNEL, TASK)),
  ];
}

function low(stage: Stage): string[] {
  const { mm } = stage;
  const cache: Pfn[] = [];
  const { vmscan } = attachReclaim(mm, {
    shrinkers: [
      {
        name: "page cache",
        count: () => cache.length,
        scan: (pages) => {
          const gone = cache.splice(0, pages);
          for (const pfn of gone) mm.free(0, pfn, 0);
          return gone.length;
        },
      },
    ],
  });
  const page = (): void => {
    const pfn = mm.alloc(0, GFP.GFP_HIGHUSER_MOVABLE, 0, TASK);
    if (!isErr(pfn)) cache.push(pfn);
  };
  let waking: string[] = [];
  while (!vmscan.awake) waking = stage.told(page);
  return [
    "memory fills with cached file pages, until a request wakes kswapd",
    place("steal.ts: no movable block is left, one is taken from the kernel's pageblock; that raises the watermarks"),
    ...waking,
    "kswapd works in steps of 32 pages until the zone is above high",
    place("vmscan.ts step: asks each cache for a 4096th of what it holds, then for twice as much, and so on"),
    ...stage.told(() => {
      while (vmscan.awake) vmscan.step(0, 32);
    }),
  ];
}

function short(): string[] {
  const stage = new Stage();
  const { mm } = stage;
  const held: Pfn[] = [];
  let hog = 0;
  const victims: OomVictims = {
    rows: () => 2,
    rssPages: (row) => (row === 1 ? hog : 40),
    swapPages: () => 0,
    pageTablePages: () => 1,
    scoreAdj: (row) => (row === 0 ? -1000 : 0),
    kill: () => {
      const count = hog;
      hog = 0;
      for (const pfn of held.splice(0)) mm.free(0, pfn, 0);
      return count;
    },
  };
  for (;;) {
    const pfn = mm.alloc(0, GFP.GFP_NOWAIT, 0, TASK);
    if (isErr(pfn)) break;
    held.push(pfn);
    hog++;
  }
  mm.drainAll(0);
  attachReclaim(mm, { victims });
  const killed = stage.told(() => mm.alloc(0, GFP.GFP_KERNEL, 1, TASK));
  while (!isErr(mm.alloc(0, GFP.GFP_NOWAIT, 0, TASK)));
  return [
    "no cache is left, and a request for two frames may wait",
    place("page_alloc_slow.ts: compaction finds nothing to move, reclaim nothing to drop"),
    place("oom_kill.ts: task 0 is protected (oom_score_adj -1000), task 1 holds the most"),
    ...killed,
    "nobody is left to kill, and a request must not wait",
    ...stage.told(() => mm.alloc(0, GFP.GFP_ATOMIC, 10, TASK)),
  ];
}

export async function walkPage(): Promise<readonly string[]> {
  const stage = new Stage();
  return [...fresh(stage), ...low(stage), ...short()];
}

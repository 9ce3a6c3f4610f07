/**
 * GFP flags: what an allocation may do to get memory. Bits and combinations are Linux 6.1's
 * (include/linux/gfp_types.h), so that flags of a recorded trace mean the same here.
 */
const DMA = 0x01;
const HIGHMEM = 0x02;
const DMA32 = 0x04;
const MOVABLE = 0x08;
const RECLAIMABLE = 0x10;
/** May use part of the reserve below min. */
const HIGH = 0x20;
const IO = 0x40;
const FS = 0x80;
const ZERO = 0x100;
const ATOMIC = 0x200;
const DIRECT_RECLAIM = 0x400;
const KSWAPD_RECLAIM = 0x800;
const WRITE = 0x1000;
const NOWARN = 0x2000;
const RETRY_MAYFAIL = 0x4000;
const NOFAIL = 0x8000;
const NORETRY = 0x10000;
const MEMALLOC = 0x20000;
const COMP = 0x40000;
const NOMEMALLOC = 0x80000;
const HARDWALL = 0x100000;
const THISNODE = 0x200000;
const ACCOUNT = 0x400000;

const RECLAIM = DIRECT_RECLAIM | KSWAPD_RECLAIM;
const USER = RECLAIM | IO | FS | HARDWALL;
const TRANSHUGE_LIGHT = (USER | HIGHMEM | MOVABLE | COMP | NOMEMALLOC | NOWARN) & ~RECLAIM;

/** Names as the tracer prints them. */
export const GFP = {
  __GFP_DMA: DMA,
  __GFP_HIGHMEM: HIGHMEM,
  __GFP_DMA32: DMA32,
  __GFP_MOVABLE: MOVABLE,
  __GFP_RECLAIMABLE: RECLAIMABLE,
  __GFP_HIGH: HIGH,
  __GFP_IO: IO,
  __GFP_FS: FS,
  __GFP_ZERO: ZERO,
  __GFP_ATOMIC: ATOMIC,
  __GFP_DIRECT_RECLAIM: DIRECT_RECLAIM,
  __GFP_KSWAPD_RECLAIM: KSWAPD_RECLAIM,
  __GFP_RECLAIM: RECLAIM,
  __GFP_WRITE: WRITE,
  __GFP_NOWARN: NOWARN,
  __GFP_RETRY_MAYFAIL: RETRY_MAYFAIL,
  __GFP_NOFAIL: NOFAIL,
  __GFP_NORETRY: NORETRY,
  __GFP_MEMALLOC: MEMALLOC,
  __GFP_COMP: COMP,
  __GFP_NOMEMALLOC: NOMEMALLOC,
  __GFP_HARDWALL: HARDWALL,
  __GFP_THISNODE: THISNODE,
  __GFP_ACCOUNT: ACCOUNT,
  GFP_ATOMIC: HIGH | ATOMIC | KSWAPD_RECLAIM,
  GFP_KERNEL: RECLAIM | IO | FS,
  GFP_KERNEL_ACCOUNT: RECLAIM | IO | FS | ACCOUNT,
  GFP_NOWAIT: KSWAPD_RECLAIM,
  GFP_NOIO: RECLAIM,
  GFP_NOFS: RECLAIM | IO,
  GFP_USER: USER,
  GFP_DMA: DMA,
  GFP_DMA32: DMA32,
  GFP_HIGHUSER: USER | HIGHMEM,
  GFP_HIGHUSER_MOVABLE: USER | HIGHMEM | MOVABLE,
  GFP_TRANSHUGE_LIGHT: TRANSHUGE_LIGHT,
  GFP_TRANSHUGE: TRANSHUGE_LIGHT | DIRECT_RECLAIM,
} as const;

/** Migratetype a request asks for: the two mobility bits are the number. */
export const mobilityOf = (gfp: number): number => (gfp & (MOVABLE | RECLAIMABLE)) >> 3;

/** How one walk over the zones may go (mm/internal.h). */
export const Alloc = {
  WmarkMin: 0,
  WmarkLow: 1,
  WmarkHigh: 2,
  WmarkMask: 3,
  NoWatermarks: 4,
  /** An OOM victim, to let it die: half of the reserve. */
  Oom: 0x08,
  /** Atomic: a quarter of the reserve, and the HighAtomic blocks. */
  Harder: 0x10,
  /** __GFP_HIGH: half of the reserve. */
  High: 0x20,
  /** Rather another zone than a mixed pageblock. */
  NoFragment: 0x100,
  Kswapd: 0x800,
} as const;

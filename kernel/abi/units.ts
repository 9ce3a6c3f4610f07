/**
 * The shared vocabulary: numbers with a unit. The brand exists for the type checker only and is free at run time:
 * a bare number where a unit is asked, or one unit where another is asked, does not compile.
 */
declare const unit: unique symbol;
export type Unit<Name extends string> = number & { readonly [unit]: Name };

/** Virtual (or, in the parallel world, host) time since boot, nanoseconds. Exact to 2^53 ns (104 days). */
export type Nanos = Unit<"ns">;
/** Byte address in simulated physical memory. May exceed 2^32: bit operators are wrong on it. */
export type PhysAddr = Unit<"paddr">;
/** Physical page frame number, PhysAddr / PAGE_SIZE. Fits in 32 bits. Convert only in pfnOf and addrOf. */
export type Pfn = Unit<"pfn">;
/** Negative error number, as a system call returns it. */
export type Errno = Unit<"errno">;
/** Row of the task table. Row 0 is never a task: it is the idle task of every CPU. */
export type Tid = Unit<"tid">;

export const PAGE_SHIFT = 12;
export const PAGE_SIZE = 1 << PAGE_SHIFT;
export const NS_PER_US = 1_000;
export const NS_PER_MS = 1_000_000;
export const NS_PER_SEC = 1_000_000_000;

export const nanos = (ns: number): Nanos => ns as Nanos;
export const tid = (row: number): Tid => row as Tid;
export const pfnOf = (addr: PhysAddr): Pfn => Math.floor(addr / PAGE_SIZE) as Pfn;
export const addrOf = (pfn: Pfn): PhysAddr => (pfn * PAGE_SIZE) as PhysAddr;

/** The machine's first second, since 1970: 2026-01-01. */
export const BOOT_SEC = 1_767_225_600;

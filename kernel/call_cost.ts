/**
 * What system calls, kernel tasks and interrupts cost, ns of CPU time on a current x86 server: orders of magnitude from
 * lmbench-style figures (a null call .1 us, a 4 KiB read of cached data .5 us, open and close 1 us), not a measurement
 * of one machine. Work beside the fixed part is charged where it is done: frames taken, pages reclaimed, requests ended.
 */
import { USER_BYTES } from "./abi/program.ts";
import { Nr } from "./abi/syscall_nr.ts";

/** Way in and out. */
const ENTRY = 120;
/** Bytes copied in a nanosecond. */
const COPY_BYTES = 10;

const FIXED: Readonly<Partial<Record<number, number>>> = {
  [Nr.openat]: 900,
  [Nr.close]: 150,
  [Nr.read]: 250,
  [Nr.write]: 450,
  [Nr.pread64]: 250,
  [Nr.pwrite64]: 450,
  [Nr.fsync]: 600,
  [Nr.fdatasync]: 500,
  [Nr.sync]: 600,
  [Nr.renameat2]: 1_600,
  [Nr.unlinkat]: 1_500,
  [Nr.linkat]: 1_300,
  [Nr.symlinkat]: 1_600,
  [Nr.mkdirat]: 2_000,
  [Nr.newfstatat]: 500,
  [Nr.getdents64]: 800,
  [Nr.truncate]: 1_200,
  [Nr.ftruncate]: 1_000,
  [Nr.fallocate]: 1_500,
  [Nr.setxattr]: 1_200,
  [Nr.fsetxattr]: 1_000,
  [Nr.pipe2]: 900,
  [Nr.clone]: 25_000,
  [Nr.exit]: 12_000,
  [Nr.exit_group]: 12_000,
  [Nr.wait4]: 600,
  [Nr.mmap]: 500,
  [Nr.munmap]: 600,
  [Nr.brk]: 300,
};
/** Calls whose argument 2 is a number of bytes that are copied. */
const COPIES = new Set<number>([Nr.read, Nr.write, Nr.pread64, Nr.pwrite64, Nr.getdents64]);
const OTHER = 200;

export const CALL_COSTS = {
  /** The call that had to wait looks again. */
  retry: 300,
  /** A request that the device has ended, in the interrupt. */
  completion: 700,
  /** A step of the journal's commit or checkpoint, of the flusher (up to 64 pages). */
  journalStep: 2_500,
  flushStep: 6_000,
  /** A page looked at by reclaim, and moved by compaction. */
  scanPage: 150,
  movePage: 1_200,
  /** A dead task is put away. */
  reap: 3_000,
} as const;

export const callCost = (nr: number, bytes: number): number =>
  ENTRY +
  (FIXED[nr] ?? OTHER) +
  (COPIES.has(nr) && bytes > 0 ? Math.floor(Math.min(bytes, USER_BYTES) / COPY_BYTES) : 0);

/**
 * Every bound in the machine, in one place. A queue, table or loop without a row here is a defect; derived bounds are
 * computed, and the relations between bounds are checked by test/kernel/abi/limits.test.ts.
 */

/** CPUs in one machine: one bit each in a pair of 32-bit affinity words. */
export const CPUS_MAX = 64;
/** Rows of the task table, idle row 0 among them. */
export const TASKS_MAX = 65_536;
/** Dispatch queues in one machine: a local one for each CPU, one global, the rest for the policy. */
export const DSQS_MAX = 1_024;
/** Records in one CPU's event ring; a power of two. */
export const RING_RECORDS_MAX = 1 << 20;
/** Largest task name kept, bytes without the NUL (Linux's TASK_COMM_LEN is 16 with it). */
export const COMM_MAX = 15;
/** A policy that lets a runnable task wait longer than this is ejected (sched_ext: 30 s). */
export const WATCHDOG_NS_MAX = 30e9;
/** dispatch() rounds for one pick before the core goes on (sched_ext: SCX_DSP_MAX_LOOPS). */
export const DISPATCH_LOOPS_MAX = 32;
/** Frames of RAM: 4 GiB, what a shared WebAssembly.Memory can be. */
export const RAM_FRAMES_MAX = 1 << 20;
/** Zones of one machine: DMA, DMA32, Normal. */
export const ZONES_MAX = 3;
/** Largest block of the page allocator, as an order: 4 MiB (Linux 6.1: MAX_ORDER - 1). */
export const PAGE_ORDER_MAX = 10;
/** Slab caches in one machine: their number fits in a byte, 0 means none. */
export const SLAB_CACHES_MAX = 255;
/** Rounds of direct reclaim without progress before the OOM killer (Linux: MAX_RECLAIM_RETRIES). */
export const RECLAIM_RETRIES_MAX = 16;
/** Rounds of one direct reclaim in all: a shrinker that claims progress without making any must not hang the machine. */
export const RECLAIM_ROUNDS_MAX = 4_096;
/** Shrinkers in one machine. */
export const SHRINKERS_MAX = 16;
/** Longest line of a trace's text that is read, characters. */
export const TRACE_LINE_MAX = 1 << 14;
/** Events of a recording that are read: 2 GiB of records. */
export const TRACE_EVENTS_MAX = 1 << 26;
/** Requests waiting in or issued by one block queue. */
export const BLOCK_REQUESTS_MAX = 1_024;
/** Requests a plug holds back before it lets go (Linux: BLK_MAX_REQUEST_COUNT). */
export const PLUG_REQUESTS_MAX = 32;
/** Calls of helpers that only look (is a queue empty? is a CPU idle?) in one operation of a policy: more is a loop without end. */
export const POLICY_CALLS_MAX = 1_000_000;
/** Pages that one call may use of the page cache: a MiB. Longer reads are several calls. */
export const CALL_PAGES_MAX = 256;
/** Pages of these that it may change; longer writes are several calls (OP_BLOCKS_MAX of ext4). */
export const CALL_STAGES_MAX = 64;
/** Page ranges that one call may truncate. */
export const CALL_TRUNCATES_MAX = 4;
/** Files open in one page cache. */
export const MAPPINGS_MAX = 65_536;
/** Journals that hold pages of one page cache back. */
export const JOURNALS_MAX = 16;
/** Requests that one page cache may have in flight. */
export const CACHE_IOS_MAX = 128;
/** Pages in one request of the page cache: 1 MiB. */
export const IO_PAGES_MAX = 256;
/** Ranges of one address space, each all mapped or all resident (Linux: vm.max_map_count). */
export const AREAS_MAX = 64;
/** Mounts of one tree; their numbers share 2^53 with 40 bits of an inode number. */
export const MOUNTS_MAX = 64;
/** Symbolic links followed in one path (Linux: MAXSYMLINKS). */
export const SYMLINKS_MAX = 40;
/** Supplementary groups of one task. */
export const GROUPS_MAX = 32;
/** Longest extended attribute's name, and value (Linux: XATTR_NAME_MAX, XATTR_SIZE_MAX). */
export const XATTR_NAME_MAX = 255;
export const XATTR_SIZE_MAX = 65_536;
/** Rounds in which a bare file system moves a waiting call along before it counts as stuck. */
export const FINISH_ROUNDS_MAX = 10_000_000;

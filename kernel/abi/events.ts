/**
 * Everything that happens is an event: a fixed record of 32 bytes in the ring of the CPU on which it happened.
 *
 *   word 0-1  time, nanoseconds since boot (float64)
 *   word 2    type (low 16 bits) | cpu << 16
 *   word 3-6  a, b, c, d (int32), meaning by type below
 *   word 7    serial: counts the ring's records from 0 (gaps mean records lost to overwriting)
 *
 * Numbers are part of the recorded format: append, never renumber. Each wing has a range of 64.
 */
export const EVENT_BYTES = 32;
export const EVENT_WORDS = EVENT_BYTES / 4;

export const Ev = {
  /** a previous task, b next task, c state the previous was left in (TaskLeft), d previous nice << 8 | next nice (int8 each). */
  SchedSwitch: 1,
  /** a task woken, b target CPU, c waker's context (WakeContext), d nice. Emitted when the wake begins, on the waker's CPU. */
  SchedWaking: 2,
  /** a task, b target CPU, d nice. The task is on a run queue. */
  SchedWakeup: 3,
  /** a task, b target CPU, d nice. First time runnable. */
  SchedWakeupNew: 4,
  /** a parent, b child. */
  SchedFork: 5,
  /** a task, d nice. */
  SchedExit: 6,
  /** a task, b from CPU, c to CPU, d nice. */
  SchedMigrate: 7,
  /** a reason (EjectReason), b task that waited or 0, c milliseconds it waited. The policy is thrown out. */
  SchedEject: 8,
  /** a mark's number (index into the log's table of marks), b task that wrote it, c free: a workload's own marker (`spin start`, `spin end`). */
  Mark: 9,
  /** a length of the tick's work, ns. */
  Tick: 10,
  /** a task, which now runs another program; its new name is in the log's table. */
  SchedExec: 11,
  /** a policy that rules from now on, b the one before, as numbers of the machine's list; c tasks that waited. */
  SchedPolicy: 12,
  /** a file's handle, b page index, c slot. A page enters the page cache (mm_filemap_add_to_page_cache). */
  FilemapAdd: 112,
  /** a file's handle, b page index, c slot, d 1: it was evicted. A page leaves it (mm_filemap_delete_from_page_cache). */
  FilemapDelete: 113,
  /** a file's handle, b first page index, c pages. Write-back of a run of pages begins. */
  WritebackStart: 114,
  /** a file's handle, b first page index, c pages, d negative errno. Write-back failed; fsync will tell. */
  WritebackError: 115,
  /** a file's handle, b first page index, c pages in the window, d pages from its end at which the next one begins. */
  Readahead: 116,
} as const;

/**
 * State a task is left in at a switch, as sched_switch's prev_state: R, R+ (preempted), S, D, X (dead); and as recordings
 * of real kernels have it: I (idle kernel thread), T (stopped), t (traced), Z (zombie), P (parked).
 */
export const TaskLeft = {
  Runnable: 0,
  Preempted: 1,
  Sleeping: 2,
  Uninterruptible: 3,
  Dead: 4,
  Idle: 5,
  Stopped: 6,
  Traced: 7,
  Zombie: 8,
  Parked: 9,
} as const;
/** Who wakes: a task in its own context, a timer or device in interrupt context. */
export const WakeContext = { Task: 0, Timer: 1, Device: 2 } as const;
/** Why a policy was ejected. */
export const EjectReason = { Stall: 0, Error: 1, BadDispatch: 2 } as const;

/** Memory: 64 to 127. Names are the Linux trace points' where there is one (include/trace/events/kmem.h, vmscan.h, compaction.h). */
export const MmEv = {
  /** a frame, b order, c mobility, d GFP flags. */
  PageAlloc: 64,
  /** a frame, b order, c last owner. */
  PageFree: 65,
  /** a frame, b order, c migratetype, d 1 when it refills a per-CPU list. Taken from the zone's lists. */
  PageAllocZoneLocked: 66,
  /** a frame, b order, c migratetype. Back from a per-CPU list to the zone's. */
  PagePcpuDrain: 67,
  /** a frame, b wanted order << 8 | stolen order, c wanted type << 8 | stolen type, d 1: the pageblock changed type. */
  PageAllocExtfrag: 68,
  /** a zone, b frames free, c mark, d 1: enough. The watermark check before a zone is used. */
  Watermark: 69,
  /** a frame taken, b order asked, c order it was cut from. */
  BuddySplit: 70,
  /** a first frame, b order, c cache, d objects. */
  SlabNew: 71,
  /** a address >>> 3, b bytes asked, c cache, d owner. */
  KmemCacheAlloc: 72,
  /** a address >>> 3, c cache. */
  KmemCacheFree: 73,
  /** a zone, b order. */
  WakeupKswapd: 74,
  /** a zone, b frames free. */
  KswapdSleep: 75,
  /** a order, b GFP flags. */
  DirectReclaimBegin: 76,
  /** a frames reclaimed. */
  DirectReclaimEnd: 77,
  /** a zone, b migrate scanner's frame, c free scanner's frame, d order (-1: proactive). */
  CompactionBegin: 78,
  /** a zone, b frames moved, c frames that could not be, d result (CompactResult). */
  CompactionEnd: 79,
  /** a victim's row, b its badness, c frames given back. */
  OomKill: 80,
  /** a order, b GFP flags. ENOMEM. */
  AllocFailed: 81,
} as const;

/** File systems: 128 to 191. Names are near those of Linux's trace points (include/trace/events/ext4.h, jbd2.h). */
export const FsEv = {
  /** a transaction, b blocks that the call may add. A call that may change has begun (jbd2_handle_start). */
  HandleStart: 128,
  /** a transaction, b blocks that it has now. The call is part of it (jbd2_handle_stats). */
  HandleStop: 129,
  /** a transaction, b phase it was in, c phase it is in now (Phase of kernel/fs/jbd2/commit.ts). */
  CommitPhase: 130,
  /** a phase it was in, b phase it is in now (Phase of kernel/fs/jbd2/checkpoint.ts), c blocks waiting to go home. */
  CheckpointPhase: 131,
  /** a inode, b clusters promised, c all that are promised now. Delayed allocation (ext4_da_reserve_space). */
  DaReserve: 132,
  /** a inode, b block of the file, c block of the device, d blocks. A place for delayed blocks (ext4_allocate_blocks). */
  AllocateBlocks: 133,
} as const;

/** Blocks: 192 to 255. Names are Linux's trace points' (include/trace/events/block.h). d: the task that asked, 0 the kernel. */
export const BlkEv = {
  /** a sector, b sectors, c BlockOp | flags << 8, d task. In the queue. */
  RqInsert: 192,
  /** a sector, b sectors, c BlockOp | flags << 8, d task. Given to the device's driver. */
  RqIssue: 193,
  /** a sector, b sectors, c BlockOp | flags << 8, d result: 0 or a negative errno. */
  RqComplete: 194,
} as const;

/** Kernel entry: 256 to 319. Names are near those of Linux's trace points (raw_syscalls, irq, signal). */
export const SysEv = {
  /** a task, b number, c first argument (its low 32 bits), d third argument (likewise). */
  Enter: 256,
  /** a task, b number, c result (its low 32 bits), d times that it had to wait. */
  Exit: 257,
  /** a task, b channel (Wait of kernel/wait.ts). */
  Sleep: 258,
  /** a interrupt: 0 is the disk's. */
  IrqEntry: 259,
  /** a interrupt, b what it ended. */
  IrqExit: 260,
  /** a task, b signal. */
  Kill: 261,
  /** a task, b exit code. */
  TaskExit: 262,
} as const;

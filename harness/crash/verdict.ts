/**
 * What a judge says of one crash state.
 *
 *   refused      the file system does not mount: recovery itself gave up
 *   recovery     e2fsck's policy: recovery worked around damage
 *   structure    recovered, and the checker finds damage
 *   lost         a file or name is not there whose durability was promised
 *   content      it is there, with another content, size, mode or target
 *   stale        a file shows data that were never its own
 *   atomic       a rename left neither the old nor the new
 *
 * `superblockTear` is apart and not flagged: the superblock was torn within its checksum, and Linux refuses it, too.
 */
import type { Super } from "../../kernel/index.ts";
import type { CrashDisk } from "./crash_disk.ts";

export const FLAG_CLASSES = ["refused", "recovery", "structure", "lost", "content", "stale", "atomic"] as const;
export type FlagClass = (typeof FLAG_CLASSES)[number];
export type VerdictClass = FlagClass | "clean" | "superblockTear";

export interface Verdict {
  readonly class: VerdictClass;
  readonly why: string;
}

export const CLEAN: Verdict = { class: "clean", why: "" };
export const isFlagged = ({ class: found }: Verdict): boolean => found !== "clean" && found !== "superblockTear";

/** What the workload was promised. */
export interface Promises {
  /** Which of the promises that the first `markers` markers made is broken, if any: asked of a disk that was recovered. */
  broken(disk: CrashDisk, sb: Super, markers: number): Verdict | undefined;
}

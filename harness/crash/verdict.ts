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
 * Apart and not flagged are tears within one checksum, which Linux refuses, too: `superblockTear`, and `commitTear`, a
 * commit block with the end of what had stood there in the log before.
 */
import type { Super } from "../../kernel/index.ts";
import type { CrashDisk } from "./crash_disk.ts";

export const FLAG_CLASSES = ["refused", "recovery", "structure", "lost", "content", "stale", "atomic"] as const;
export type FlagClass = (typeof FLAG_CLASSES)[number];
export type VerdictClass = FlagClass | "clean" | "superblockTear" | "commitTear";

export interface Verdict {
  readonly class: VerdictClass;
  readonly why: string;
}

export const CLEAN: Verdict = { class: "clean", why: "" };
export const isRefusedTear = ({ class: found }: Verdict): boolean =>
  found === "superblockTear" || found === "commitTear";
export const isFlagged = (verdict: Verdict): boolean => verdict.class !== "clean" && !isRefusedTear(verdict);

/** What the workload was promised. */
export interface Promises {
  /** Which of the promises that the first `markers` markers made is broken, if any: asked of a disk that was recovered. */
  broken(disk: CrashDisk, sb: Super, markers: number): Verdict | undefined;
}

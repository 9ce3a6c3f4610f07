/**
 * The checker: reads a whole image and reports damage by kind, as `e2fsck -fn` would find it, without writing. Never
 * throws on any input; its loops are bounded by the sizes that readSuper() has checked, and by each block's one owner.
 *
 * - new Checker()              tables for one geometry after the other; keep it for many states of one file system
 * - checker.run(image, sb)     CheckReport
 * - checker.state              the tables of the last run, for who wants to mend counts
 *
 * Checksums of slots that did not change since the last run are not computed again (block_image.ts).
 */
import type { BlockImage } from "../block_image.ts";
import { checkCounts } from "./check_count.ts";
import { DirPass } from "./check_dir.ts";
import { checkGroups } from "./check_group.ts";
import { checkInodes } from "./check_inode.ts";
import { CheckState } from "./check_state.ts";
import type { Damage, DamageKind } from "./check_state.ts";
import { be32 } from "../../lib/bytes.ts";
import { JSB } from "../jbd2/layout.ts";
import { COMPAT } from "./layout.ts";
import { openJournal } from "./recover.ts";
import type { Super } from "./super.ts";

export interface CheckReport {
  readonly clean: boolean;
  readonly counts: ReadonlyMap<DamageKind, number>;
  /** The first findings, in the order of the passes. */
  readonly damage: readonly Damage[];
  /** Inodes in use beside the reserved ones, and directories among them. */
  readonly inodes: number;
  readonly directories: number;
}

export class Checker {
  state: CheckState | undefined;
  readonly #dirs = new DirPass();

  run(image: BlockImage, sb: Super): CheckReport {
    const state = this.#stateFor(image, sb);
    if (checkGroups(state)) {
      checkJournal(state);
      checkInodes(state);
      this.#dirs.run(state);
      checkCounts(state);
    }
    return {
      clean: state.counts.size === 0,
      counts: state.counts,
      damage: state.damage,
      inodes: state.inodeCount,
      directories: state.dirCount,
    };
  }

  #stateFor(image: BlockImage, sb: Super): CheckState {
    if (this.state === undefined || !this.state.fits(sb)) this.state = new CheckState(image, sb);
    else this.state.clear(image, sb);
    return this.state;
  }
}

function checkJournal(state: CheckState): void {
  const { sb, image } = state;
  if ((sb.compat & COMPAT.has_journal) === 0 || sb.journalIno === 0) return;
  const journal = openJournal(image, sb);
  if ("reason" in journal) return state.report("journal", journal.reason);
  if (journal.start !== 0) state.report("journal", "the log of the journal is not empty");
  const users = be32(image.view, image.at(journal.map[0]!) + JSB.s_nr_users);
  if (journal.version === 2 && users > 1) state.report("journal", `the journal has ${users} users`);
  if (journal.errno !== 0) state.report("journal", `the journal was aborted with error ${journal.errno}`);
}

/**
 * Judges crash states of a file system whose format we do not read: its own checker looks at the disk as the crash left
 * it (where it can), a real Linux mounts it, reads all of it and unmounts it, the checker looks at what that left, and
 * the tree that Linux saw is asked for what was owed.
 *
 * - openForeign(recorded, facts, options)     the recording cut into segments; guests come when the first state is judged
 * - foreign.judge(seat, states)               several seats at once, one state each
 */
import { join } from "node:path";
import { UserError } from "../../cli/exit.ts";
import { SparseDisk } from "../../disk/sparse.ts";
import { runFolder } from "../../qemu/open_things.ts";
import { CrashDisk } from "../crash_disk.ts";
import { statesOf } from "../enumerate.ts";
import type { EnumerateOptions, SegmentStates } from "../enumerate.ts";
import type { ListedEntry } from "../guest_listing.ts";
import type { RunFacts } from "../guest_runs.ts";
import type { GuestTemplate } from "../guest_template.ts";
import { segmentsOf } from "../recorded.ts";
import type { Recorded } from "../recorded.ts";
import { eachBlock } from "../referee.ts";
import type { StateSet } from "../state_set.ts";
import { CLEAN } from "../verdict.ts";
import type { Verdict } from "../verdict.ts";
import { askChecker, foreignOf, needCheckers } from "./fsck.ts";
import { openMounters } from "./mounter.ts";
import type { Mounters } from "./mounter.ts";
import { brokenPromise, owedBy } from "./promises.ts";

/** Of the overlay: the formats' own blocks may be larger or smaller. */
const BLOCK_BYTES = 4_096;

export interface Foreign {
  readonly recorded: Recorded;
  readonly disk: CrashDisk;
  readonly segments: readonly SegmentStates[];
  judge(seat: number, segment: number, set: StateSet): Promise<Verdict>;
  close(): Promise<void>;
}

export interface ForeignOptions {
  readonly template: GuestTemplate;
  readonly bounds: EnumerateOptions;
  /** Guests at once. */
  readonly seats: number;
}

/** Without facts nothing is owed: only the structure is judged. */
export function openForeign(
  recorded: Recorded,
  facts: RunFacts | undefined,
  { template, bounds, seats }: ForeignOptions,
): Foreign {
  const sizeBytes = recorded.base.length;
  if (sizeBytes % BLOCK_BYTES !== 0)
    throw new UserError(`a disk of ${sizeBytes} bytes is no multiple of ${BLOCK_BYTES}: choose another size`);
  const fs = foreignOf(template.fs);
  needCheckers(fs);
  const disk = new CrashDisk(recorded, BLOCK_BYTES);
  const segments = segmentsOf(recorded).map((segment) => statesOf(segment, bounds));
  const owed: readonly (readonly ListedEntry[])[] = facts === undefined ? [] : owedBy(facts, fs.fsyncPromises);
  const folder = runFolder();
  let opened: Promise<Mounters> | undefined;

  const contentOf = (segment: number, set: StateSet): SparseDisk => {
    disk.enter(segments[segment]!.segment);
    const copy = new SparseDisk(sizeBytes);
    eachBlock(disk.state(set), (bytes, offset) => copy.writeAt(offset, bytes));
    disk.undo();
    return copy;
  };

  async function judge(seat: number, segment: number, set: StateSet): Promise<Verdict> {
    const content = contentOf(segment, set);
    const path = join(folder.path, `seat${seat}.img`);
    const found: string[] = [];
    const ask = async (when: string, checker: typeof fs.after, of: SparseDisk): Promise<void> => {
      if (checker === undefined) return;
      of.store(path);
      const { clean, lines } = await askChecker(checker, path);
      if (!clean) found.push(`${checker.program} ${when} mounting: ${lines.slice(0, LINES_SHOWN).join("; ")}`);
    };
    await ask("before", fs.before, content);
    opened ??= openMounters(template, sizeBytes, seats);
    const looked = await (await opened).look(seat, content);
    if ("refused" in looked) {
      const torn = set.tear !== undefined && fs.tornSuper?.test(looked.refused) === true;
      return { class: torn ? "superblockTear" : "refused", why: looked.refused };
    }
    await ask("after", fs.after, looked.left);
    const { tree, unread, complaints } = looked;
    if (complaints.length > 0) found.push(`Linux says: ${complaints[0]!}`);
    if (unread.length > 0) found.push(`it cannot be read: ${unread[0]!}`);
    if (found.length > 0) return { class: "structure", why: found.join("; ").slice(0, WHY_MAX) };
    const markers = segments[segment]!.segment.markers[set.cut]!;
    return brokenPromise(owed[markers] ?? [], tree) ?? CLEAN;
  }

  return {
    recorded,
    disk,
    segments,
    judge,
    async close() {
      await (await opened?.catch(() => undefined))?.close();
      folder.remove();
    },
  };
}

const LINES_SHOWN = 3;
const WHY_MAX = 300;

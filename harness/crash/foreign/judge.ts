/**
 * Judges crash states of a file system whose format we do not read: its own checker looks at the disk as the crash left
 * it (where it can), a real Linux mounts it, reads all of it and unmounts it, the checker looks at what that left, and
 * the tree that Linux saw is asked for what was owed.
 *
 * - openForeign(recorded, facts, options)     the recording cut into segments; guests come when the first state is judged
 * - needWholeBlocks(sizeBytes)                one clear line for a disk that cannot be judged
 * - foreign.judge(seat, states)               several seats at once, one state each
 */
import { join } from "node:path";
import { UserError } from "../../cli/exit.ts";
import { SparseDisk } from "../../disk/sparse.ts";
import { runFolder } from "../../qemu/open_things.ts";
import { CrashDisk } from "../crash_disk.ts";
import { statesOf } from "../enumerate.ts";
import type { EnumerateOptions, SegmentStates } from "../enumerate.ts";
import { isFile } from "../guest_listing.ts";
import type { RunFacts } from "../guest_runs.ts";
import type { GuestTemplate } from "../guest_template.ts";
import { segmentsOf } from "../recorded.ts";
import type { Recorded } from "../recorded.ts";
import { eachBlock } from "../referee.ts";
import type { StateSet } from "../state_set.ts";
import { CLEAN } from "../verdict.ts";
import type { Verdict } from "../verdict.ts";
import { askChecker, foreignOf, needCheckers, sortWords } from "./fsck.ts";
import type { Checker, Finding } from "./fsck.ts";
import { openMounters } from "./mounter.ts";
import type { Mounters } from "./mounter.ts";
import { brokenPromise, owedBy } from "./promises.ts";
import { LINUX_WORDS, UNFLUSHED_KIND } from "./without_journal.ts";
import type { Expected } from "./without_journal.ts";

const LINES_SHOWN = 3;
const WHY_MAX = 300;
/** Of the overlay: the formats' own blocks may be larger or smaller. */
const BLOCK_BYTES = 4_096;

export interface ForeignVerdict extends Verdict {
  /** Kinds of damage that a file system without a journal may have after a crash: without_journal.ts. */
  readonly expected: readonly string[];
}

/** A shell's complaint names the file in quotes. */
const ofLinux = (line: string): Finding => {
  const file = /'\.\/(.*?)'/.exec(line)?.[1];
  return { line, files: file === undefined ? [] : [file] };
};

export interface Foreign {
  readonly recorded: Recorded;
  readonly disk: CrashDisk;
  readonly segments: readonly SegmentStates[];
  readonly judge: (seat: number, segment: number, set: StateSet) => Promise<ForeignVerdict>;
  close(): Promise<void>;
}

export interface ForeignOptions {
  readonly template: GuestTemplate;
  readonly bounds: EnumerateOptions;
  /** Guests at once. */
  readonly seats: number;
}

export function needWholeBlocks(sizeBytes: number): void {
  if (sizeBytes % BLOCK_BYTES === 0) return;
  throw new UserError(`a disk of ${sizeBytes} bytes is no multiple of ${BLOCK_BYTES}: choose another size`);
}

/** Without facts nothing is owed: only the structure is judged. */
export function openForeign(
  recorded: Recorded,
  facts: RunFacts | undefined,
  { template, bounds, seats }: ForeignOptions,
): Foreign {
  const sizeBytes = recorded.base.length;
  needWholeBlocks(sizeBytes);
  const fs = foreignOf(template.fs);
  needCheckers(fs);
  const disk = new CrashDisk(recorded, BLOCK_BYTES);
  const segments = segmentsOf(recorded).map((segment) => statesOf(segment, bounds));
  const owed = facts === undefined ? [] : owedBy(facts, fs);
  const folder = runFolder();
  let opened: Promise<Mounters> | undefined;

  const contentOf = (segment: number, set: StateSet): SparseDisk => {
    disk.enter(segments[segment]!.segment);
    const copy = new SparseDisk(sizeBytes);
    eachBlock(disk.state(set), (bytes, offset) => copy.writeAt(offset, bytes));
    disk.undo();
    return copy;
  };

  async function judge(seat: number, segment: number, set: StateSet): Promise<ForeignVerdict> {
    const content = contentOf(segment, set);
    const path = join(folder.path, `seat${seat}.img`);
    const { firm, unflushed } = owed[segments[segment]!.segment.markers[set.cut]!] ?? { firm: [], unflushed: [] };
    const whole = new Set(firm.filter(({ mode }) => isFile(mode)).map((one) => one.path.toLowerCase()));
    const damage: string[] = [];
    const expected = new Set<string>();
    const take = (who: string, findings: readonly Finding[], words: Expected): void => {
      const sorted = sortWords(findings, words, whole);
      for (const kind of sorted.expected) expected.add(kind);
      if (sorted.damage.length > 0) damage.push(`${who}: ${sorted.damage.slice(0, LINES_SHOWN).join("; ")}`);
    };
    const ask = async (when: string, checker: Checker | undefined, of: SparseDisk): Promise<void> => {
      if (checker === undefined) return;
      of.store(path);
      take(`${checker.program} ${when} mounting`, await askChecker(checker, path), checker.expected);
    };
    const verdict = (found: Verdict): ForeignVerdict => ({ ...found, expected: [...expected].sort() });
    await ask("before", fs.before, content);
    opened ??= openMounters(template, sizeBytes, seats);
    const looked = await (await opened).look(seat, content);
    if ("refused" in looked) {
      const torn = set.tear !== undefined && fs.tornSuper?.test(looked.refused) === true;
      return verdict({ class: torn ? "superblockTear" : "refused", why: looked.refused });
    }
    await ask("after", fs.after, looked.left);
    take("Linux", [...looked.complaints, ...looked.unread].map(ofLinux), fs.journal ? [] : LINUX_WORDS);
    if (damage.length > 0) return verdict({ class: "structure", why: damage.join("; ").slice(0, WHY_MAX) });
    if (brokenPromise(unflushed, looked.tree) !== undefined) expected.add(UNFLUSHED_KIND);
    return verdict(brokenPromise(firm, looked.tree) ?? CLEAN);
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

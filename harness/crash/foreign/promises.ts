/**
 * What a run owes after a crash, from what the guest itself saw: at each marker it told its tree, and which steps came
 * between two markers is known.
 *
 * | marker | owed from then on |
 * |---|---|
 * | sync       | every name of the tree, with type, mode, size and content or target |
 * | fsync FILE | that file, where the file system's fsync promises the name, too; and what was owed before |
 *
 * Where a sync writes but does not have the disk flush its cache, all that it wrote is `unflushed` until the next fsync,
 * which does: what a crash takes of it is told apart.
 *
 * Nothing is owed of a name once a step has named it, or once a later tree shows it otherwise: it may be there in the
 * old way, the new one, or one in between, until a marker owes it anew. What a step changes without naming it (a script
 * with patterns) and changes back before the next marker cannot be seen.
 *
 * - owedBy(facts, promises)        by number of markers passed: the entries owed
 * - brokenPromise(entries, tree)   the first that is not as it was
 */
import type { RunFacts } from "../guest_runs.ts";
import { listingOf, sameEntry } from "../guest_listing.ts";
import type { ListedEntry, Listing } from "../guest_listing.ts";
import { MOUNTED } from "../guest_workload.ts";
import type { GuestStep } from "../guest_workload.ts";
import type { Verdict } from "../verdict.ts";

type Told = Pick<RunFacts, "commands" | "cutStep" | "seen">;

/** Whether a command names this path, or a directory above it as a whole. */
function mentions(command: string, path: string): boolean {
  for (let end = path.length; end > 0; end = path.lastIndexOf("/", end - 1)) {
    const name = `${MOUNTED}/${path.slice(0, end)}`;
    for (let at = command.indexOf(name); at >= 0; at = command.indexOf(name, at + 1))
      if (!/[\w/]/.test(command[at + name.length] ?? " ")) return true;
  }
  return false;
}

export interface Promising {
  /** Whether fsync of a file makes its name durable, too. */
  readonly fsyncPromises: boolean;
  /** Whether sync has the disk flush its cache. */
  readonly syncFlushes: boolean;
}

export interface Owed {
  readonly firm: readonly ListedEntry[];
  readonly unflushed: readonly ListedEntry[];
}

interface Debt {
  readonly entry: ListedEntry;
  readonly firm: boolean;
}
type Debts = ReadonlyMap<string, Debt>;

/** The first marker is the mount's: it promises nothing, and neither does the time before it. */
export function owedBy({ commands, cutStep, seen }: Told, { fsyncPromises, syncFlushes }: Promising): Owed[] {
  let now: Debts = new Map();
  const owed: Debts[] = [now];
  let last = 0;
  for (const [n, { step, text }] of seen.entries()) {
    const { tree } = listingOf(text);
    // What was owed at the last marker is so while nothing touches it: the steps up to this one may be under way.
    if (n === seen.length - 1) {
      owed.push(kept(now, commands.slice(last, cutStep + 1), tree));
      break;
    }
    now = kept(now, commands.slice(last, step), tree);
    owed.push(now);
    const { marker, command } = commands[step - 1]!;
    const isSync = !marker!.startsWith("fsync");
    const next = new Map(now);
    if (!isSync) for (const [path, { entry }] of now) next.set(path, { entry, firm: true });
    for (const [path, entry] of tree) {
      if (isSync) next.set(path, { entry, firm: syncFlushes || now.get(path)?.firm === true });
      else if (fsyncPromises && mentions(command, path)) next.set(path, { entry, firm: true });
    }
    now = next;
    last = step;
  }
  return owed.map((debts) => {
    const of = (firm: boolean) => [...debts.values()].filter((debt) => debt.firm === firm).map(({ entry }) => entry);
    return { firm: of(true), unflushed: of(false) };
  });
}

/** What the steps neither named, by this name or another of the same file, nor changed. Syncs change nothing. */
function kept(owed: Debts, steps: readonly GuestStep[], tree: Listing): Debts {
  const changing = steps.filter(({ marker }) => marker === undefined);
  const named = (path: string): boolean => changing.some(({ command }) => mentions(command, path));
  const inodes = new Set([...tree].filter(([path]) => named(path)).map(([, { inode }]) => inode));
  return new Map(
    [...owed].filter(([path, { entry }]) => sameEntry(entry, tree.get(path)) && !inodes.has(tree.get(path)!.inode)),
  );
}

export function brokenPromise(owed: readonly ListedEntry[], tree: Listing): Verdict | undefined {
  for (const entry of owed) {
    const found = tree.get(entry.path);
    if (found === undefined) return { class: "lost", why: `${entry.path}: it is not there` };
    if (sameEntry(entry, found)) continue;
    const { mode, size } = entry;
    if (found.mode !== mode)
      return { class: "content", why: `${entry.path} has mode ${found.mode.toString(8)}, not ${mode.toString(8)}` };
    if (found.size !== size) return { class: "content", why: `${entry.path} has ${found.size} bytes, not ${size}` };
    return { class: "content", why: `${entry.path} has another content` };
  }
  return undefined;
}

/**
 * What a run owes after a crash, from what the guest itself saw: at each marker it told its tree, and which steps came
 * between two markers is known.
 *
 * | marker | owed from then on |
 * |---|---|
 * | sync       | every name of the tree, with type, mode, size and content or target |
 * | fsync FILE | that file, where the file system's fsync promises the name, too; and what was owed before |
 *
 * Nothing is owed of a name once a step has named it, or once a later tree shows it otherwise: it may be there in the
 * old way, the new one, or one in between, until a marker owes it anew. What a step changes without naming it (a script
 * with patterns) and changes back before the next marker cannot be seen.
 *
 * - owedBy(facts, fsyncPromises)     by number of markers passed: the entries owed
 * - brokenPromise(owed, tree)        the first that is not as it was
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

/** The first marker is the mount's: it promises nothing, and neither does the time before it. */
export function owedBy({ commands, cutStep, seen }: Told, fsyncPromises: boolean): ListedEntry[][] {
  const owed: ListedEntry[][] = [[], []];
  const trees = seen.map(({ text }) => listingOf(text).tree);
  let now = new Map<string, ListedEntry>();
  let last = 0;
  for (const [n, { step }] of seen.entries()) {
    const tree = trees[n]!;
    const between = commands.slice(last, step);
    now = kept(now, between, tree);
    if (n === seen.length - 1) {
      // Where the power goes: the step that was begun changes things, too.
      const begun = commands.slice(last, cutStep + 1);
      owed[owed.length - 1] = [...kept(new Map(owed.at(-1)!.map((one) => [one.path, one])), begun, tree).values()];
      break;
    }
    // What the steps before this marker changed was not owed while they ran.
    owed[owed.length - 1] = owed.at(-1)!.filter(({ path }) => now.has(path));
    const { marker, command } = commands[step - 1]!;
    for (const [path, entry] of tree) {
      if (marker!.startsWith("fsync") && !(fsyncPromises && mentions(command, path))) continue;
      now.set(path, entry);
    }
    owed.push([...now.values()]);
    last = step;
  }
  return owed;
}

/** What the steps neither named, by this name or another of the same file, nor changed. Syncs change nothing. */
function kept(owed: ReadonlyMap<string, ListedEntry>, steps: readonly GuestStep[], tree: Listing) {
  const changing = steps.filter(({ marker }) => marker === undefined);
  const named = (path: string): boolean => changing.some(({ command }) => mentions(command, path));
  const inodes = new Set([...tree].filter(([path]) => named(path)).map(([, { inode }]) => inode));
  return new Map(
    [...owed].filter(([path, entry]) => sameEntry(entry, tree.get(path)) && !inodes.has(tree.get(path)!.inode)),
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

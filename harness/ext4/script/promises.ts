/**
 * What must be on the disk after a crash, from the model of a script (design: what ext4 promises).
 *
 *   sync done            every path of the tree, with content; and no path beside them but what came after
 *   fsync, fdatasync     that file's content under its names; not those that a rename since the last sync made or moved
 *   mmapwrite            the same: it ends as msync does
 *   any other operation  no word on what it changes, from its beginning until the next sync or fsync
 *
 * It holds for data=ordered, journal and writeback alike: fsync writes the file's own data in each of them. Of files that
 * were not synced nothing is said; nor of a directory's fsync.
 *
 * - new PromiseBook(model)
 * - book.begin(op), then the model makes it, then book.end(op, result)
 * - book.broken(tree)       what a recovered tree (manifest lines) does not keep; undefined when all is there
 */
import type { ModelTree } from "./model.ts";
import type { Op } from "./op.ts";

/** "f 644 5 HASH path": the path is behind the fourth blank, but for a link, whose target may hold blanks. */
const byPath = (lines: readonly (readonly [path: string, line: string])[]): Map<string, string> => new Map(lines);

const within = (path: string, above: string): boolean => path === above || path.startsWith(`${above}/`);

export class PromiseBook {
  readonly #model: ModelTree;
  #promised = new Map<string, string>();
  /** Paths that changed since the last sync: nothing is known of them. */
  readonly #loose = new Set<string>();
  readonly #moved = new Set<string>();
  #before: Map<string, string>;

  constructor(model: ModelTree) {
    this.#model = model;
    this.#before = byPath(model.entries());
    this.#promised = new Map(this.#before);
  }

  /** After the model has made the operation, while the file system still works on it. */
  begin(op: Op): void {
    const after = byPath(this.#model.entries());
    for (const [path, line] of after) if (this.#before.get(path) !== line) this.#touch(path);
    for (const path of this.#before.keys()) if (!after.has(path)) this.#touch(path);
    this.#before = after;
    if (op.name === "rename") for (const path of [op.path, op.to]) this.#moved.add(this.#model.placeOf(path));
  }

  #touch(path: string): void {
    this.#promised.delete(path);
    this.#loose.add(path);
  }

  /** The file system has answered. */
  end(op: Op, result: number): void {
    if (result < 0) return;
    if (op.name === "sync") {
      this.#promised = new Map(this.#before);
      this.#loose.clear();
      this.#moved.clear();
    } else if (op.name === "fsync" || op.name === "fdatasync" || op.name === "mmapwrite") {
      for (const path of this.#model.namesOf(op.path)) {
        const line = this.#before.get(path);
        if (line?.startsWith("f ") === true && ![...this.#moved].some((above) => within(path, above)))
          this.#promised.set(path, line);
      }
    }
  }

  broken(tree: ReadonlyMap<string, string>): string | undefined {
    for (const [path, line] of this.#promised)
      if (tree.get(path) !== line)
        return `"${line.slice(0, 150)}" was promised, there is "${(tree.get(path) ?? "nothing").slice(0, 150)}"`;
    for (const [path, line] of tree)
      if (!this.#promised.has(path) && !this.#loose.has(path))
        return `"${line.slice(0, 150)}" is there, and nobody made it`;
    return undefined;
  }
}

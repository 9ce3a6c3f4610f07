/**
 * What ext4 owes a workload that is known call by call, and whether a recovered image has it. The table:
 *
 * | | ordered | journal | writeback |
 * |---|---|---|---|
 * | names, types, hard links, targets, attributes | the tree after some whole call k, never between two calls, and never one without an earlier one | same | same |
 * | k | at least the call of the last sync, or of the last fsync or fdatasync of a directory; of an fsync(x) of a file: the last call before it that made x, changed its size, an attribute, or one of its own names; of an fdatasync(x): that made it or changed its size | same | same |
 * | content of a file | each sector is that of one of its contents since the last sync or fsync of it | same | same, once it was synced; until then anything |
 * | size | between the least and the largest of these | same | same |
 *
 * A file's own names are those that directories have for it: a directory above that is renamed does not change the file, and
 * its fsync does not owe the new path (docs/decisions/crash.md).
 *
 * A long write and fallocate are several transactions, so not even journalled data come as a whole.
 * Appended data have no order among each other: an append of several blocks may be there in part, and where the file had
 * been shorter there may be zeroes (a later call moved its end, the data were still to be written). No file may show a
 * sector that no content of it ever had (stale blocks), but with data=writeback before it was synced.
 *
 * - markText(mark), ModelPromises(tree, marks, mode, from)   markers of a recording say how far the workload was; calls
 *                                                           up to `from` are on the disk when it begins
 */
import { isErr } from "../../kernel/abi/errno.ts";
import type { DataMode } from "../../kernel/index.ts";
import {
  blockArea,
  ext4Inode,
  ext4InodeLayout,
  ext4Layout,
  ibodyArea,
  readFile,
  readLink,
  walkXattrs,
  xattrName,
} from "../../kernel/index.ts";
import type { BlockImage, Super } from "../../kernel/index.ts";
import { latin, walkTree } from "../ext4/tree.ts";
import type { CrashDisk } from "./crash_disk.ts";
import { versionsBetween, xattrsAt } from "./model_tree.ts";
import type { ModelNode, ModelTree } from "./model_tree.ts";
import type { Promises, Verdict } from "./verdict.ts";

/** A call begins, or it has ended and what it promised holds. */
export interface Mark {
  readonly step: number;
  /** commit: an fsync or fdatasync of a directory: all changes of names, no contents. */
  readonly kind: "begin" | "done" | "sync" | "commit" | "fsync" | "fdatasync";
  /** Of fsync and fdatasync: a file. */
  readonly node?: number;
}

export const markText = ({ step, kind, node }: Mark): string =>
  `${kind} ${step}${node === undefined ? "" : ` ${node}`}`;

const SECTOR = 512;
const USER_PREFIX = 1;

interface FoundFile {
  readonly path: string;
  readonly ino: number;
  readonly at: number;
  readonly type: number;
}

/** How far a workload was, and what it had been promised by then. */
interface Reached {
  /** Calls begun, and the least number of them whose changes of names must be there. */
  readonly begun: number;
  readonly namesFrom: number;
  /** Node -> step from which its contents count. */
  readonly contentFrom: ReadonlyMap<number, number>;
  readonly allFrom: number;
}

export class ModelPromises implements Promises {
  readonly #tree: ModelTree;
  readonly #mode: DataMode;
  readonly #reached: readonly Reached[];
  /** Node -> its names as of a step, and the last step up to it that changed them. */
  readonly #named = new Map<number, { readonly upTo: number; readonly text: string; readonly last: number }>();

  constructor(tree: ModelTree, marks: readonly Mark[], mode: DataMode, from: number) {
    this.#tree = tree;
    this.#mode = mode;
    const reached: Reached[] = [{ begun: from, namesFrom: from, contentFrom: new Map(), allFrom: from }];
    for (const mark of marks) reached.push(this.#after(reached.at(-1)!, mark));
    this.#reached = reached;
  }

  #after(before: Reached, { step, kind, node }: Mark): Reached {
    if (kind === "begin") return { ...before, begun: step };
    if (kind === "done") return before;
    if (kind === "sync") return { ...before, namesFrom: step, allFrom: step, contentFrom: new Map() };
    if (kind === "commit") return { ...before, namesFrom: step };
    const file = this.#tree.nodes[node!]!;
    const contentFrom = new Map(before.contentFrom).set(file.id, step);
    return { ...before, contentFrom, namesFrom: Math.max(before.namesFrom, this.#changedBy(file, step, kind)) };
  }

  /** The last step up to `step` that a sync of the node makes durable with it. */
  #changedBy(node: ModelNode, step: number, kind: "fsync" | "fdatasync"): number {
    const sized = sizedBy(node, step);
    if (kind === "fdatasync") return sized;
    const xattr = node.xattrs.findLast((one) => one.step <= step)?.step ?? sized;
    return Math.max(sized, xattr, this.#renamedBy(node, step));
  }

  /** Marks come in their order: what is known of a node goes on from its last one. */
  #renamedBy(node: ModelNode, step: number): number {
    const tree = this.#tree;
    let { upTo, text, last } = this.#named.get(node.id) ?? { upTo: 0, text: namesOf(tree, node, 0), last: 0 };
    while (upTo < step) {
      upTo++;
      if (tree.namesAt(upTo) === tree.namesAt(upTo - 1)) continue;
      const after = namesOf(tree, node, upTo);
      if (after !== text) [text, last] = [after, upTo];
    }
    this.#named.set(node.id, { upTo, text, last });
    return last;
  }

  broken({ image }: CrashDisk, sb: Super, markers: number): Verdict | undefined {
    const reached = this.#reached[markers]!;
    const found: FoundFile[] = [];
    walkTree(image, sb, ({ path, ino, at }) => {
      if (path !== "lost+found") found.push({ path, ino, at, type: ext4Inode.inodeType(image.view, at) });
    });
    let worst: Verdict | undefined;
    let first: Verdict | undefined;
    for (let step = reached.begun; step >= reached.namesFrom; step--) {
      const names = this.#namesFault(image, sb, found, step);
      if (names !== undefined) {
        first ??= names;
        continue;
      }
      const contents = this.#contentsFault(image, sb, found, step, reached);
      if (contents === undefined) return undefined;
      worst ??= contents;
    }
    // The oldest tree that would do says best what is missing.
    return worst ?? this.#namesFault(image, sb, found, reached.namesFrom) ?? first;
  }

  #namesFault(image: BlockImage, sb: Super, found: readonly FoundFile[], step: number): Verdict | undefined {
    const names = this.#tree.namesAt(step);
    const inoOf = new Map<number, number>();
    const nodeOf = new Map<number, number>();
    const here = new Map(found.map((file) => [file.path, file]));
    for (const [path, id] of names) {
      const file = here.get(path);
      const node = this.#tree.nodes[id]!;
      if (file === undefined) return { class: "lost", why: `${path} is not there, as it was after call ${step}` };
      if (kindOf(file.type) !== node.kind) return { class: "atomic", why: `${path} is a ${kindOf(file.type)}` };
      if ((inoOf.get(id) ?? file.ino) !== file.ino || (nodeOf.get(file.ino) ?? id) !== id)
        return { class: "atomic", why: `${path} is not the file that it was after call ${step}` };
      inoOf.set(id, file.ino);
      nodeOf.set(file.ino, id);
      if (node.kind === "link" && targetOf(image, sb, file.at) !== node.target)
        return { class: "content", why: `${path} points elsewhere` };
      const fault = sameXattrs(xattrsOf(image, sb, file.at), xattrsAt(node, step));
      if (fault !== undefined) return { class: "atomic", why: `${path}: ${fault}` };
    }
    const extra = found.find(({ path }) => !names.has(path));
    if (extra !== undefined)
      return { class: "atomic", why: `${extra.path} is there, which was not after call ${step}` };
    return undefined;
  }

  #contentsFault(
    image: BlockImage,
    sb: Super,
    found: readonly FoundFile[],
    step: number,
    { begun, contentFrom, allFrom }: Reached,
  ): Verdict | undefined {
    const names = this.#tree.namesAt(step);
    for (const { path, at, type } of found) {
      if (kindOf(type) !== "file") continue;
      const node = this.#tree.nodes[names.get(path)!]!;
      const from = Math.max(allFrom, contentFrom.get(node.id) ?? 0);
      const content = contentOf(image, sb, at);
      if (typeof content === "string") return { class: "content", why: `${path}: ${content}` };
      const versions = versionsBetween(node, from, begun).map((version) => version.content);
      const fault = this.#contentFault(content, versions, node);
      if (fault !== undefined) return { ...fault, why: `${path}: ${fault.why}` };
    }
    return undefined;
  }

  #contentFault(content: Uint8Array, versions: readonly Uint8Array[], node: ModelNode): Verdict | undefined {
    if (versions.some((version) => Buffer.compare(version, content) === 0)) return undefined;
    if (versions.length === 1) return { class: "content", why: whyNot(content, versions[0]!) };
    if (this.#mode === "writeback") return undefined;
    const sizes = versions.map((version) => version.length);
    if (content.length < Math.min(...sizes) || content.length > Math.max(...sizes))
      return { class: "content", why: `it has ${content.length} bytes, and never had` };
    for (let from = 0; from < content.length; from += SECTOR) {
      const to = Math.min(content.length, from + SECTOR);
      if (versions.some((version) => sameSector(version, content, from, to))) continue;
      if (versions.some((version) => version.length <= from) && isZero(content, from, to)) continue;
      const ever = node.versions.some((version) => sameSector(version.content, content, from, to));
      return ever
        ? { class: "content", why: `at ${from} it has what was overwritten before it was synced` }
        : { class: "stale", why: `at ${from} it has what it never had` };
    }
    return undefined;
  }
}

const whyNot = (content: Uint8Array, wanted: Uint8Array): string => {
  if (content.length !== wanted.length) return `it has ${content.length} bytes, not ${wanted.length}`;
  return `it differs at ${content.findIndex((byte, at) => byte !== wanted[at])}`;
};

/** A version that ends within the sector has zeroes behind its end; one that ends before it says nothing of it. */
function sameSector(version: Uint8Array, content: Uint8Array, from: number, to: number): boolean {
  if (version.length <= from) return false;
  for (let at = from; at < to; at++) if ((version[at] ?? 0) !== content[at]) return false;
  return true;
}

function isZero(content: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (content[at] !== 0) return false;
  return true;
}

/** The last step up to `step` that made the node or changed its size. */
function sizedBy({ versions }: ModelNode, step: number): number {
  let { step: last } = versions[0]!;
  for (let n = 1; n < versions.length && versions[n]!.step <= step; n++)
    if (versions[n]!.content.length !== versions[n - 1]!.content.length) last = versions[n]!.step;
  return last;
}

/** The names that directories have for a node, as text: the directory's number and the name in it. */
function namesOf(tree: ModelTree, node: ModelNode, step: number): string {
  const names = tree.namesAt(step);
  const own: string[] = [];
  for (const [path, id] of names) {
    if (id !== node.id) continue;
    const slash = path.lastIndexOf("/");
    own.push(`${names.get(path.slice(0, Math.max(0, slash))) ?? ""}/${path.slice(slash + 1)}`);
  }
  return own.sort().join("\0");
}

function kindOf(type: number): string {
  if (type === ext4Layout.S_IFREG) return "file";
  if (type === ext4Layout.S_IFDIR) return "dir";
  return type === ext4Layout.S_IFLNK ? "link" : "special file";
}

function targetOf(image: BlockImage, sb: Super, at: number): string {
  const target = readLink(image, sb, at);
  return typeof target === "number" ? `error ${target}` : latin(target);
}

function contentOf(image: BlockImage, sb: Super, at: number): Uint8Array | string {
  const size = ext4Inode.inodeSizeBytes(sb, image.view, at);
  if (size > image.count * image.blockSize) return `it claims ${size} bytes`;
  const content = new Uint8Array(size);
  for (let done = 0; done < size;) {
    const got = readFile(image, sb, at, done, content.subarray(done));
    if (isErr(got) || got === 0) return `it cannot be read at ${done}`;
    done += got;
  }
  return content;
}

function xattrsOf(image: BlockImage, sb: Super, at: number): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  const { XATTR_MAGIC } = ext4InodeLayout;
  const block = ext4Inode.inodeFileAcl(sb, image.view, at);
  const blockAt = block === 0 ? -1 : image.at(block);
  const areas = [ibodyArea(image.view, sb, at)];
  if (blockAt >= 0 && image.view.getUint32(blockAt, true) === XATTR_MAGIC) areas.push(blockArea(sb, blockAt));
  for (const area of areas)
    if (area !== undefined)
      walkXattrs(image.view, area, (xattr) => {
        if (xattr.index === USER_PREFIX)
          found.set(
            xattrName(image.bytes, xattr),
            latin(image.bytes.subarray(xattr.value, xattr.value + xattr.valueLength)),
          );
        return true;
      });
  return found;
}

function sameXattrs(found: ReadonlyMap<string, string>, wanted: ReadonlyMap<string, string>): string | undefined {
  for (const [name, value] of wanted) if (found.get(name) !== value) return `attribute ${name} is not what it was`;
  for (const name of found.keys()) if (!wanted.has(name)) return `attribute ${name} was not there`;
  return undefined;
}

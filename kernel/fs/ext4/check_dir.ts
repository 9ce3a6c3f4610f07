/**
 * The checker's passes over directories: every block and entry, the hash tree around them, and whether each directory
 * hangs on the root. e2fsck's passes 2 and 3. Counts links and finds parents.
 */
import { le16, le32 } from "../../lib/bytes.ts";
import { Verdict } from "../block_image.ts";
import { Kind } from "./check_state.ts";
import type { CheckState } from "./check_state.ts";
import { dirLeafChecksum, dxChecksum, dxTailOffset, inodeSeed } from "./csum.ts";
import { FILE_TYPES, direntBytes, entryFault, hasDirTail, inlineParent, recLen } from "./dir.ts";
import type { Mapped } from "./extent.ts";
import { mapBlock } from "./file.ts";
import { inodeAt } from "./group.ts";
import { nameHash } from "./hash.ts";
import { dxBlock, dxCount, dxCountOffset, dxHash, dxHashVersion, dxLevels, dxNodeFault, dxRootFault } from "./htree.ts";
import { inodeFlags, inodeGeneration, inodeSizeBytes, inodeType } from "./inode.ts";
import { I_BLOCK_BYTES, INCOMPAT, INODE, INODE_FLAG, INO_ROOT } from "./layout.ts";
import { DIRENT, DIRENT_TAIL, DX_NODE_FAKE_BYTES, DX_TAIL, FT_UNKNOWN, INLINE_DOTDOT_BYTES } from "./layout_dir.ts";
import { inlineTail } from "./xattr.ts";

const DOT = 0x2e;
const SLASH = 0x2f;
/** First size of the table of names; doubled when a directory fills half of it. */
const NAMES_MIN = 1 << 12;

/** The names of one directory, to find a doubled one: open addressing, cleared by a new stamp. */
class Names {
  #stamps = new Int32Array(NAMES_MIN);
  #hashes = new Int32Array(NAMES_MIN);
  #places = new Float64Array(NAMES_MIN);
  #stamp = 0;
  #used = 0;

  clear(): void {
    this.#stamp++;
    this.#used = 0;
  }

  /** False when the name was there. `at` is the address of its entry. */
  add(bytes: Uint8Array, at: number, length: number): boolean {
    if (this.#used * 2 >= this.#stamps.length) this.#grow();
    let hash = length;
    for (let n = at + DIRENT.bytes; n < at + DIRENT.bytes + length; n++) hash = Math.imul(hash ^ bytes[n]!, 0x01000193);
    const mask = this.#stamps.length - 1;
    for (let slot = (hash ^ (hash >>> 15)) & mask; ; slot = (slot + 1) & mask) {
      if (this.#stamps[slot] !== this.#stamp) {
        this.#stamps[slot] = this.#stamp;
        this.#hashes[slot] = hash;
        this.#places[slot] = at;
        this.#used++;
        return true;
      }
      if (this.#hashes[slot] === hash && sameName(bytes, this.#places[slot]!, at, length)) return false;
    }
  }

  #grow(): void {
    const [stamps, hashes, places] = [this.#stamps, this.#hashes, this.#places];
    this.#stamps = new Int32Array(stamps.length * 2);
    this.#hashes = new Int32Array(stamps.length * 2);
    this.#places = new Float64Array(stamps.length * 2);
    const mask = this.#stamps.length - 1;
    for (let n = 0; n < stamps.length; n++) {
      if (stamps[n] !== this.#stamp) continue;
      let slot = (hashes[n]! ^ (hashes[n]! >>> 15)) & mask;
      while (this.#stamps[slot] === this.#stamp) slot = (slot + 1) & mask;
      this.#stamps[slot] = this.#stamp;
      this.#hashes[slot] = hashes[n]!;
      this.#places[slot] = places[n]!;
    }
  }
}

function sameName(bytes: Uint8Array, one: number, other: number, length: number): boolean {
  if (bytes[one + DIRENT.name_len] !== length) return false;
  for (let n = DIRENT.bytes; n < DIRENT.bytes + length; n++) if (bytes[one + n] !== bytes[other + n]) return false;
  return true;
}

/** One htree directory on the way: what its inner nodes said about each leaf. */
interface Tree {
  readonly version: number;
  /** Block of the directory -> 1 leaf, 2 inner node; absent: nobody points there. */
  readonly role: Map<number, 1 | 2>;
  /** Leaf -> hashes from, and up to, with the flag of a continued hash in the lowest bit of `to`. */
  readonly from: Map<number, number>;
  readonly to: Map<number, number>;
}

const HASH_END = 2 ** 32;

export class DirPass {
  readonly #names = new Names();
  readonly #mapped: Mapped = { pblk: 0, length: 0, unwritten: false };
  /** Of the directory that is being read. */
  #state!: CheckState;
  #ino = 0;
  #seed = 0;
  #tree: Tree | undefined;
  #entries = 0;

  run(state: CheckState): void {
    this.#state = state;
    for (let n = 0; n < state.dirCount; n++) this.#directory(state.dirs[n]!);
    connectivity(state);
  }

  #report(text: string): void {
    this.#state.report("directory", `directory ${this.#ino}: ${text}`);
  }

  #directory(ino: number): void {
    const { sb, image } = this.#state;
    const { view } = image;
    const at = inodeAt(image, sb, ino);
    this.#ino = ino;
    this.#names.clear();
    this.#entries = 0;
    this.#tree = undefined;
    const flags = inodeFlags(view, at);
    if ((flags & INODE_FLAG.inline_data) !== 0) return this.#inline(at);
    this.#seed = inodeSeed(sb, ino, inodeGeneration(view, at));
    const count = Math.min(Math.ceil(inodeSizeBytes(sb, view, at) / sb.blockSize), sb.blocksCount);
    if (count === 0) return this.#report("it is empty");
    if ((flags & INODE_FLAG.index) !== 0) this.#tree = this.#readTree(at, count);
    const mapped = this.#mapped;
    for (let lblk = 0; lblk < count;) {
      if (mapBlock(image, sb, at, lblk, mapped) !== 0) return;
      if (mapped.pblk === 0) {
        this.#report(`block ${lblk} is a hole`);
        lblk += mapped.length;
        continue;
      }
      const [pblk, length] = [mapped.pblk, Math.min(mapped.length, count - lblk)];
      for (let n = 0; n < length; n++) this.#block(lblk + n, pblk + n);
      lblk += length;
    }
  }

  #block(lblk: number, pblk: number): void {
    const { sb, image } = this.#state;
    const { view } = image;
    const at = image.at(pblk);
    const role = this.#tree?.role.get(lblk);
    if (role === 2) {
      // The root's "." and ".." are read as entries; a node below has none.
      if (lblk === 0) this.#entriesOf(lblk, at, at + sb.blockSize);
      return;
    }
    if (this.#tree !== undefined && role === undefined) this.#report(`no htree node points at block ${lblk}`);
    if (sb.metadataCsum) {
      if (!hasDirTail(sb, view, at)) {
        this.#state.report("checksum", `block ${lblk} of directory ${this.#ino} has no room for a checksum`);
      } else if (!this.#leafCsumOk(pblk, at))
        this.#state.report("checksum", `the checksum of block ${lblk} of directory ${this.#ino} is wrong`);
    }
    this.#entriesOf(lblk, at, at + sb.blockSize);
  }

  #leafCsumOk(pblk: number, at: number): boolean {
    const { sb, image } = this.#state;
    const known = this.#state.known(pblk, this.#seed);
    if (known !== Verdict.Unknown) return known === Verdict.Good;
    const stored = le32(image.view, at + sb.blockSize - DIRENT_TAIL.bytes + DIRENT_TAIL.det_checksum);
    return this.#state.remember(pblk, this.#seed, dirLeafChecksum(sb, this.#seed, image.bytes, at) === stored);
  }

  #entriesOf(lblk: number, from: number, end: number): void {
    const { sb, image } = this.#state;
    const { view } = image;
    for (let at = from; at < end;) {
      const fault = entryFault(sb, view, at, end);
      if (fault !== undefined) return this.#report(`block ${lblk}, byte ${at - from}: ${fault}`);
      this.#entry(at, lblk);
      at += recLen(sb, view, at);
    }
  }

  #entry(at: number, lblk: number): void {
    const state = this.#state;
    const { image } = state;
    const { view, bytes } = image;
    const ino = le32(view, at + DIRENT.inode);
    const length = bytes[at + DIRENT.name_len]!;
    const name = at + DIRENT.bytes;
    const place = this.#entries++;
    const isDot = length === 1 && bytes[name] === DOT;
    const isDotDot = length === 2 && bytes[name] === DOT && bytes[name + 1] === DOT;
    if (place === 0 || place === 1) {
      if (place === 0 ? !isDot : !isDotDot) this.#report(`entry ${place} is not "${place === 0 ? "." : ".."}"`);
      else {
        if (place === 0 && ino !== this.#ino) this.#report(`"." is inode ${ino}`);
        if (place === 1) state.dotdot[this.#ino] = ino;
        if (ino === 0) this.#report(`"${place === 0 ? "." : ".."}" is unused`);
        else state.links[ino]!++;
        this.#fileType(at, ino);
        return;
      }
    }
    if (ino === 0) return;
    if (isDot || isDotDot) return this.#report('a second "." or ".."');
    if (length === 0) return this.#report(`an entry of inode ${ino} has no name`);
    for (let n = name; n < name + length; n++)
      if (bytes[n] === 0 || bytes[n] === SLASH) return this.#report(`the name of inode ${ino} holds a slash or a NUL`);
    if (this.#tree !== undefined) this.#hashOf(at, lblk, length);
    this.#name(at, ino, length);
  }

  /** A used entry that is neither "." nor "..". */
  #name(at: number, ino: number, length: number): void {
    const state = this.#state;
    const { sb } = state;
    if (ino !== INO_ROOT && ino < sb.firstIno) return this.#report(`an entry names the reserved inode ${ino}`);
    if (ino === INO_ROOT) return this.#report("an entry names the root");
    if (state.kind[ino] === Kind.Unused) return this.#report(`an entry names inode ${ino}, which is not in use`);
    state.links[ino]!++;
    if (!this.#names.add(state.image.bytes, at, length)) this.#report(`a name of inode ${ino} is there twice`);
    this.#fileType(at, ino);
    if (state.kind[ino] === Kind.Directory) {
      if (state.parent[ino] !== 0) this.#report(`directory ${ino} has a second name`);
      else state.parent[ino] = this.#ino;
    }
  }

  #fileType(at: number, ino: number): void {
    const { sb, image } = this.#state;
    const found = image.bytes[at + DIRENT.file_type]!;
    let expected = FT_UNKNOWN;
    if ((sb.incompat & INCOMPAT.filetype) !== 0) {
      const inode = inodeAt(image, sb, ino);
      expected = inode < 0 ? FT_UNKNOWN : (FILE_TYPES[inodeType(image.view, inode)] ?? FT_UNKNOWN);
      if (expected === FT_UNKNOWN) return;
    }
    if (found !== expected) this.#report(`the entry of inode ${ino} has file_type ${found}, not ${expected}`);
  }

  #inline(at: number): void {
    const state = this.#state;
    const { sb, image } = state;
    const parent = inlineParent(image.view, at);
    state.dotdot[this.#ino] = parent;
    state.links[this.#ino]!++;
    if (parent >= 1 && parent <= sb.inodesCount) state.links[parent]!++;
    else this.#report(`".." is inode ${parent}`);
    // Past the two that are not there.
    this.#entries = 2;
    const start = at + INODE.i_block;
    this.#entriesOf(0, start + INLINE_DOTDOT_BYTES, start + I_BLOCK_BYTES);
    const tail = inlineTail(image.view, sb, at);
    if (tail !== undefined && tail.length > 0) this.#entriesOf(0, tail.at, tail.at + tail.length);
  }

  #readTree(dir: number, count: number): Tree | undefined {
    const { sb, image } = this.#state;
    const root = mapBlock(image, sb, dir, 0, this.#mapped) === 0 ? image.at(this.#mapped.pblk) : -1;
    if (root < 0 || this.#mapped.pblk === 0) return undefined;
    const fault = rootEntriesFault(this.#state, root) ?? dxRootFault(sb, image.view, root);
    if (fault !== undefined) {
      this.#report(`htree: ${fault}`);
      return undefined;
    }
    const tree: Tree = { version: dxHashVersion(image.view, root), role: new Map(), from: new Map(), to: new Map() };
    this.#readNode(tree, dir, count, 0, this.#mapped.pblk, dxLevels(image.view, root), 0, HASH_END);
    return tree;
  }

  #readNode(
    tree: Tree,
    dir: number,
    count: number,
    lblk: number,
    pblk: number,
    level: number,
    from: number,
    to: number,
  ): void {
    const { sb, image } = this.#state;
    const { view } = image;
    const root = lblk === 0;
    const at = image.at(pblk);
    tree.role.set(lblk, 2);
    if (sb.metadataCsum && !this.#nodeCsumOk(pblk, at, root))
      this.#state.report("checksum", `the checksum of htree node ${lblk} of directory ${this.#ino} is wrong`);
    const entries = dxCount(view, at, root);
    let before = from;
    for (let n = 0; n < entries; n++) {
      const hash = n === 0 ? from : dxHash(view, at, root, n);
      const end = n + 1 < entries ? dxHash(view, at, root, n + 1) : to;
      if (hash < before || (hash & ~1) >>> 0 >= to) this.#report(`htree: the hashes of node ${lblk} do not ascend`);
      before = hash;
      const child = dxBlock(view, at, root, n);
      if (child === 0 || child >= count) {
        this.#report(`htree: node ${lblk} points at block ${child}`);
        continue;
      }
      if (tree.role.has(child)) {
        this.#report(`htree: two nodes point at block ${child}`);
        continue;
      }
      if (level === 0) {
        tree.role.set(child, 1);
        tree.from.set(child, hash);
        tree.to.set(child, end);
        continue;
      }
      const fault =
        mapBlock(image, sb, dir, child, this.#mapped) !== 0 || this.#mapped.pblk === 0
          ? "a node is a hole"
          : (dxNodeFault(sb, view, image.at(this.#mapped.pblk)) ??
            fakeEntryFault(this.#state, image.at(this.#mapped.pblk)));
      if (fault !== undefined) {
        this.#report(`htree: block ${child}: ${fault}`);
        tree.role.set(child, 2);
      } else this.#readNode(tree, dir, count, child, this.#mapped.pblk, level - 1, hash, end);
    }
  }

  #nodeCsumOk(pblk: number, at: number, root: boolean): boolean {
    const { image } = this.#state;
    // A root has a leaf's seed in the same slot for another answer: the key tells them apart.
    const key = this.#seed ^ 0x5a5a5a5a;
    const known = this.#state.known(pblk, key);
    if (known !== Verdict.Unknown) return known === Verdict.Good;
    const offset = dxCountOffset(root);
    const stored = le32(image.view, at + dxTailOffset(image.view, at, offset) + DX_TAIL.dt_checksum);
    return this.#state.remember(pblk, key, dxChecksum(this.#seed, image.bytes, image.view, at, offset) === stored);
  }

  #hashOf(at: number, lblk: number, length: number): void {
    const tree = this.#tree!;
    const from = tree.from.get(lblk);
    if (from === undefined) return;
    const { sb, image } = this.#state;
    const hash = nameHash(sb, tree.version, image.bytes, at + DIRENT.bytes, length);
    const to = tree.to.get(lblk)!;
    if (hash < (from & ~1) >>> 0 || hash > to || (hash === to && (to & 1) === 0))
      // A leaf whose successor goes on with the same hash may hold that hash, too.
      if (!((to & 1) === 1 && hash === to - 1))
        this.#report(`htree: a name in block ${lblk} has a hash of another block`);
  }
}

/** The root's first two entries have fixed places, since the index lies in the second one. */
function rootEntriesFault({ sb, image }: CheckState, at: number): string | undefined {
  if (le16(image.view, at + DIRENT.rec_len) !== direntBytes(1)) return '"." has no length of 12';
  if (recLen(sb, image.view, at + direntBytes(1)) !== sb.blockSize - direntBytes(1))
    return '".." does not span the root';
  return undefined;
}

function fakeEntryFault({ sb, image }: CheckState, at: number): string | undefined {
  return recLen(sb, image.view, at) === sb.blockSize || DX_NODE_FAKE_BYTES > sb.blockSize
    ? undefined
    : "its fake entry does not span it";
}

/** Each directory must lead to the root by the entries that name them, and its ".." must say the same. */
function connectivity(state: CheckState): void {
  const { parent, dotdot, dirs } = state;
  if (state.kind[INO_ROOT] !== Kind.Directory) return state.report("directory", "there is no root directory");
  if (dotdot[INO_ROOT] !== INO_ROOT) state.report("directory", `".." of the root is inode ${dotdot[INO_ROOT]}`);
  /** 1: leads to the root, 2: does not. */
  const known = new Uint8Array(parent.length);
  known[INO_ROOT] = 1;
  const way: number[] = [];
  for (let n = 0; n < state.dirCount; n++) {
    let ino = dirs[n]!;
    way.length = 0;
    while (known[ino] === 0) {
      known[ino] = 2;
      way.push(ino);
      const up = parent[ino]!;
      if (up === 0) break;
      ino = up;
    }
    if (known[ino] === 1) for (const one of way) known[one] = 1;
  }
  for (let n = 0; n < state.dirCount; n++) {
    const ino = dirs[n]!;
    if (known[ino] === 2) {
      const why = parent[ino] === 0 ? "has no name" : "is its own ancestor, or below one without a name";
      state.report("unattached", `directory ${ino} ${why}`);
    } else if (ino !== INO_ROOT && dotdot[ino] !== parent[ino])
      state.report("directory", `".." of directory ${ino} is inode ${dotdot[ino]}, it lies in ${parent[ino]}`);
  }
}

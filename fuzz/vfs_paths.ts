/**
 * The path walk against a model that knows only strings. A case is a small tree of directories, files and symbolic links,
 * half of the time with a second file system mounted in it, and paths made to confuse: many slashes, "." and ".." (also
 * above the root), links in links, names of 255 bytes and one more, any bytes, NUL, nearly 4096 bytes. Each is looked up
 * with and without following the last link, and made the working directory, whose path is asked for.
 *
 * Bytes are characters 0 to 255 here, so that the model is about strings.
 */
import { EINVAL, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR } from "../kernel/abi/errno.ts";
import { SYMLINKS_MAX } from "../kernel/abi/limits.ts";
import { NAME_MAX, PATH_MAX } from "../kernel/abi/stat.ts";
import type { Nanos } from "../kernel/abi/units.ts";
import { type FileStat, Tmpfs, type TmpfsOptions, Vfs } from "../kernel/index.ts";
import { growingArena } from "../kernel/lib/growing_arena.ts";
import { nextBelow, prng } from "../kernel/lib/prng.ts";
import type { FuzzResult, FuzzTarget } from "./target.ts";

const ENTRIES = 14;
const LOOKUPS = 40;
const USUAL = ["a", "b", "c", "d"];
const ODD = ["...", " ", "a\n", "\xc3\xa9", "\xff\xfe", "x".repeat(NAME_MAX), "y".repeat(NAME_MAX + 1), "z\0", "A"];

interface Entry {
  readonly kind: "dir" | "file" | "link";
  readonly target: string;
  /** Device and inode, as stat tells. */
  readonly id: string;
}

const bytesOf = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));
const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf("/")));

/** Path -> what is there. The root is "". */
type Tree = Map<string, Entry>;

/** The path without links, "." and "..", or an errno. `cwd` is such a path. */
function resolve(tree: Tree, cwd: string, path: string, follow: boolean): string | number {
  if (path === "") return ENOENT;
  if (path.length >= PATH_MAX) return ENAMETOOLONG;
  if (path.includes("\0")) return EINVAL;
  let done = path.startsWith("/") ? "" : cwd;
  let links = 0;
  for (let rest = path; ;) {
    rest = rest.replace(/^\/+/, "");
    if (rest === "") return done;
    const end = rest.includes("/") ? rest.indexOf("/") : rest.length;
    const name = rest.slice(0, end);
    rest = rest.slice(end);
    if (name === ".") continue;
    if (name === "..") {
      done = parentOf(done);
      continue;
    }
    if (name.length > NAME_MAX) return ENAMETOOLONG;
    const entry = tree.get(`${done}/${name}`);
    if (entry === undefined) return ENOENT;
    if (entry.kind === "link" && (follow || rest !== "")) {
      if (++links > SYMLINKS_MAX) return ELOOP;
      if (entry.target.startsWith("/")) done = "";
      rest = entry.target + rest;
      continue;
    }
    if (entry.kind !== "dir") return rest === "" ? `${done}/${name}` : ENOTDIR;
    done += `/${name}`;
  }
}

const now = (): Nanos => 0 as Nanos;

class Case {
  private readonly random: Int32Array;
  private readonly vfs: Vfs;
  private readonly task: number;
  private readonly tree: Tree = new Map();
  private readonly stat = {} as FileStat;
  private cwd = "";

  constructor(seed: number, make: (options: TmpfsOptions) => Tmpfs) {
    this.random = prng(seed);
    const fresh = (): number => {
      const fs = make({ memory: growingArena(), pages: 2 * ENTRIES, inodes: 2 * ENTRIES, now });
      fs.reset();
      return this.vfs.attachFs(fs);
    };
    this.vfs = new Vfs({ memory: growingArena(), now, tasks: 1, files: 2, fds: 2, dentries: 1 + this.below(9) });
    this.vfs.reset();
    this.vfs.mountRoot(fresh());
    this.task = this.vfs.newTask({ uid: 0, gid: 0 });
    this.add("", "dir", "");
    const mountAt = this.below(2 * ENTRIES);
    for (let n = 0; n < ENTRIES; n++) {
      const path = this.grow();
      if (n !== mountAt || path === undefined || this.tree.get(path)!.kind !== "dir") continue;
      this.vfs.mount(this.task, fresh(), bytesOf(path));
      this.add(path, "dir", "");
    }
  }

  private below(bound: number): number {
    return nextBelow(this.random, bound);
  }

  private add(path: string, kind: Entry["kind"], target: string): void {
    this.vfs.lstat(this.task, bytesOf(path === "" ? "/" : path), this.stat);
    this.tree.set(path, { kind, target, id: `${this.stat.dev}:${this.stat.ino}` });
  }

  private name(): string {
    const odd = this.below(8);
    if (odd === 0) return ODD[this.below(ODD.length)]!;
    if (odd === 1) return String.fromCharCode(...Array.from({ length: 1 + this.below(3) }, () => this.below(256)));
    return USUAL[this.below(USUAL.length)]!;
  }

  private slashes(): string {
    return "/".repeat(this.below(6) === 0 ? 1 + this.below(5) : 1);
  }

  private path(): string {
    if (this.below(30) === 0)
      return ["", "/", ".", "..", "/..", "///", "a/".repeat(2048), "/".repeat(PATH_MAX - 1)][this.below(8)]!;
    let path = this.below(2) === 0 ? this.slashes() : "";
    // Now and then a name that is there.
    if (this.below(3) === 0) path += [...this.tree.keys()][this.below(this.tree.size)]!;
    const names = 1 + this.below(this.below(10) === 0 ? 60 : 5);
    for (let n = 0; n < names; n++) {
      const what = this.below(6);
      path += (what === 0 ? ".." : what === 1 ? "." : this.name()) + (n + 1 < names ? this.slashes() : "");
    }
    return path + (this.below(5) === 0 ? this.slashes() : "");
  }

  /** Adds an entry to a directory of the tree; its path, or nothing when the name was none. */
  private grow(): string | undefined {
    const dirs = [...this.tree].filter(([, { kind }]) => kind === "dir").map(([path]) => path);
    const name = this.name();
    const path = `${dirs[this.below(dirs.length)]!}/${name}`;
    if (this.tree.has(path) || [".", ".."].includes(name) || /[\0/]/.test(name) || name.length > NAME_MAX)
      return undefined;
    if (path.length >= PATH_MAX / 2) return undefined;
    const kind = (["dir", "dir", "link", "link", "file"] as const)[this.below(5)]!;
    const target = kind === "link" ? this.path() : "";
    const at = bytesOf(path);
    if (kind === "dir") this.vfs.mkdir(this.task, at, 0o755);
    else if (kind === "file") this.vfs.mknod(this.task, at, 0o100644);
    else if (this.vfs.symlink(this.task, bytesOf(target), at) !== 0) return undefined;
    this.add(path, kind, target);
    return path;
  }

  /** Text: what is wrong. */
  private lookUp(): string {
    const path = this.path();
    const follow = this.below(2) === 0;
    const want = resolve(this.tree, this.cwd, path, follow);
    const got = follow
      ? this.vfs.stat(this.task, bytesOf(path), this.stat)
      : this.vfs.lstat(this.task, bytesOf(path), this.stat);
    const shown = JSON.stringify(path.slice(0, 200));
    if (typeof want === "number" || got !== 0)
      return want === got ? "" : `${shown} from "${this.cwd}" gave ${got}, the model says ${want}`;
    const id = `${this.stat.dev}:${this.stat.ino}`;
    if (id !== this.tree.get(want)!.id) return `${shown} from "${this.cwd}" is not ${JSON.stringify(want)}`;
    return this.tree.get(want)!.kind === "dir" && this.below(3) === 0 ? this.enter(want, path, shown) : "";
  }

  private enter(want: string, path: string, shown: string): string {
    const moved = this.vfs.chdir(this.task, bytesOf(path));
    if (moved !== 0) return `chdir(${shown}) gave ${moved}`;
    this.cwd = want;
    const into = new Uint8Array(PATH_MAX);
    const length = this.vfs.getcwd(this.task, into);
    const told = String.fromCharCode(...into.subarray(0, Math.max(0, length - 1)));
    return told === (want === "" ? "/" : want) ? "" : `getcwd() after chdir(${shown}) gave ${JSON.stringify(told)}`;
  }

  run(): string {
    for (let n = 0; n < LOOKUPS; n++) {
      const wrong = this.lookUp();
      if (wrong !== "") return wrong;
    }
    return "";
  }
}

function run(
  seed: number,
  runs: number,
  progress: (done: number) => void,
  make: (options: TmpfsOptions) => Tmpfs,
): FuzzResult {
  for (let k = 0; k < runs; k++) {
    const message = new Case(seed + k, make).run();
    if (message !== "") return { runs: k + 1, failure: { seed: seed + k, message } };
    progress(k + 1);
  }
  return { runs };
}

/** ".." of a directory three levels down leads to the root. */
class LostParent extends Tmpfs {
  override parent(dir: number): number {
    const parent = super.parent(dir);
    return super.parent(parent) === parent ? parent : this.root();
  }
}

export const target: FuzzTarget = {
  name: "vfs_paths",
  help: "the VFS' path walk against a model of strings",
  run: (seed, runs, progress) => run(seed, runs, progress, (options) => new Tmpfs(options)),
  canary: (seed) =>
    run(
      seed,
      200,
      () => {},
      (options) => new LostParent(options),
    ),
};

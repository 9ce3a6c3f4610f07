/**
 * Random scripts: files made, written, cut, renamed, linked, given attributes and synced, many small ones in bursts until
 * a directory needs a hash tree. Most operations are possible when they come, since the model is asked what is there; one
 * in twelve is not looked at, and may fail.
 *
 * - generate(seed, options)      Op[]; the same seed and options give the same script
 */
import { FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE } from "../../../kernel/index.ts";
import { nextBelow, prng } from "../../../kernel/lib/prng.ts";
import { ModelTree } from "./model.ts";
import type { ModelNode } from "./model.ts";
import { RENAME_WORDS, makeOp } from "./op.ts";
import type { Data, Op, OpName } from "./op.ts";

export interface GenerateOptions {
  readonly ops: number;
  /** Largest file, bytes. */
  readonly fileBytesMax: number;
  /** Persistence points: one in so many operations; 0: none. */
  readonly syncOneIn: number;
  /** Longest run of small files made at once. */
  readonly burstMax: number;
}

export const GENERATE_DEFAULTS: GenerateOptions = { ops: 150, fileBytesMax: 200_000, syncOneIn: 12, burstMax: 60 };

const WILD_ONE_IN = 12;
const DEPTH_MAX = 5;
const SECTOR = 512;
const NAMES = ["a", "b", "c", "foo", "bar", "a file with blanks", "\u00e9t\u00e9", "x".repeat(60), "long".repeat(50)];
const ATTRIBUTES = ["user.a", "user.bb", "trusted.t", "security.s", "user.a.longer.name.of.an.attribute"];

/** How often each comes, of the sum of all. */
const WEIGHTS: Readonly<Partial<Record<OpName | "burst" | "sweep", number>>> = {
  creat: 12,
  mkdir: 6,
  append: 12,
  pwrite: 12,
  write: 6,
  dwrite: 3,
  mmapwrite: 3,
  read: 3,
  truncate: 8,
  fallocate: 6,
  rename: 10,
  link: 5,
  symlink: 5,
  unlink: 9,
  rmdir: 3,
  setxattr: 6,
  removexattr: 3,
  burst: 3,
  sweep: 2,
};
const TOTAL = Object.values(WEIGHTS).reduce((sum, weight) => sum + weight, 0);

class Generator {
  readonly #state: Int32Array;
  readonly #options: GenerateOptions;
  readonly #tree = new ModelTree();
  readonly #ops: Op[] = [];
  #serial = 0;

  constructor(seed: number, options: GenerateOptions) {
    this.#state = prng(seed);
    this.#options = options;
  }

  run(): Op[] {
    while (this.#ops.length < this.#options.ops) {
      const { syncOneIn } = this.#options;
      if (syncOneIn > 0 && this.#below(syncOneIn) === 0) this.#persist();
      else this.#one();
    }
    return this.#ops.slice(0, this.#options.ops);
  }

  #below = (bound: number): number => nextBelow(this.#state, bound);
  #pick = <T>(from: readonly T[]): T => from[this.#below(from.length)]!;

  /** What the model does not take may fail on the real thing, too. */
  #add(name: OpName, fields: Partial<Omit<Op, "name">>): void {
    const op = makeOp(name, fields);
    const result = this.#tree.apply(op);
    this.#ops.push(result < 0 ? { ...op, mayFail: true } : op);
  }

  /** Paths of everything of a type, directories with the root as "". */
  #paths(type: "f" | "d" | "l" | "any"): string[] {
    const found: string[] = type === "d" ? [""] : [];
    const walk = (dir: ModelNode, prefix: string): void => {
      for (const [name, node] of dir.names) {
        const path = `${prefix}/${name}`;
        if (type === "any" || node.type === type) found.push(path);
        if (node.type === "d") walk(node, path);
      }
    };
    walk(this.#tree.root, "");
    return found;
  }

  #directory(): string {
    const paths = this.#paths("d").filter((path) => path.split("/").length <= DEPTH_MAX);
    return this.#pick(paths);
  }

  #newPath(): string {
    const name = this.#below(3) === 0 ? this.#pick(NAMES) : `f${this.#serial++}`;
    return `${this.#directory()}/${name}`;
  }

  #existing(type: "f" | "d" | "l" | "any"): string {
    const paths = this.#paths(type).filter((path) => path !== "");
    if (paths.length === 0 || this.#below(WILD_ONE_IN) === 0) return this.#newPath();
    return this.#pick(paths);
  }

  #data(): Data {
    const { fileBytesMax } = this.#options;
    const length = this.#pick([1, 10, 59, 61, 100, 1000, 4096, 5000, 20_000, fileBytesMax >> 1]);
    return { seed: this.#below(1_000_000), length: this.#below(Math.min(length, fileBytesMax) + 1) };
  }

  #offset(): number {
    return this.#below(this.#pick([1, 100, 5000, 70_000, this.#options.fileBytesMax]));
  }

  #persist(): void {
    const kind = this.#below(4);
    if (kind === 0) this.#add("sync", {});
    else this.#add(kind === 1 ? "fdatasync" : "fsync", { path: this.#existing(this.#below(5) === 0 ? "d" : "f") });
  }

  #one(): void {
    let left = this.#below(TOTAL);
    for (const [name, weight] of Object.entries(WEIGHTS)) {
      left -= weight;
      if (left < 0) return this.#make(name as OpName | "burst" | "sweep");
    }
  }

  #make(name: OpName | "burst" | "sweep"): void {
    switch (name) {
      case "creat":
        return this.#add(name, { path: this.#newPath(), mode: this.#pick([-1, 0o600, 0o755]) });
      case "mkdir":
        return this.#add(name, { path: this.#newPath() });
      case "append":
      case "write":
        return this.#add(name, { path: this.#existing("f"), data: this.#data() });
      case "pwrite":
        return this.#add(name, { path: this.#existing("f"), offset: this.#offset(), data: this.#data() });
      case "dwrite": {
        const data = { seed: this.#below(1_000_000), length: SECTOR * 8 * (1 + this.#below(8)) };
        return this.#add(name, { path: this.#existing("f"), offset: 4096 * this.#below(20), data });
      }
      case "mmapwrite":
        return this.#add(name, { path: this.#existing("f"), offset: this.#below(3000), data: this.#data() });
      case "read":
        return this.#add(name, { path: this.#existing("f"), offset: this.#offset(), length: this.#below(30_000) });
      case "truncate":
        return this.#add(name, { path: this.#existing("f"), length: this.#offset() });
      case "fallocate": {
        const flags = this.#pick([
          0,
          FALLOC_KEEP_SIZE,
          FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE,
          FALLOC_ZERO_RANGE,
          FALLOC_ZERO_RANGE | FALLOC_KEEP_SIZE,
        ]);
        const length = 1 + this.#below(60_000);
        return this.#add(name, { path: this.#existing("f"), offset: this.#offset(), length, flags });
      }
      case "rename": {
        const flags = this.#pick([0, 0, 0, RENAME_WORDS.noreplace, RENAME_WORDS.exchange]);
        const to = this.#below(2) === 0 ? this.#newPath() : this.#existing("any");
        return this.#add(name, { path: this.#existing("any"), to, flags });
      }
      case "link":
        return this.#add(name, { path: this.#existing("f"), to: this.#newPath() });
      case "symlink": {
        const to = this.#pick(["f0", "../a", this.#existing("any"), `/${"t".repeat(this.#below(200))}`]);
        return this.#add(name, { path: this.#newPath(), to });
      }
      case "unlink":
        return this.#add(name, { path: this.#existing(this.#below(4) === 0 ? "l" : "f") });
      case "rmdir":
        return this.#add(name, { path: this.#existing("d") });
      case "setxattr":
        return this.#add(name, {
          path: this.#existing(this.#below(3) === 0 ? "d" : "f"),
          attribute: this.#pick(ATTRIBUTES),
          data: { seed: this.#below(1_000_000), length: this.#below(this.#pick([4, 40, 300])) },
        });
      case "removexattr":
        return this.#add(name, { path: this.#existing("f"), attribute: this.#pick(ATTRIBUTES) });
      case "burst":
        return this.#burst();
      default:
        return this.#sweep();
    }
  }

  /** Many small files in one directory, some with long names. */
  #burst(): void {
    const dir = this.#directory();
    const long = this.#below(2) === 0 ? "n".repeat(100) : "n";
    for (let n = this.#below(this.#options.burstMax); n > 0; n--) {
      const path = `${dir}/${long}${this.#serial++}`;
      this.#add("creat", { path });
      if (this.#below(2) === 0) this.#add("append", { path, data: { seed: n, length: this.#below(300) } });
    }
  }

  /** Every second file of a directory goes. */
  #sweep(): void {
    const dir = this.#directory();
    for (const path of this.#paths("f"))
      if (path.startsWith(`${dir}/`) && this.#below(2) === 0) this.#add("unlink", { path });
  }
}

export const generate = (seed: number, options: Partial<GenerateOptions> = {}): Op[] =>
  new Generator(seed, { ...GENERATE_DEFAULTS, ...options }).run();

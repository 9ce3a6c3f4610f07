/**
 * What a real guest does to its file system before the power goes: shell commands by seed, or a script of the user's.
 * A marker follows each command that promises something, once it has returned (promises_derived.ts reads them).
 *
 * - guestSteps(name, seed, count)     `mixed`, `small` (many files of a few bytes), `rename` (replace by rename),
 *                                     `append`: logs that grow and are synced
 * - scriptSteps(text)                 a line a command; `sync` and `sync FILE` promise by themselves
 * - FAST_COMMIT_STEPS                 the shortest known way to what fast commits leave out
 */
import { nextBelow, prng } from "../../kernel/lib/prng.ts";

export interface GuestStep {
  readonly command: string;
  /** Text of the marker after it; undefined: it promises nothing. */
  readonly marker?: string;
}

/** Where the file system is mounted in the guest. */
export const MOUNTED = "/mnt";
export const GUEST_WORKLOADS = ["mixed", "small", "rename", "append"] as const;
export type GuestWorkload = (typeof GUEST_WORKLOADS)[number];

const SIZES = [1, 90, 700, 4096, 5000, 20_000, 70_000, 250_000];
const DIRS = ["A", "B", "C"];

/** A tree as far as the generator knows it. */
class Tree {
  readonly files: string[] = [];
  #serial = 0;
  readonly #random: Int32Array;

  constructor(seed: number) {
    this.#random = prng(seed);
  }

  below(bound: number): number {
    return nextBelow(this.#random, bound);
  }

  pick(): string | undefined {
    return this.files.length === 0 ? undefined : this.files[this.below(this.files.length)];
  }

  fresh(prefix: string): string {
    return `${DIRS[this.below(DIRS.length)]!}/${prefix}${++this.#serial}`;
  }

  drop(path: string): void {
    this.files.splice(this.files.indexOf(path), 1);
  }

  /** A line that no other write has. */
  tag(): string {
    return `orrery-${++this.#serial}`;
  }

  size(): number {
    return SIZES[this.below(SIZES.length)]!;
  }
}

const at = (path: string): string => `${MOUNTED}/${path}`;
const nameOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1);
const fill = (tree: Tree, bytes: number): string => `yes ${tree.tag()} | head -c ${bytes}`;

type Maker = (tree: Tree) => GuestStep | undefined;

const create: Maker = (tree) => {
  const path = tree.fresh("f");
  tree.files.push(path);
  return { command: `${fill(tree, tree.size())} > ${at(path)}` };
};
const onFile =
  (make: (tree: Tree, path: string) => GuestStep): Maker =>
  (tree) => {
    const path = tree.pick();
    return path === undefined ? undefined : make(tree, path);
  };
const append = onFile((tree, path) => ({ command: `${fill(tree, tree.size())} >> ${at(path)}` }));
const overwrite = onFile((tree, path) => ({
  command: `${fill(tree, 8192)} | dd of=${at(path)} bs=4096 seek=${tree.below(8)} conv=notrunc`,
}));
const truncate = onFile((tree, path) => ({ command: `truncate -s ${tree.size()} ${at(path)}` }));
const allocate = onFile((tree, path) => ({ command: `fallocate -l ${tree.size() * 2} ${at(path)}` }));
const remove = onFile((tree, path) => {
  tree.drop(path);
  return { command: `rm ${at(path)}` };
});
const link = onFile((tree, path) => {
  const to = tree.fresh("h");
  tree.files.push(to);
  return { command: `ln ${at(path)} ${at(to)}` };
});
const symlink = onFile((tree, path) => ({ command: `ln -s ../${path} ${at(tree.fresh("s"))}` }));
const rename = onFile((tree, path) => {
  const over = tree.below(2) === 0 ? tree.pick()! : tree.fresh("r");
  if (over === path) return { command: `mv ${at(path)} ${at(path)}.x && mv ${at(path)}.x ${at(path)}` };
  tree.drop(path);
  if (!tree.files.includes(over)) tree.files.push(over);
  return { command: `mv -f ${at(path)} ${at(over)}` };
});
const makeDir: Maker = (tree) => ({ command: `mkdir ${at(tree.fresh("d"))}` });
const fsync = onFile((_tree, path) => ({ command: `sync ${at(path)}`, marker: `fsync${nameOf(path)}` }));
const sync: Maker = () => ({ command: "sync", marker: "sync" });
/** The old content or the new one, never another: what programs rely on. */
const replace: Maker = (tree) => {
  const path = tree.pick();
  if (path === undefined) return create(tree);
  const fresh = `${path}.new`;
  return {
    command: `${fill(tree, tree.size())} > ${at(fresh)} && sync ${at(fresh)} && mv -f ${at(fresh)} ${at(path)}`,
  };
};

const MAKERS: Readonly<Record<GuestWorkload, readonly (readonly [weight: number, make: Maker])[]>> = {
  mixed: [
    [6, create],
    [4, append],
    [4, overwrite],
    [2, truncate],
    [2, allocate],
    [3, remove],
    [2, link],
    [1, symlink],
    [4, rename],
    [1, makeDir],
    [3, fsync],
    [1, sync],
  ],
  small: [
    [12, create],
    [4, remove],
    [4, rename],
    [2, fsync],
    [1, sync],
  ],
  rename: [
    [2, create],
    [8, replace],
    [1, fsync],
    [1, sync],
  ],
  append: [
    [1, create],
    [8, append],
    [4, fsync],
    [1, sync],
  ],
};

const SETUP: readonly GuestStep[] = [
  { command: `mkdir ${DIRS.map(at).join(" ")}` },
  { command: "sync", marker: "sync" },
];

export function guestSteps(name: GuestWorkload, seed: number, count: number): GuestStep[] {
  const tree = new Tree(seed);
  const makers = MAKERS[name];
  const total = makers.reduce((sum, [weight]) => sum + weight, 0);
  const steps: GuestStep[] = [...SETUP];
  while (steps.length < count + SETUP.length) {
    let left = tree.below(total);
    const [, make] = makers.find(([weight]) => left < weight || ((left -= weight), false))!;
    const step = make(tree);
    if (step !== undefined) steps.push(step);
  }
  return numbered(steps);
}

/** Markers must differ to be told apart: a sync has its place for a name. */
const numbered = (steps: readonly GuestStep[]): GuestStep[] =>
  steps.map((step, n) => (step.marker === "sync" ? { ...step, marker: `sync${n}` } : step));

export function scriptSteps(text: string): GuestStep[] {
  const lines = text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
  return numbered(
    lines.map((command) => {
      const words = command.split(/\s+/);
      if (words[0] !== "sync") return { command };
      return { command, marker: words[1] === undefined ? "sync" : `fsync${nameOf(words.at(-1)!)}` };
    }),
  );
}

/** `mkdir B/C; mv A/foo B/C/foo; fsync other`: Linux 6.1 replays it with wrong link counts and i_blocks. */
export const FAST_COMMIT_STEPS: readonly GuestStep[] = [
  { command: `mkdir ${at("A")} ${at("B")}; echo foo > ${at("A/foo")}; echo other > ${at("other")}` },
  { command: "sync", marker: "sync0" },
  { command: `mkdir ${at("B/C")}` },
  { command: `mv ${at("A/foo")} ${at("B/C/foo")}` },
  { command: `echo more >> ${at("other")}` },
  { command: `sync ${at("other")}`, marker: "fsyncother" },
];

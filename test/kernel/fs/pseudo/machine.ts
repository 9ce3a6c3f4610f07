/** A tree on tmpfs with /proc and /sys, and how to read and write their files. */
import { expect } from "vitest";
import { O_TRUNC, O_WRONLY } from "../../../../kernel/abi/fcntl.ts";
import type { Nanos } from "../../../../kernel/abi/units.ts";
import { procFs, type PseudoNode, sysFs, Tmpfs, Vfs } from "../../../../kernel/fs/index.ts";
import type { LiveDirs } from "../../../../kernel/fs/pseudo/pseudo_fs.ts";
import { growingArena } from "../../../../kernel/lib/growing_arena.ts";

const now = (): Nanos => 0 as Nanos;

export interface Tree {
  readonly vfs: Vfs;
  readonly task: number;
  readonly textOf: (path: string, step?: number) => string;
  /** What write(2) returned. */
  readonly put: (path: string, text: string) => number;
}

export function tree(parts: {
  readonly proc?: readonly PseudoNode[];
  readonly sys?: readonly PseudoNode[];
  readonly pids?: LiveDirs;
}): Tree {
  const root = new Tmpfs({ memory: growingArena(), pages: 16, inodes: 16, now });
  root.reset();
  const vfs = new Vfs({ memory: growingArena(), now });
  vfs.reset();
  vfs.mountRoot(vfs.attachFs(root));
  const task = vfs.newTask({ uid: 0, gid: 0 });
  const { proc = [], sys = [], pids } = parts;
  const made = [
    ["/proc", procFs({ vfs, version: "Orrery", nodes: proc, ...(pids && { pids }) })],
    ["/sys", sysFs(sys)],
  ] as const;
  for (const [dir, fs] of made) {
    expect(vfs.mkdir(task, dir, 0o555)).toBe(0);
    expect(vfs.mount(task, vfs.attachFs(fs), dir)).toBe(0);
  }
  const textOf = (path: string, step = 4096): string => {
    const fd = vfs.open(task, path, 0);
    expect(fd, path).toBeGreaterThanOrEqual(0);
    let text = "";
    const into = new Uint8Array(step);
    for (let n = 0; (n = vfs.read(task, fd, into)) > 0;) text += new TextDecoder().decode(into.subarray(0, n));
    vfs.close(task, fd);
    return text;
  };
  const put = (path: string, text: string): number => {
    const fd = vfs.open(task, path, O_WRONLY | O_TRUNC);
    if (fd < 0) return fd;
    const result = vfs.write(task, fd, new TextEncoder().encode(text));
    vfs.close(task, fd);
    return result;
  };
  return { vfs, task, textOf, put };
}

/** What stands before the first number of each line: to compare our layout with the host's own /proc. */
export const labelsOf = (text: string): string[] => text.split("\n").map((line) => line.replace(/[\d\s].*$/, ""));

/** `part` in the same order within `whole`. */
export function inOrder(part: readonly string[], whole: readonly string[]): boolean {
  let at = 0;
  return part.every((line) => (at = whole.indexOf(line, at) + 1) > 0);
}

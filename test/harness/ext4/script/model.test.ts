/** Model and VFS give the same results and the same tree, on the simplest file system there is; each judges the other. */
import { expect, it } from "vitest";
import { generate } from "../../../../harness/ext4/script/generate.ts";
import { ModelTree } from "../../../../harness/ext4/script/model.ts";
import { scriptLine } from "../../../../harness/ext4/script/op.ts";
import type { Op } from "../../../../harness/ext4/script/op.ts";
import { parseScript } from "../../../../harness/ext4/script/parse.ts";
import { ScriptRun } from "../../../../harness/ext4/script/run.ts";
import { vfsTree } from "../../../../harness/ext4/script/vfs_tree.ts";
import type { Nanos } from "../../../../kernel/abi/units.ts";
import { Tmpfs, Vfs } from "../../../../kernel/index.ts";
import { growingArena } from "../../../../kernel/lib/growing_arena.ts";

const now = (): Nanos => 0 as Nanos;

function onTmpfs(): { readonly vfs: Vfs; readonly task: number } {
  const fs = new Tmpfs({ memory: growingArena(), pages: 4096, inodes: 2048, now });
  fs.reset();
  const vfs = new Vfs({ memory: growingArena(), now });
  vfs.reset();
  vfs.mountRoot(vfs.attachFs(fs));
  const task = vfs.newTask({ uid: 0, gid: 0 });
  vfs.umask(task, 0);
  return { vfs, task };
}

/** What differs between model and VFS; undefined when nothing does. */
function difference(ops: readonly Op[]): string | undefined {
  const { vfs, task } = onTmpfs();
  const [run, model] = [new ScriptRun(vfs, task), new ModelTree()];
  for (const [n, op] of ops.entries()) {
    const [found, expected] = [run.apply(op), model.apply(op)];
    if (found !== expected) return `${n}: ${scriptLine(op)}: ${found}, the model says ${expected}`;
    if (op.name === "read" && found > 0 && Buffer.compare(run.read, model.bytesOf(op)) !== 0)
      return `${n}: ${scriptLine(op)}: other bytes`;
  }
  const tree = vfsTree(vfs, task);
  expect(tree.lines).toEqual(model.lines());
  expect(tree.attributes).toEqual(model.attributeLines());
  return undefined;
}

it.each([1, 2, 3, 4, 5, 6, 7, 8])("random scripts, seed %i", (seed) => {
  for (let n = 0; n < 5; n++) expect(difference(generate(seed * 1000 + n, { fileBytesMax: 40_000 }))).toBe(undefined);
});

it("handles: position, append, modes, a file that lives on without a name", () => {
  const script = `
    mkdir /d
    open h /d/f rw,creat 600
    write @h first
    write @h " second"
    pwrite @h 20 end
    unlink /d/f
    read @h 0 100
    -read /d/f 0 1
    fsync @h
    close h
    -close h
    open a /log w,creat,append
    write @a one
    pwrite @a 0 two
    truncate @a 4
    close a
    open r /log
    -write @r x
    -truncate @r 1
    close r
    -open x /log rw,creat,excl
    -open x /d w
    -open x /none r
    symlink log /s
    read /s 0 10
    -rmdir /d/..
    rmdir /d
  `;
  expect(difference(parseScript(script, "script"))).toBe(undefined);
});

it("a line that was made parses to the operation it was made of", () => {
  for (let seed = 0; seed < 30; seed++)
    for (const op of generate(seed, { ops: 100 })) {
      const [again] = parseScript(scriptLine(op), "x");
      expect({ ...again, line: 0 }).toEqual(op);
    }
});

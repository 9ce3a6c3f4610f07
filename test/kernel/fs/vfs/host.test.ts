/**
 * The VFS on tmpfs against the Linux that runs the test: the same random calls of root and of a user, errno for errno.
 * host_judge.c plays them on a tmpfs of its own. Where our tree differs by design nothing is compared: ".." from a removed
 * directory, whose names Linux keeps for those who stand in it; pipes, which we cannot open; whiteouts' owners.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { S_IFIFO, S_IFMT, S_IFSOCK } from "../../../../kernel/abi/stat.ts";
import type { FileStat } from "../../../../kernel/fs/vfs/attr.ts";
import { RENAME_WHITEOUT } from "../../../../kernel/fs/vfs/file_system.ts";
import { newStat, type Protect } from "../../../../kernel/fs/vfs/state.ts";
import { Tmpfs } from "../../../../kernel/fs/tmpfs/tmpfs.ts";
import type { Nanos } from "../../../../kernel/abi/units.ts";
import { growingArena } from "../../../../kernel/lib/growing_arena.ts";
import { vfsOn } from "../../../contract/file_system.ts";
import { hostOp, type Op, playVfs, START } from "../../../contract/file_ops.ts";

const SEED = 20_261_128;
const folder = mkdtempSync(join(tmpdir(), "orrery-judge-"));
const program = join(folder, "judge");

const setting = (name: string): number => Number(readFileSync(`/proc/sys/fs/protected_${name}`, "utf8"));

/** What the host's administrator chose: /proc/sys/fs/protected_*. */
function protection(): Protect {
  return { hardlinks: setting("hardlinks") > 0, symlinks: setting("symlinks") > 0, regular: setting("regular") };
}

afterAll(() => rmSync(folder, { recursive: true }));

/** Which arguments follow in which order; texts are those that are strings. */
const ARGUMENTS: Readonly<Record<Op["op"], readonly string[]>> = {
  open: ["path", "flags", "mode"],
  close: ["fd"],
  dup: ["fd"],
  fstat: ["fd"],
  fchdir: ["fd"],
  fsync: ["fd"],
  dup2: ["fd", "to"],
  read: ["fd", "n"],
  write: ["fd", "n", "seed"],
  pread: ["fd", "n", "at"],
  pwrite: ["fd", "n", "seed", "at"],
  lseek: ["fd", "at", "whence"],
  ftruncate: ["fd", "size"],
  fchmod: ["fd", "mode"],
  fallocate: ["fd", "mode", "at", "n"],
  truncate: ["path", "size"],
  mkdir: ["path", "mode"],
  chmod: ["path", "mode"],
  mknod: ["path", "mode", "rdev"],
  symlink: ["target", "path"],
  link: ["path", "to", "flags"],
  rename: ["path", "to", "flags"],
  unlink: ["path", "flags"],
  stat: ["path", "flags"],
  readlink: ["path"],
  chdir: ["path"],
  list: ["path"],
  listxattr: ["path"],
  getcwd: [],
  umask: ["mode"],
  access: ["path", "want"],
  chown: ["path", "uid", "gid"],
  setxattr: ["path", "name", "n", "flags"],
  getxattr: ["path", "name"],
  removexattr: ["path", "name"],
};

function line(op: Op): string {
  const words = ARGUMENTS[op.op].map((name) => {
    const value = (op as unknown as Readonly<Record<string, string | number>>)[name]!;
    return typeof value === "number" ? String(value) : `"${Buffer.from(value).toString("hex") || "-"}`;
  });
  return [op.task, op.op, ...words].join(" ");
}

function judge(ops: readonly Op[]): string[] | undefined {
  const ran = spawnSync(program, [folder], {
    input: ops.map((op) => `${line(op)}\n`).join(""),
    encoding: "utf8",
    timeout: 10_000,
  });
  return ran.status === 0 ? ran.stdout.split("\n").slice(0, -1) : undefined;
}

function built(): boolean {
  const source = new URL("host_judge.c", import.meta.url).pathname;
  return spawnSync("cc", ["-O1", "-o", program, source]).status === 0 && judge([]) !== undefined;
}

/** The calls that can be compared, and what the VFS said to them. */
function ours(ops: readonly Op[]): { readonly ops: Op[]; readonly outcomes: string[] } {
  const fs = new Tmpfs({ memory: growingArena(), pages: 512, inodes: 400, now: () => 0 as Nanos });
  fs.reset();
  const { vfs, tasks } = vfsOn({ fs }, { now: 0 }, protection());
  const stat: FileStat = { ...newStat(), dev: 0 };
  const compared: Op[] = [];
  const outcomes: string[] = [];
  for (let op of [...START, ...ops]) {
    if (op.op === "mknod" && (op.mode & S_IFMT) === S_IFIFO) op = { ...op, mode: (op.mode & ~S_IFMT) | S_IFSOCK };
    if (op.op === "rename" && op.flags === RENAME_WHITEOUT) op = { ...op, flags: 0 };
    vfs.stat(tasks[op.task]!, ".", stat);
    if (stat.links === 0 && JSON.stringify(op).includes("..")) continue;
    compared.push(op);
    outcomes.push(playVfs(vfs, tasks, op));
  }
  return { ops: compared, outcomes };
}

describe.skipIf(!built())("the host's tmpfs (skipped without a C compiler, or where it may not be mounted)", () => {
  it("says the same to random calls, errno for errno", { timeout: 120_000 }, () => {
    fc.assert(
      fc.property(fc.array(hostOp, { maxLength: 80, size: "max" }), (some) => {
        const { ops, outcomes } = ours(some);
        const host = judge(ops);
        const at = outcomes.findIndex((outcome, n) => outcome !== host?.[n]);
        if (at >= 0) throw new Error(`${JSON.stringify(ops[at])}: ${outcomes[at]} instead of ${host?.[at]}`);
        expect(host?.length).toBe(ops.length);
      }),
      { seed: SEED, numRuns: 100 },
    );
  });
});

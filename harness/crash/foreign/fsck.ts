/**
 * The file systems' own checkers, as processes on an image file, read-only; and what of their words is damage.
 *
 * - foreignOf(fs)               which checker looks when, and what the file system promises
 * - askChecker(check, path)     what it found
 *
 * | file system | before Linux mounts it | after Linux mounted, read and unmounted it | fsync promises the name, too |
 * |---|---|---|---|
 * | xfs         | -                      | xfs_repair -n                              | yes                          |
 *
 * xfs_repair looks at no log that must be replayed, so only Linux's mount can come before it.
 */
import { spawn } from "node:child_process";
import { needTool } from "../../qemu/packages.ts";
import { assert } from "../../../kernel/lib/assert.ts";
import type { ForeignName, GuestFs } from "../guest_fs.ts";

export interface Checker {
  readonly program: string;
  readonly args: readonly string[];
  /** Lines that say nothing of damage. */
  readonly headings: RegExp;
}

export interface ForeignFs {
  readonly before: Checker | undefined;
  readonly after: Checker | undefined;
  readonly fsyncPromises: boolean;
  /** A torn superblock, in the kernel's words: Linux refuses it as it does ext4's. */
  readonly tornSuper: RegExp | undefined;
}

const FOREIGN: Readonly<Record<ForeignName, ForeignFs>> = {
  xfs: {
    before: undefined,
    after: {
      program: "xfs_repair",
      args: ["-n"],
      headings: /^Phase \d|^- |^No modify flag set|^Maximum metadata LSN/,
    },
    fsyncPromises: true,
    tornSuper: undefined,
  },
};

export function foreignOf({ name }: GuestFs): ForeignFs {
  assert(name !== "ext4", "foreignOf: ext4 has a judge of our own");
  return FOREIGN[name];
}

const WHY = "have the file system's own checker judge crash states";
/** A checker that is killed by the state is damage, too. */
const DIED = 255;

export interface CheckerSaid {
  readonly clean: boolean;
  readonly lines: readonly string[];
}

export const needCheckers = ({ before, after }: ForeignFs): void => {
  for (const check of [before, after]) if (check !== undefined) needTool(check.program, WHY);
};

export async function askChecker({ program, args, headings }: Checker, path: string): Promise<CheckerSaid> {
  const { code, text } = await run(needTool(program, WHY), [...args, path]);
  const lines = text
    .split("\n")
    .map((line) => line.replaceAll(path, "image").trim())
    .filter((line) => line !== "" && !headings.test(line));
  return { clean: code === 0, lines: code === DIED ? [...lines, `${program} died`] : lines };
}

function run(tool: string, args: readonly string[]): Promise<{ readonly code: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(tool, args, { stdio: ["ignore", "pipe", "pipe"] });
    const parts: Buffer[] = [];
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (part: Buffer) => parts.push(part));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code: code ?? DIED, text: Buffer.concat(parts).toString("latin1") }));
  });
}

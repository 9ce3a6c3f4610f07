/**
 * /proc: what the VFS can say of itself, and what the other wings hand in (mm/proc.ts has texts in Linux's formats).
 *
 *   version        the text that the machine gives itself
 *   mounts         one line a mount
 *   filesystems    types that are attached; "nodev" before those without a disk
 *   self           a link to the caller's
 *   PID/...        directories that come and go with the tasks
 *   sys/fs/...     protected_hardlinks, protected_symlinks, protected_regular: as the VFS was made
 */
import { ENOENT } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import type { Vfs } from "../vfs/vfs.ts";
import { type LiveDirs, PseudoFs, type PseudoNode } from "./pseudo_fs.ts";

const NODEV = new Set(["tmpfs", "proc", "sysfs"]);

const number = (value: number): string => `${value}\n`;

function ownPid(pids: LiveDirs): string | Errno {
  const pid = pids.self!();
  return pid === 0 ? ENOENT : `${pid}`;
}

export interface ProcOptions {
  readonly vfs: Vfs;
  /** /proc/version, without the line end. */
  readonly version: string;
  /** Of the wings: buddyinfo, meminfo, ... */
  readonly nodes?: readonly PseudoNode[];
  /** The PID directories (proc_pid.ts). */
  readonly pids?: LiveDirs;
  readonly bornSec?: number;
}

export function procFs({ vfs, version, nodes = [], pids, bornSec = 0 }: ProcOptions): PseudoFs {
  const { protect, fileSystems } = vfs.state;
  const types = (): string =>
    [...new Set(fileSystems.map(({ type }) => type))]
      .map((type) => `${NODEV.has(type) ? "nodev" : ""}\t${type}\n`)
      .join("");
  return new PseudoFs(
    "proc",
    [
      { path: "version", text: () => `${version}\n` },
      { path: "mounts", text: () => vfs.mountsText() },
      { path: "filesystems", text: types },
      { path: "sys/fs/protected_hardlinks", text: () => number(protect.hardlinks === true ? 1 : 0) },
      { path: "sys/fs/protected_symlinks", text: () => number(protect.symlinks === true ? 1 : 0) },
      { path: "sys/fs/protected_regular", text: () => number(protect.regular ?? 0) },
      ...(pids?.self === undefined ? [] : [{ path: "self", link: () => ownPid(pids) }]),
      ...nodes,
    ],
    bornSec,
    pids,
  );
}

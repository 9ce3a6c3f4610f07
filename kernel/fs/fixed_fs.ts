/**
 * What a file system answers whose names nobody can make, remove or change, and that keeps nothing on a disk: /proc, /sys,
 * pipes. Its files are those of the class that extends it.
 */
import { EACCES, EINVAL, ENODATA, EOPNOTSUPP, EPERM } from "../abi/errno.ts";
import { NAME_MAX } from "../abi/stat.ts";
import type { Errno } from "../abi/units.ts";
import { PAGE_SIZE } from "../abi/units.ts";
import type { StatFs } from "./vfs/file_system.ts";

export abstract class FixedFs {
  statfs(out: StatFs): 0 {
    const nothing = { blocks: 0, blocksFree: 0, blocksAvailable: 0, files: 0, filesFree: 0 };
    Object.assign(out, nothing, { blockSize: PAGE_SIZE, nameMax: NAME_MAX });
    return 0;
  }

  readlink(_ino: number, _into: Uint8Array): number | Errno {
    return EINVAL;
  }

  create(): Errno {
    return EACCES;
  }

  mkdir(): Errno {
    return EPERM;
  }

  symlink(): Errno {
    return EPERM;
  }

  link(): Errno {
    return EPERM;
  }

  unlink(): Errno {
    return EPERM;
  }

  rmdir(): Errno {
    return EPERM;
  }

  rename(): Errno {
    return EPERM;
  }

  sync(): 0 {
    return 0;
  }

  getxattr(): Errno {
    return ENODATA;
  }

  setxattr(): Errno {
    return EOPNOTSUPP;
  }

  removexattr(): Errno {
    return EOPNOTSUPP;
  }

  listxattr(): number {
    return 0;
  }

  /** There is one thing to wait for, if any. */
  waitingOn(): number {
    return 0;
  }

  step(): boolean {
    return false;
  }
}

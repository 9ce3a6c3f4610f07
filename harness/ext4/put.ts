/**
 * A file of the host copied into a file system in an image, as a mounted ext4 does it: the journal is replayed if need
 * be, the change goes through it, and the image is unmounted cleanly. Killed in between, the image recovers.
 *
 * - putFile({ image, from, to, ... })    bytes copied; UserError when it cannot be done
 */
import { closeSync, existsSync, fstatSync, openSync, readSync } from "node:fs";
import { O_CREAT, O_EXCL, O_TRUNC, O_WRONLY } from "../../kernel/abi/fcntl.ts";
import * as ERRNO from "../../kernel/abi/errno.ts";
import { isErr } from "../../kernel/abi/errno.ts";
import { type BareFs, bareFs, isRefusal, mountOptions } from "../../kernel/index.ts";
import { EXIT, UserError } from "../cli/exit.ts";
import { openFileDisk } from "../disk/file.ts";

const CHUNK_BYTES = 1 << 20;

export interface PutOptions {
  readonly image: string;
  readonly from: string;
  /** Path in the image. */
  readonly to: string;
  /** As mount(8) takes them. */
  readonly mount: string;
  /** Permissions; those of `from` when missing. */
  readonly mode?: number;
  readonly force: boolean;
  /** Seconds since 1970 of everything that is written. */
  readonly nowSec: number;
}

const REASONS: Readonly<Record<number, string>> = {
  [ERRNO.ENOENT]: "a directory on the way to it does not exist",
  [ERRNO.ENOTDIR]: "something on the way to it is no directory",
  [ERRNO.EISDIR]: "it is a directory; write the name of the file behind it",
  [ERRNO.EEXIST]: "it exists; choose another name, or add --force",
  [ERRNO.ENOSPC]: "the file system is full",
  [ERRNO.EFBIG]: "the file is larger than a file of this file system can be",
  [ERRNO.EROFS]: "the file system can only be read",
  [ERRNO.ENAMETOOLONG]: "a name is longer than 255 bytes",
  [ERRNO.EPERM]: "it is immutable, or can only be appended to",
};

export function putFile(options: PutOptions): number {
  const { image, from, to } = options;
  if (!existsSync(from)) throw new UserError(`cannot read ${from}: no such file`);
  const mount = mountOptions(options.mount);
  if (typeof mount === "string") throw new UserError(mount);
  const disk = openFileDisk(image);
  const file = openSync(from, "r");
  try {
    const bare = bareFs({ device: disk, mount, bootSec: options.nowSec, seed: options.nowSec });
    if (isRefusal(bare)) throw new UserError(`cannot mount ${image}: ${bare.reason}`, EXIT.invariant);
    const status = fstatSync(file);
    if (!status.isFile()) throw new UserError(`cannot copy ${from}: it is no regular file`);
    const put = copy(bare, file, to, options.mode ?? status.mode & 0o777, options.force);
    const left = bare.unmount();
    if (isErr(put.error)) throw new UserError(`cannot write ${to}: ${REASONS[put.error] ?? `error ${put.error}`}`);
    if (left !== 0) throw new UserError(`${image} could not be unmounted cleanly: error ${left}`, EXIT.invariant);
    return put.bytes;
  } finally {
    closeSync(file);
    disk.close();
  }
}

function copy(
  bare: BareFs,
  file: number,
  to: string,
  mode: number,
  force: boolean,
): { readonly bytes: number; readonly error: number } {
  const { vfs, task } = bare;
  const path = to.startsWith("/") ? to : `/${to}`;
  const flags = O_WRONLY | O_CREAT | (force ? O_TRUNC : O_EXCL);
  const fd = bare.run(() => vfs.open(task, path, flags, mode));
  if (fd < 0) return { bytes: 0, error: fd };
  const chunk = new Uint8Array(CHUNK_BYTES);
  let bytes = 0;
  let error = 0;
  for (let got = readSync(file, chunk); got > 0 && error === 0; got = readSync(file, chunk)) {
    for (let done = 0; done < got;) {
      const wrote = bare.run(() => vfs.write(task, fd, chunk.subarray(done, got)));
      if (wrote < 0) {
        error = wrote;
        break;
      }
      done += wrote;
      bytes += wrote;
    }
  }
  if (error === 0) error = bare.run(() => vfs.chmod(task, fd, mode));
  const synced = bare.run(() => vfs.fsync(task, fd));
  bare.run(() => vfs.close(task, fd));
  // Half a file under a name that was free is worse than none.
  if (error !== 0 && !force) bare.run(() => vfs.unlink(task, path));
  return { bytes, error: error === 0 ? synced : error };
}

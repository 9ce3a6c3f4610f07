/**
 * What is in a file system under the VFS, told by its own calls, in the words of the model (model.ts): to be compared.
 *
 * - vfsTree(vfs, task)     lines as `orrery ext4 manifest` prints them, and a line for each attribute
 */
import { createHash } from "node:crypto";
import { isErr } from "../../../kernel/abi/errno.ts";
import { O_RDONLY } from "../../../kernel/abi/fcntl.ts";
import { isDir, isLink, isReg } from "../../../kernel/abi/stat.ts";
import { finish, newStat } from "../../../kernel/index.ts";
import type { FileStat, Vfs } from "../../../kernel/index.ts";
import { assert } from "../../../kernel/lib/assert.ts";
import { attributeLine } from "./model.ts";

const READ_BYTES = 1 << 16;
/** linux_dirent64: the record's length and the name in it. */
const RECLEN_OFFSET = 16;
const NAME_OFFSET = 19;
const LIST_BYTES = 1 << 16;

export interface VfsTree {
  readonly lines: readonly string[];
  readonly attributes: readonly string[];
}

export function vfsTree(vfs: Vfs, task: number, ignore: ReadonlySet<string> = new Set()): VfsTree {
  const lines: { readonly path: string; readonly line: string }[] = [];
  const attributes: string[] = [];
  const must = (call: () => number, what: string): number => {
    const result = finish(vfs, call);
    assert(!isErr(result), `vfsTree: ${what}`);
    return result;
  };
  const buffer = new Uint8Array(READ_BYTES);
  const view = new DataView(buffer.buffer);

  const attributesOf = (path: string): void => {
    const list = new Uint8Array(LIST_BYTES);
    const length = finish(vfs, () => vfs.listxattr(task, path, list, {}));
    if (isErr(length)) return;
    for (const name of Buffer.from(list.subarray(0, length))
      .toString()
      .split("\0")
      .filter((one) => one !== "")) {
      const value = new Uint8Array(LIST_BYTES);
      const got = must(() => vfs.getxattr(task, path, name, value), "an attribute that is listed is not there");
      attributes.push(attributeLine(path.slice(1), name, value.subarray(0, got)));
    }
  };

  const namesOf = (path: string): string[] => {
    const names: string[] = [];
    const fd = must(() => vfs.open(task, path === "" ? "/" : path, O_RDONLY), "a directory cannot be opened");
    for (;;) {
      const got = must(() => vfs.getdents64(task, fd, buffer), "a directory cannot be read");
      if (got === 0) break;
      for (let at = 0; at < got; at += view.getUint16(at + RECLEN_OFFSET, true)) {
        const from = at + NAME_OFFSET;
        names.push(Buffer.from(buffer.subarray(from, buffer.indexOf(0, from))).toString());
      }
    }
    must(() => vfs.close(task, fd), "a directory cannot be closed");
    return names.filter((name) => name !== "." && name !== "..");
  };

  const contentOf = (path: string): string => {
    const hash = createHash("sha256");
    const fd = must(() => vfs.open(task, path, O_RDONLY), "a file cannot be opened");
    for (;;) {
      const got = must(() => vfs.read(task, fd, buffer), "a file cannot be read");
      if (got === 0) break;
      hash.update(buffer.subarray(0, got));
    }
    must(() => vfs.close(task, fd), "a file cannot be closed");
    return hash.digest("hex");
  };

  const walk = (dir: string): void => {
    for (const name of namesOf(dir)) {
      const path = `${dir}/${name}`;
      if (ignore.has(path)) continue;
      const stat: FileStat = { ...newStat(), dev: 0 };
      must(() => vfs.lstat(task, path, stat), "a name that is listed is not there");
      const shown = Buffer.from(path.slice(1)).toString("latin1");
      const mode = (stat.mode & 0o7777).toString(8);
      if (isDir(stat.mode)) lines.push({ path: shown, line: `d ${mode} - - ${shown}` });
      else if (isReg(stat.mode))
        lines.push({ path: shown, line: `f ${mode} ${stat.size} ${contentOf(path)} ${shown}` });
      else if (isLink(stat.mode)) {
        const length = must(() => vfs.readlink(task, path, buffer), "a link cannot be read");
        lines.push({
          path: shown,
          line: `l ${mode} - ${Buffer.from(buffer.subarray(0, length)).toString("latin1")} ${shown}`,
        });
      }
      if (!isLink(stat.mode)) attributesOf(path);
      if (isDir(stat.mode)) walk(path);
    }
  };
  attributesOf("/");
  walk("");
  return {
    lines: lines.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0)).map(({ line }) => line),
    attributes: attributes.sort(),
  };
}

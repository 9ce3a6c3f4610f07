/**
 * How a call of the VFS waits. A task makes one call at a time; EIOCBQUEUED from it means: sleep, then make the same call
 * with the same arguments again. Most calls are one attempt that changes something at its very end, and begin again from
 * nothing. What cannot be undone (a file was made, bytes were written, a descriptor is closed) is noted in the task's CALL
 * words, and the next try goes on from there.
 *
 * - run(v, task, call)        one try of a call; ends it when it does not wait
 * - theFile(v, task, fd)      the file a call works on, which stays while it waits, whoever closes the descriptor
 * - haveInHand(...)           an inode, held for the call
 *
 * When the call ends its file and inode are let go. That may wait as well: the result is kept meanwhile.
 */
import { EIOCBQUEUED, isErr } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { assert } from "../../lib/assert.ts";
import { CALL, FILE, type VfsState } from "./state.ts";

export function run(v: VfsState, task: number, call: () => number): number {
  assert(v.isTask(task), "Vfs: a call of a task that does not exist");
  v.caller = task;
  if (v.callGet(task, CALL.ending) === 0) {
    const result = call();
    if (result === EIOCBQUEUED) return result;
    v.callSet(task, CALL.ending, 1);
    v.callSet(task, CALL.result, result);
  }
  if (!letGo(v, task)) return EIOCBQUEUED;
  const result = v.callGet(task, CALL.result);
  v.clearCall(task);
  return result;
}

/** Lets go of what the call has in hand; false: it has to wait. */
export function letGo(v: VfsState, task: number): boolean {
  const file = v.callGet(task, CALL.file) - 1;
  if (file >= 0) {
    if (!unrefFile(v, file)) return false;
    v.callSet(task, CALL.file, 0);
  }
  const mount = v.callGet(task, CALL.mount) - 1;
  if (mount >= 0) {
    if (!v.release(mount, v.callGet(task, CALL.ino))) return false;
    v.callSet(task, CALL.mount, 0);
  }
  return true;
}

/** One reference to a file less; false: it was the last, and its inode's release has to wait. */
function unrefFile(v: VfsState, file: number): boolean {
  const refs = v.fileGet(file, FILE.refs);
  if (refs === 1) {
    if (!v.release(v.fileGet(file, FILE.mount), v.fileGet(file, FILE.ino))) return false;
    v.freeFile(file);
  } else v.setFile(file, FILE.refs, refs - 1);
  return true;
}

export function theFile(v: VfsState, task: number, fd: number, pathToo = false): number | Errno {
  const had = v.callGet(task, CALL.file) - 1;
  if (had >= 0) return had;
  const file = v.fileOf(task, fd, pathToo);
  if (isErr(file)) return file;
  v.setFile(file, FILE.refs, v.fileGet(file, FILE.refs) + 1);
  v.callSet(task, CALL.file, file + 1);
  return file;
}

/** A reference that is already counted becomes the call's: it goes with the call. */
export function dropWithCall(v: VfsState, task: number, file: number): void {
  assert(v.callGet(task, CALL.file) === 0, "dropWithCall: the call has a file already");
  v.callSet(task, CALL.file, file + 1);
}

export function haveInHand(v: VfsState, task: number, mount: number, ino: number): void {
  assert(v.callGet(task, CALL.mount) === 0, "haveInHand: the call has an inode already");
  v.callSet(task, CALL.mount, mount + 1);
  v.callSet(task, CALL.ino, ino);
}

/** The hold is somebody else's now. */
export function handOver(v: VfsState, task: number): void {
  v.callSet(task, CALL.mount, 0);
}

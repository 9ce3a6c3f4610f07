/**
 * What happens when the file system finds itself damaged, or its journal cannot go on (Linux: __ext4_error,
 * ext4_handle_error). The superblock counts it (s_error_count, times and errno of the first and the last, s_state), and
 *
 *   errors=continue      goes on
 *   errors=remount-ro    the journal is aborted, nothing is changed any more
 *   errors=panic         the same, and the machine shall stop: FS.Panicked
 *
 * - onError(options, word)   what mount option and superblock's s_errors say together
 * - noteError(fs, errno)     counts; keepErrors() of super_state.ts brings it to the superblock, or else the unmount
 * - putErrors(view, at, fs)  into the superblock at an address
 */
import { EFBIG, EFSBADCRC, EFSCORRUPTED, EIO, ENOMEM, ENOSPC, EROFS } from "../../abi/errno.ts";
import { le16, le32, setLe16, setLe32 } from "../../lib/bytes.ts";
import { SB, STATE_ERROR } from "./layout.ts";
import type { MountOptions, OnError } from "./mount_options.ts";
import type { Mounted } from "./mounted.ts";
import { FS } from "./mounted.ts";

/** s_errors: EXT4_ERRORS_CONTINUE, _RO, _PANIC. */
const BEHAVIOURS: readonly (OnError | undefined)[] = [undefined, "continue", "remount-ro", "panic"];

export const onError = (options: MountOptions, word: number): OnError =>
  options.errors ?? BEHAVIOURS[word] ?? "continue";

/** s_last_error_errcode: EXT4_ERR_*, 1 is EXT4_ERR_UNKNOWN. */
const CODES = new Map<number, number>([
  [EIO, 2],
  [ENOMEM, 3],
  [EFSBADCRC, 4],
  [EFSCORRUPTED, 5],
  [ENOSPC, 6],
  [EROFS, 8],
  [EFBIG, 9],
]);

export function noteError(fs: Mounted, errno: number): void {
  const { words } = fs;
  words[FS.Errors]!++;
  words[FS.LastError] = errno;
  if (fs.journal.aborted !== 0) words[FS.ReadOnly] = 1;
  if (fs.onError === "continue") return;
  words[FS.ReadOnly] = 1;
  // What is on its way may be damaged, too: nothing more is committed.
  fs.journal.fail(EIO);
  if (fs.onError === "panic") words[FS.Panicked] = 1;
}

/** What was counted since the last time. The checksum is the caller's. */
export function putErrors(view: DataView, at: number, fs: Mounted): void {
  const { words } = fs;
  const fresh = words[FS.Errors]! - words[FS.ErrorsKept]!;
  if (fresh === 0) return;
  const before = le32(view, at + SB.s_error_count);
  const sec = fs.bootSec + Math.floor(fs.machine.now() / 1e9);
  const code = CODES.get(words[FS.LastError]!) ?? 1;
  const put = (time: number, high: number, errcode: number): void => {
    setLe32(view, at + time, sec % 2 ** 32);
    view.setUint8(at + high, Math.floor(sec / 2 ** 32));
    view.setUint8(at + errcode, code);
  };
  if (before === 0) put(SB.s_first_error_time, SB.s_first_error_time_hi, SB.s_first_error_errcode);
  put(SB.s_last_error_time, SB.s_last_error_time_hi, SB.s_last_error_errcode);
  setLe32(view, at + SB.s_error_count, before + fresh);
  setLe16(view, at + SB.s_state, le16(view, at + SB.s_state) | STATE_ERROR);
  words[FS.ErrorsKept] = words[FS.Errors]!;
}

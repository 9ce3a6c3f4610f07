/**
 * What a call waits for when the VFS says that it has to: the channel of wait.ts, and who brings it about.
 *
 * - fileChannel(vfs, wake)    after a call that was told EIOCBQUEUED
 */
import { WAIT_COMMIT, WAIT_DATA, WAIT_JOURNAL, WAIT_METADATA, WAIT_WRITEBACK } from "./abi/page_cache.ts";
import type { Vfs } from "./fs/vfs/vfs.ts";
import { Wait } from "./wait.ts";

export interface FileWakes {
  jbd2(): void;
  flusher(): void;
}

export function fileChannel(vfs: Vfs, wake: FileWakes): number {
  const waits = vfs.waitingOn();
  if (waits === undefined) return Wait.FileSystem;
  if (waits.fs.type === "pipefs") return Wait.Pipe;
  switch (waits.token) {
    case WAIT_DATA:
      return Wait.Data;
    case WAIT_METADATA:
      return Wait.Metadata;
    case WAIT_JOURNAL:
      wake.jbd2();
      return Wait.Journal;
    case WAIT_COMMIT:
      wake.jbd2();
      return Wait.Commit;
    case WAIT_WRITEBACK:
      wake.flusher();
      wake.jbd2();
      return Wait.Writeback;
    default:
      wake.jbd2();
      wake.flusher();
      return Wait.FileSystem;
  }
}

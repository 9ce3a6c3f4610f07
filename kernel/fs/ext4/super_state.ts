/**
 * What mount, unmount and errors write into the superblock.
 *
 *   mount      needs_recovery (orphan_present), a mount more, its time; without a journal not valid until the unmount
 *   unmount    what is free, valid as it was, needs_recovery taken away when the log is empty
 *   an error   s_error_count and what goes with it (errors.ts)
 *
 * Mount and unmount write the block itself, for no journal runs then: polled, with a flush before and behind.
 *
 * - putMounted, putUnmounted(view, at, ...)    fields of a superblock at an address, its checksum too
 * - keepErrors(fs)                             by the journal, as long as that runs; true when something was done
 * - writeSuper(device, sb, block, idle)        the block that holds it
 */
import type { BlockDevice } from "../../abi/block.ts";
import { REQ_FUA, REQ_PREFLUSH } from "../../abi/block.ts";
import type { Errno } from "../../abi/units.ts";
import { le16, le32, setLe16, setLe32 } from "../../lib/bytes.ts";
import { writeDirect } from "../../../drivers/index.ts";
import { runAlways } from "./call.ts";
import { setSuperChecksum } from "./csum.ts";
import { putErrors } from "./errors.ts";
import { INCOMPAT, RO_COMPAT, SB, STATE_VALID } from "./layout.ts";
import type { Mounted } from "./mounted.ts";
import { FS } from "./mounted.ts";
import { editSuper, sealSuper } from "./super_edit.ts";
import type { Super } from "./super.ts";

function setFeature(view: DataView, at: number, field: number, bit: number, on: boolean): void {
  const word = le32(view, at + field);
  setLe32(view, at + field, (on ? word | bit : word & ~bit) >>> 0);
}

function setTime(view: DataView, at: number, field: number, high: number, sec: number): void {
  setLe32(view, at + field, sec % 2 ** 32);
  view.setUint8(at + high, Math.floor(sec / 2 ** 32));
}

export function putMounted(view: DataView, at: number, sb: Super, sec: number): void {
  setLe16(view, at + SB.s_mnt_count, le16(view, at + SB.s_mnt_count) + 1);
  setTime(view, at, SB.s_mtime, SB.s_mtime_hi, sec);
  setTime(view, at, SB.s_wtime, SB.s_wtime_hi, sec);
  if (sb.journalIno === 0) setLe16(view, at + SB.s_state, le16(view, at + SB.s_state) & ~STATE_VALID);
  else {
    setFeature(view, at, SB.s_feature_incompat, INCOMPAT.needs_recovery, true);
    if (sb.orphanFileIno !== 0) setFeature(view, at, SB.s_feature_ro_compat, RO_COMPAT.orphan_present, true);
  }
}

/** `state` is s_state as the mount found it; the error bit of the mount's own errors is there already. */
export function putUnmounted(view: DataView, at: number, fs: Mounted, state: number): void {
  const { sb, space } = fs;
  const blocks = space.freeClusters * 2 ** sb.clusterBits;
  setLe32(view, at + SB.s_free_blocks_count_lo, blocks % 2 ** 32);
  if (sb.has64bit) setLe32(view, at + SB.s_free_blocks_count_hi, Math.floor(blocks / 2 ** 32));
  setLe32(view, at + SB.s_free_inodes_count, space.freeInodes);
  setLe16(view, at + SB.s_state, le16(view, at + SB.s_state) | (state & STATE_VALID));
  setFeature(view, at, SB.s_feature_incompat, INCOMPAT.needs_recovery, false);
  // An orphan that could not be processed stays for who comes next.
  setFeature(view, at, SB.s_feature_ro_compat, RO_COMPAT.orphan_present, false);
  fs.setTime();
  setTime(view, at, SB.s_wtime, SB.s_wtime_hi, fs.edit.sec);
}

/** 0, or how the device failed. With barrier: what came before is durable first, and so is this. */
export function writeSuper(
  device: BlockDevice,
  sb: Super,
  block: Uint8Array,
  barrier: boolean,
  idle: () => void,
): number | Errno {
  setSuperChecksum(sb, block, new DataView(block.buffer, block.byteOffset), sb.superOffset);
  const flags = barrier && device.limits.writeCache ? REQ_PREFLUSH | REQ_FUA : 0;
  const written = writeDirect(device, sb.superBlock * sb.blockSize, block, flags, idle);
  return written === block.length ? 0 : written;
}

export function keepErrors(fs: Mounted): boolean {
  const { words } = fs;
  if (words[FS.Errors] === words[FS.ErrorsKept] || fs.journal.aborted !== 0) return false;
  const kept = runAlways(fs, 1, (edit) => {
    const at = editSuper(edit);
    putErrors(edit.blocks.view, at, fs);
    sealSuper(edit);
    return 0;
  });
  return kept === 0;
}

/**
 * A script on a file system in an image file: `orrery ext4 run`.
 *
 * - runOnImage(options)     what each operation gave
 * - errnoName(errno)        "ENOENT"
 */
import * as ERRNO from "../../../kernel/abi/errno.ts";
import { isErr } from "../../../kernel/abi/errno.ts";
import type { Nanos } from "../../../kernel/abi/units.ts";
import { Vfs, bareFs, isRefusal, mountOptions } from "../../../kernel/index.ts";
import { growingArena } from "../../../kernel/lib/growing_arena.ts";
import { EXIT, UserError } from "../../cli/exit.ts";
import { openFileDisk } from "../../disk/file.ts";
import { dataBytes, scriptLine } from "./op.ts";
import type { Op } from "./op.ts";
import { ScriptRun } from "./run.ts";

export interface ImageRun {
  readonly image: string;
  readonly ops: readonly Op[];
  /** As in mount -o. */
  readonly mount: string;
  /** Seconds since 1970; time stands still. */
  readonly nowSec: number;
  /** The power goes after the last operation: nothing is unmounted. */
  readonly cut: boolean;
}

export interface Outcome {
  readonly line: number;
  readonly operation: string;
  /** Bytes, 0, or the name of the error. */
  readonly result: string | number;
  /** It worked, or might fail. */
  readonly ok: boolean;
}

const NAMES = new Map(
  Object.entries(ERRNO)
    .filter((entry): entry is [string, (typeof ERRNO)["EIO"]] => typeof entry[1] === "number")
    .map(([name, errno]) => [Number(errno), name]),
);

export const errnoName = (errno: number): string => NAMES.get(errno) ?? `error ${errno}`;

const now = (): Nanos => 0 as Nanos;

/** The bytes that a read must give; a wrong one is an operation that failed. */
const readsWrong = (op: Op, found: Uint8Array): boolean =>
  op.name === "read" && op.data !== undefined && Buffer.compare(found, dataBytes(op.data)) !== 0;

export function runOnImage({ image, ops, mount, nowSec, cut }: ImageRun): Outcome[] {
  const options = mountOptions(mount);
  if (typeof options === "string") throw new UserError(options);
  const disk = openFileDisk(image);
  try {
    const bare = bareFs({ device: disk, mount: options, now, bootSec: nowSec });
    if (isRefusal(bare)) throw new UserError(`${image} cannot be mounted: ${bare.reason}`, EXIT.invariant);
    const vfs = new Vfs({ memory: growingArena(), now, bootSec: nowSec });
    vfs.reset();
    vfs.mountRoot(vfs.attachFs(bare.fs));
    const task = vfs.newTask({ uid: 0, gid: 0 });
    vfs.umask(task, 0);
    const run = new ScriptRun(vfs, task);
    const outcomes = ops.map((op): Outcome => {
      const found = run.apply(op);
      const wrong = !isErr(found) && readsWrong(op, run.read);
      const result = isErr(found) ? errnoName(found) : wrong ? "other bytes" : found;
      return { line: op.line, operation: scriptLine(op), result, ok: op.mayFail || (!isErr(found) && !wrong) };
    });
    if (!cut) {
      run.closeAll();
      const ended = bare.unmount();
      if (ended !== 0) throw new UserError(`${image}: unmounting ended with ${errnoName(ended)}`, EXIT.invariant);
    }
    return outcomes;
  } finally {
    disk.close();
  }
}

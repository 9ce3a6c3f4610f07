/**
 * Direct access to a block device, past any cache: byte ranges that are whole logical blocks. The polled way; a task of
 * the kernel sleeps on the request instead.
 *
 * - readDirect, writeDirect(device, offset, bytes, ...)   number of bytes, or an error
 * - pollUntilEnded(device, requests, idle, polls)         polls until all have ended; ETIMEDOUT when they do not
 */
import { BlockOp, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockDevice, BlockRequest } from "../../kernel/abi/block.ts";
import { EINVAL, ETIMEDOUT } from "../../kernel/abi/errno.ts";
import type { Errno } from "../../kernel/abi/units.ts";
import { blockRequest } from "./request.ts";

/** Polls that bring nothing before a device is given up. */
const POLLS_MAX = 100_000;

/** `idle` is called between polls that bring nothing: it lets the world go on (virtual time, an interrupt, a spin). */
export function pollUntilEnded(
  device: BlockDevice,
  requests: readonly BlockRequest[],
  idle: () => void,
  polls = POLLS_MAX,
): 0 | Errno {
  let next = 0;
  for (let poll = 0; poll < polls;) {
    if (next < requests.length) next += device.submit(requests.slice(next));
    const ended = device.poll();
    if (requests.every((request) => request.result !== undefined)) return 0;
    if (ended.length > 0) continue;
    poll++;
    idle();
  }
  return ETIMEDOUT;
}

function transfer(
  device: BlockDevice,
  op: BlockOp,
  offset: number,
  bytes: Uint8Array,
  flags: number,
  idle: () => void,
): number | Errno {
  const unit = device.limits.logicalBlockSize;
  if (offset % unit !== 0 || bytes.length % unit !== 0) return EINVAL;
  const step = device.limits.sectorsMax * SECTOR_SIZE;
  const requests: BlockRequest[] = [];
  for (let at = 0; at < bytes.length; at += step) {
    const piece = bytes.subarray(at, Math.min(at + step, bytes.length));
    requests.push(blockRequest(op, (offset + at) / SECTOR_SIZE, piece, { flags }));
  }
  const polled = pollUntilEnded(device, requests, idle);
  if (polled !== 0) return polled;
  const failed = requests.find((request) => request.result !== 0);
  return failed === undefined ? bytes.length : failed.result!;
}

export const readDirect = (
  device: BlockDevice,
  offset: number,
  into: Uint8Array,
  idle: () => void = () => {},
): number | Errno => transfer(device, BlockOp.Read, offset, into, 0, idle);

export const writeDirect = (
  device: BlockDevice,
  offset: number,
  from: Uint8Array,
  flags = 0,
  idle: () => void = () => {},
): number | Errno => transfer(device, BlockOp.Write, offset, from, flags, idle);

/**
 * A hostile NBD client against the server's session and a disk. Each case is a dialogue of sane and broken words, some
 * bytes flipped, cut anywhere. Whatever comes: nothing throws, nothing outside the disk is touched, what is kept stays
 * within the largest request, and nothing is said after closing.
 */
import { NBD, NbdSession, SparseDisk, nbdExport } from "../harness/index.ts";
import type { NbdExport, NbdRequest } from "../harness/index.ts";
import { next32, nextBelow, prng } from "../kernel/lib/prng.ts";
import type { FuzzFailure, FuzzResult, FuzzTarget } from "./target.ts";

const DISK_BYTES = 1 << 16;
const WORDS_MAX = 12;
const PROGRESS_EVERY = 256;

const pick = <T>(state: Int32Array, from: readonly T[]): T => from[nextBelow(state, from.length)]!;

function option(state: Int32Array): Buffer<ArrayBuffer> {
  const data = Buffer.alloc(pick(state, [0, 0, 6, 8, 40, 4096, 6000]), pick(state, [0, 0, 1, 255]));
  const head = Buffer.alloc(16);
  head.writeBigUInt64BE(NBD.IHAVEOPT, 0);
  head.writeUInt32BE(pick(state, [...Object.values(NBD.Opt), 5, 9, 10, 99]), 8);
  head.writeUInt32BE(nextBelow(state, 20) === 0 ? next32(state) : data.length, 12);
  return Buffer.concat([head, data]);
}

function request(state: Int32Array): Buffer<ArrayBuffer> {
  const type = pick(state, [...Object.values(NBD.Cmd).filter((each) => each !== NBD.Cmd.Disc), 5, 7, 200]);
  const length = pick(state, [0, 100, 512, 512, 1024, 4096, DISK_BYTES, DISK_BYTES + 512, 33 << 20, 2 ** 32 - 512]);
  const head = Buffer.alloc(28);
  head.writeUInt32BE(NBD.REQUEST_MAGIC, 0);
  head.writeUInt16BE(pick(state, [0, 0, 0, 1, 2, 4, 0xffff]), 4);
  head.writeUInt16BE(type, 6);
  head.writeUInt32BE(next32(state), 8);
  head.writeUInt32BE(next32(state), 12);
  head.writeUInt32BE(nextBelow(state, 8) === 0 ? next32(state) : 0, 16);
  head.writeUInt32BE(pick(state, [0, 512, 4096, 100, DISK_BYTES - 512, DISK_BYTES, 2 ** 32 - 512]), 20);
  head.writeUInt32BE(length, 24);
  return type === NBD.Cmd.Write ? Buffer.concat([head, Buffer.alloc(Math.min(length, 8192), 0x25)]) : head;
}

/** Mostly past the handshake, since most code is behind it. */
function dialogue(state: Int32Array): Buffer {
  const words = [Buffer.from([0, 0, 0, nextBelow(state, 30) === 0 ? next32(state) & 0xff : nextBelow(state, 4)])];
  for (let n = nextBelow(state, 3); n > 0; n--) words.push(option(state));
  const go = Buffer.alloc(22);
  go.writeBigUInt64BE(NBD.IHAVEOPT, 0);
  go.writeUInt32BE(NBD.Opt.Go, 8);
  go.writeUInt32BE(6, 12);
  if (nextBelow(state, 10) !== 0) words.push(go);
  for (let n = nextBelow(state, WORDS_MAX); n > 0; n--) words.push(request(state));
  const bytes = Buffer.concat(words);
  if (nextBelow(state, 2) === 0)
    for (let n = nextBelow(state, 4); n > 0; n--) bytes[nextBelow(state, bytes.length)]! ^= 1 << nextBelow(state, 8);
  return bytes;
}

/** What a request that reached the disk does wrong, or undefined. */
function breach(asked: NbdRequest, disk: SparseDisk): string | undefined {
  if (asked.type === NBD.Cmd.Flush) return undefined;
  const end = asked.offset + asked.length;
  if (!(asked.offset >= 0 && asked.length > 0 && end <= DISK_BYTES))
    return `a request for ${asked.offset}+${asked.length} reached a disk of ${DISK_BYTES}`;
  if (asked.type === NBD.Cmd.Write && asked.data?.length !== asked.length) return "a write came without its data";
  return disk.limits.sectors * 512 === DISK_BYTES ? undefined : "the disk changed its size";
}

function runCase(seed: number, exported: NbdExport, disk: SparseDisk): string | undefined {
  const state = prng(seed);
  const bytes = dialogue(state);
  let failure: string | undefined;
  let closed = false;
  let saidBytes = 0;
  const session: NbdSession = new NbdSession(exported, {
    send: (said) => {
      saidBytes += said.length;
      if (closed) failure ??= "it spoke after it had closed";
    },
    execute: (asked) => {
      failure ??= breach(asked, disk);
      if (failure === undefined) serve(session, asked, disk);
    },
    close: () => {
      if (closed) failure ??= "it closed twice";
      closed = true;
    },
  });
  for (let at = 0; at < bytes.length && failure === undefined;) {
    const part = Math.min(bytes.length - at, 1 + nextBelow(state, pick(state, [3, 30, 10_000])));
    const before = saidBytes;
    session.feed(bytes.subarray(at, at + part));
    at += part;
    if (session.keptBytes > exported.bytesMax) failure ??= `it keeps ${session.keptBytes} bytes`;
    if (closed && saidBytes > before + DISK_BYTES * WORDS_MAX) failure ??= "it says more than it was asked";
  }
  return failure;
}

function serve(session: NbdSession, asked: NbdRequest, disk: SparseDisk): void {
  const data = asked.type === NBD.Cmd.Read ? Buffer.alloc(asked.length) : undefined;
  if (data !== undefined) disk.readAt(asked.offset, data);
  else if (asked.type === NBD.Cmd.Write) disk.writeAt(asked.offset, asked.data!);
  else if (asked.type !== NBD.Cmd.Flush) disk.zeroAt(asked.offset, asked.length);
  session.reply(asked, 0, data);
}

function campaign(seed: number, runs: number, exportedBytes: number, progress: (done: number) => void): FuzzResult {
  const disk = new SparseDisk(DISK_BYTES);
  const exported = { ...nbdExport(disk), bytes: exportedBytes };
  for (let done = 0; done < runs; done++) {
    if (done % PROGRESS_EVERY === 0) progress(done);
    const failure = attempt(seed + done, exported, disk);
    if (failure !== undefined) return { runs: done + 1, failure };
  }
  progress(runs);
  return { runs };
}

function attempt(seed: number, exported: NbdExport, disk: SparseDisk): FuzzFailure | undefined {
  try {
    const message = runCase(seed, exported, disk);
    return message === undefined ? undefined : { seed, message };
  } catch (error) {
    return { seed, message: `it threw ${String(error)}` };
  }
}

export const target: FuzzTarget = {
  name: "nbd_server",
  help: "a hostile client against the NBD server",
  run: (seed, runs, progress) => campaign(seed, runs, DISK_BYTES, progress),
  /** An export that is one sector larger than its disk: requests beyond the end must be seen. */
  canary: (seed) => campaign(seed, 2000, DISK_BYTES + 512, () => undefined),
};

/** Large files, written from end to end, synced, read from end to end, deleted. */
import { ENOSPC } from "../../kernel/abi/errno.ts";
import { O_CREAT, O_RDWR, O_TRUNC, O_WRONLY } from "../../kernel/abi/fcntl.ts";
import type { UserWorkload } from "../../kernel/abi/program.ts";
import { close, DATA_AT, DATA_BYTES, fsync, mkdir, nanosleep, open, pwrite, tell, unlink, unsay } from "../libc.ts";
import { program } from "../program.ts";
import { fillUnits, sayDropped, saySynced } from "../promise.ts";
import { getUnits, recoveryNs, verifyUnits } from "./disk_file.ts";

const [ID, FULL, KMSG, FD, OFFSET, PASS] = [0, 1, 2, 3, 4, 5] as const;
/** To make or look at one buffer: some 300 MB a second. */
const COPY_NS = 150_000;

const pathOf = (w: Float64Array): string => `/srv/stream-${w[ID]}`;

/** Arguments: number of the stream, bytes of its file. A generation is one pass over the file. */
export const streamer = program("stream", {
  start: (t) => (mkdir(t, "/srv"), "kmsg"),
  kmsg: (t) => (open(t, "/dev/kmsg", O_WRONLY), "first"),
  first(t, w) {
    w[KMSG] = t.result;
    return "open";
  },
  open: (t, w) => (open(t, pathOf(w), O_RDWR | O_CREAT | O_TRUNC), "opened"),
  opened(t, w) {
    w[FD] = t.result;
    if (t.result < 0) return "openLater";
    w[OFFSET] = 0;
    w[PASS]!++;
    return "fill";
  },
  openLater: (t) => (nanosleep(t, recoveryNs(t.result)), "open"),

  fill(t, w) {
    if (w[OFFSET]! >= w[FULL]!) return "sync";
    fillUnits(t.memory, DATA_AT, pathOf(w), w[OFFSET]!, DATA_BYTES, w[PASS]!);
    t.run(COPY_NS);
    return "put";
  },
  put: (t, w) => (pwrite(t, w[FD]!, DATA_AT, DATA_BYTES, w[OFFSET]!), "written"),
  written(t, w) {
    // A full disk ends the file here.
    if (t.result === ENOSPC) return "sync";
    if (t.result < 0) return "fillLater";
    if (t.result < DATA_BYTES) return "sync";
    w[OFFSET]! += t.result;
    return "fill";
  },
  fillLater: (t) => (nanosleep(t, recoveryNs(t.result)), "fill"),

  sync: (t, w) => (fsync(t, w[FD]!), "synced"),
  synced(t, w) {
    if (t.result < 0) return "failed";
    if (w[OFFSET]! > 0) saySynced(t, pathOf(w), w[PASS]!, w[OFFSET]!);
    w[OFFSET] = 0;
    tell(t, w[KMSG]!);
    return "get";
  },
  get: (t, w) => (getUnits(t, w[FD]!, w[OFFSET]!, DATA_BYTES), "got"),
  got(t, w) {
    if (t.result < 0) return "failed";
    if (t.result < DATA_BYTES) return "drop";
    verifyUnits(t, pathOf(w), w[OFFSET]!, t.result);
    w[OFFSET]! += t.result;
    t.run(COPY_NS);
    return "complain";
  },
  complain: (t, w) => (tell(t, w[KMSG]!), "get"),

  failed: (t) => (nanosleep(t, recoveryNs(t.result)), "drop"),
  drop(t, w) {
    unsay(t);
    sayDropped(t, pathOf(w));
    tell(t, w[KMSG]!);
    return "delete";
  },
  delete: (t, w) => (unlink(t, pathOf(w)), "close"),
  close: (t, w) => (close(t, w[FD]!), "open"),
});

const MIB = 2 ** 20;
/** Of all streams: half of a disk of 256 MiB. */
const BYTES_MAX = 128 * MIB;
const SHARE = 1.5;

/** Together half as large again as memory, where the disk has room for it. */
export const stream: UserWorkload = {
  name: "stream",
  help: "large files, written and then read from end to end",
  tasks({ cpus, memoryBytes }) {
    const streams = Math.min(2, cpus);
    const chunks = Math.floor(Math.min(BYTES_MAX, memoryBytes * SHARE) / streams / DATA_BYTES);
    return Array.from({ length: streams }, (_, n) => ({
      program: streamer,
      name: `stream/${n}`,
      args: [n, chunks * DATA_BYTES],
    }));
  },
};

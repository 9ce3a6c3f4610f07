/**
 * Streams: a large file is written from its start to its end, synced, and read back; then over it again.
 * Arguments: number of the stream, bytes of the file.
 */
import {
  close,
  data,
  DATA_BYTES,
  fsync,
  nanosleep,
  O_CREAT,
  O_RDONLY,
  O_WRONLY,
  open,
  read,
  run,
  write,
  writeText,
} from "../libc.ts";
import { program } from "../program.ts";
import { fillSectors, SECTOR, syncedLine } from "../promise.ts";

const [STREAM, BYTES, KMSG, FD, DONE, GENERATION] = [1, 2, 3, 4, 5, 6];
const LOOK_NS = 10_000;
const TROUBLE_NS = 50_000_000;

const pathOf = (w: Float64Array): string => `/stream.${w[STREAM]}`;

export const stream = program("stream", {
  console: (t) => open(t, "/dev/kmsg", O_WRONLY, "told?"),
  "told?": (t, w) => {
    w[KMSG] = t.result;
    return "open";
  },
  open: (t, w) => open(t, pathOf(w), O_WRONLY | O_CREAT, "opened?"),
  "opened?": (t, w) => {
    w[FD] = t.result;
    w[DONE] = 0;
    w[GENERATION]!++;
    return t.result < 0 ? "trouble" : "write";
  },
  trouble: (t) => nanosleep(t, TROUBLE_NS, "open"),
  write: (t, w) => {
    const bytes = Math.min(DATA_BYTES, w[BYTES]! - w[DONE]!);
    fillSectors(data(t, bytes), pathOf(w), w[DONE]! / SECTOR, w[GENERATION]!);
    return write(t, w[FD]!, bytes, "written?");
  },
  "written?": (t, w) => {
    if (t.result <= 0 || t.result % SECTOR !== 0) return "sync";
    w[DONE]! += t.result;
    return w[DONE]! < w[BYTES]! ? "write" : "sync";
  },
  sync: (t, w) => fsync(t, w[FD]!, "synced?"),
  "synced?": (t, w) => (t.result === 0 && w[KMSG]! >= 0 && w[DONE]! > 0 ? "promise" : "close"),
  promise: (t, w) => writeText(t, w[KMSG]!, syncedLine(pathOf(w), 0, w[DONE]! / SECTOR, w[GENERATION]!), "close"),
  close: (t, w) => close(t, w[FD]!, "again"),
  again: (t, w) => open(t, pathOf(w), O_RDONLY, "reader?"),
  "reader?": (t, w) => {
    w[FD] = t.result;
    return t.result < 0 ? "trouble" : "read";
  },
  read: (t, w) => read(t, w[FD]!, DATA_BYTES, "look?"),
  "look?": (t) => (t.result > 0 ? "look" : "end"),
  look: (t) => run(t, LOOK_NS, "read"),
  end: (t, w) => close(t, w[FD]!, "open"),
});

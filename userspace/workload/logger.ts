/**
 * A log writer: appends a record at a time, syncs every few, and begins a new log when one is long enough.
 * Arguments: bytes of a log, records to a sync.
 */
import {
  close,
  data,
  fdatasync,
  mkdir,
  nanosleep,
  O_APPEND,
  O_CREAT,
  O_TRUNC,
  O_WRONLY,
  open,
  write,
  writeText,
} from "../libc.ts";
import { program } from "../program.ts";
import { droppedLine, fillSectors, SECTOR, syncedLine } from "../promise.ts";

const [BYTES, EVERY, KMSG, FD, LOG, SECTORS, SYNCED] = [1, 2, 3, 4, 5, 6, 7];
const LOGS = 2;
const PAUSE_NS = 1_500_000;

const pathOf = (w: Float64Array): string => `/var/log/messages.${w[LOG]! % LOGS}`;

export const logger = program("logger", {
  console: (t) => open(t, "/dev/kmsg", O_WRONLY, "var"),
  var: (t, w) => {
    w[KMSG] = t.result;
    return mkdir(t, "/var", "varlog");
  },
  varlog: (t) => mkdir(t, "/var/log", "rotate"),
  rotate: (t, w) => {
    w[LOG]!++;
    w[SECTORS] = w[SYNCED] = 0;
    return w[KMSG]! >= 0 ? writeText(t, w[KMSG]!, droppedLine(pathOf(w)), "open") : nanosleep(t, PAUSE_NS, "open");
  },
  open: (t, w) => open(t, pathOf(w), O_WRONLY | O_CREAT | O_APPEND | O_TRUNC, "opened?"),
  "opened?": (t, w) => {
    w[FD] = t.result;
    return t.result < 0 ? "pause" : "record";
  },
  record: (t, w) => {
    fillSectors(data(t, SECTOR), pathOf(w), w[SECTORS]!, w[LOG]!);
    return write(t, w[FD]!, SECTOR, "recorded?");
  },
  "recorded?": (t, w) => {
    if (t.result !== SECTOR) return "close";
    w[SECTORS]!++;
    return w[SECTORS]! % w[EVERY]! === 0 ? "sync" : "pause";
  },
  sync: (t, w) => fdatasync(t, w[FD]!, "synced?"),
  "synced?": (t, w) => {
    if (t.result !== 0 || w[KMSG]! < 0) return "pause";
    return "promise";
  },
  promise: (t, w) => {
    const line = syncedLine(pathOf(w), w[SYNCED]!, w[SECTORS]! - w[SYNCED]!, w[LOG]!);
    w[SYNCED] = w[SECTORS]!;
    return writeText(t, w[KMSG]!, line, "pause");
  },
  pause: (t) => nanosleep(t, PAUSE_NS / 2 + t.below(PAUSE_NS), "next?"),
  "next?": (_, w) => {
    if (w[FD]! < 0) return "rotate";
    return w[SECTORS]! * SECTOR >= w[BYTES]! ? "close" : "record";
  },
  close: (t, w) => close(t, w[FD]!, "rotate"),
});

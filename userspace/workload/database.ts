/**
 * A database: each transaction appends to a log of its own and syncs it, then changes random pages of 8 KiB in the table,
 * and syncs that every so often. Arguments: number of the client, bytes of the table.
 */
import {
  data,
  fdatasync,
  ftruncate,
  mkdir,
  nanosleep,
  O_CREAT,
  O_RDWR,
  O_WRONLY,
  open,
  pread,
  pwrite,
  run,
  writeText,
} from "../libc.ts";
import { program } from "../program.ts";
import { droppedLine, fillSectors, SECTOR, syncedLine } from "../promise.ts";

const [CLIENT, BYTES, KMSG, TABLE, LOG, TURN, AT, LOGGED] = [1, 2, 3, 4, 5, 6, 7, 8];
const PAGE = 8192;
const LOG_BYTES = 4 * 2 ** 20;
/** Sectors of a record in the log. */
const RECORD = 2;
const WORK_NS = 150_000;
const TROUBLE_NS = 20_000_000;

const tableOf = (w: Float64Array): string => `/db/table.${w[CLIENT]}`;
const logOf = (w: Float64Array): string => `/db/log.${w[CLIENT]}`;

export const database = program("database", {
  console: (t) => open(t, "/dev/kmsg", O_WRONLY, "db"),
  db: (t, w) => {
    w[KMSG] = t.result;
    return mkdir(t, "/db", "table");
  },
  table: (t, w) => open(t, tableOf(w), O_RDWR | O_CREAT, "log"),
  log: (t, w) => {
    w[TABLE] = t.result;
    return open(t, logOf(w), O_WRONLY | O_CREAT, "size");
  },
  size: (t, w) => {
    w[LOG] = t.result;
    return ftruncate(t, w[TABLE]!, w[BYTES]!, "begin");
  },
  begin: (t, w) => {
    w[AT] = PAGE * t.below(w[BYTES]! / PAGE);
    return pread(t, w[TABLE]!, PAGE, w[AT], "compute");
  },
  compute: (t) => run(t, WORK_NS / 2 + t.below(WORK_NS), "append"),
  append: (t, w) => {
    w[TURN]!++;
    fillSectors(data(t, RECORD * SECTOR), logOf(w), w[LOGGED]!, w[TURN]!);
    return pwrite(t, w[LOG]!, RECORD * SECTOR, w[LOGGED]! * SECTOR, "appended?");
  },
  "appended?": (t) => (t.result === RECORD * SECTOR ? "commit" : "trouble"),
  trouble: (t) => nanosleep(t, TROUBLE_NS, "restart?"),
  commit: (t, w) => fdatasync(t, w[LOG]!, "committed?"),
  "committed?": (t, w) => {
    if (t.result !== 0) return "trouble";
    return w[KMSG]! >= 0 ? "promise" : "change";
  },
  promise: (t, w) => writeText(t, w[KMSG]!, syncedLine(logOf(w), w[LOGGED]!, RECORD, w[TURN]!), "change"),
  change: (t, w) => {
    w[LOGGED]! += RECORD;
    fillSectors(data(t, PAGE), tableOf(w), w[AT]! / SECTOR, w[TURN]!);
    return pwrite(t, w[TABLE]!, PAGE, w[AT]!, "changed?");
  },
  "changed?": (t, w) => (t.result === PAGE && w[TURN]! % 16 === 0 ? "checkpoint" : "restart?"),
  checkpoint: (t, w) => fdatasync(t, w[TABLE]!, "checked?"),
  "checked?": (t, w) => (t.result === 0 && w[KMSG]! >= 0 ? "keep" : "restart?"),
  keep: (t, w) => writeText(t, w[KMSG]!, syncedLine(tableOf(w), w[AT]! / SECTOR, PAGE / SECTOR, w[TURN]!), "restart?"),
  "restart?": (_, w) => (w[LOGGED]! * SECTOR < LOG_BYTES ? "begin" : "forget?"),
  "forget?": (_, w) => (w[KMSG]! >= 0 ? "forget" : "cut"),
  forget: (t, w) => writeText(t, w[KMSG]!, droppedLine(logOf(w)), "cut"),
  cut: (t, w) => {
    w[LOGGED] = 0;
    return ftruncate(t, w[LOG]!, 0, "begin");
  },
});

/**
 * A database as the disk sees it: random pages of 8 KiB in one file, each change first in a write-ahead log. A transaction
 * reads a page, appends to the log and syncs it, then writes the page and syncs that. The log is a ring.
 */
import { EEXIST, ENOSPC } from "../../kernel/abi/errno.ts";
import { O_CREAT, O_RDWR, O_TRUNC, O_WRONLY } from "../../kernel/abi/fcntl.ts";
import type { UserTask, UserWorkload } from "../../kernel/abi/program.ts";
import { close, DATA_BYTES, fdatasync, fsync, mkdir, nanosleep, open, tell, unsay } from "../libc.ts";
import { program } from "../program.ts";
import { sayDropped, saySynced, UNIT_BYTES } from "../promise.ts";
import { generationOf, getUnits, putUnits, recoveryNs, verifyUnits } from "./disk_file.ts";

const [ID, FULL, KMSG, DATA, LOG, OFFSET, LOG_OFFSET, FIRST] = [0, 1, 2, 3, 4, 5, 6, 7] as const;
/** Rows of the table of files. */
const DATA_ROW = 0;
const LOG_ROW = 1;
const PAGE_BYTES = 2 * UNIT_BYTES;
const LOG_BYTES = 4 * 2 ** 20;
const THINK_NS = 50_000;
const APPLY_NS = 10_000;

const folderOf = (w: Float64Array): string => `/srv/db-${w[ID]}`;
const dataOf = (w: Float64Array): string => `${folderOf(w)}/data`;
const logOf = (w: Float64Array): string => `${folderOf(w)}/log`;
const loadBytes = (w: Float64Array): number => Math.min(DATA_BYTES, w[FULL]! - w[OFFSET]!);

/** Arguments: number of the database, bytes of its data. */
export const databaseEngine = program("database", {
  start: (t) => (mkdir(t, "/srv"), "kmsg"),
  kmsg: (t) => (open(t, "/dev/kmsg", O_WRONLY), "folder"),
  folder(t, w) {
    w[KMSG] = t.result;
    return "create";
  },
  create: (t, w) => (mkdir(t, folderOf(w)), "created"),
  created(t, w) {
    if (t.result < 0 && t.result !== EEXIST) return "createLater";
    open(t, dataOf(w), O_RDWR | O_CREAT | O_TRUNC);
    return "dataOpen";
  },
  createLater: (t) => (nanosleep(t, recoveryNs(t.result)), "create"),
  dataOpen(t, w) {
    w[DATA] = t.result;
    open(t, logOf(w), O_RDWR | O_CREAT | O_TRUNC);
    return "logOpen";
  },
  logOpen(t, w) {
    w[LOG] = t.result;
    w[OFFSET] = 0;
    w[LOG_OFFSET] = 0;
    w[FIRST] = generationOf(t, DATA_ROW) + 1;
    return w[DATA]! < 0 || w[LOG] < 0 ? "failed" : "load";
  },

  // The data, page after page.
  load(t, w) {
    if (w[OFFSET]! >= w[FULL]!) return "loadSync";
    putUnits(t, w[DATA]!, dataOf(w), DATA_ROW, w[OFFSET]!, loadBytes(w));
    return "loaded";
  },
  loaded(t, w) {
    if (t.result === ENOSPC) return "shrink";
    if (t.result < 0) return "loadLater";
    // The rest of a short write is written again whole.
    w[OFFSET]! += t.result - (t.result % PAGE_BYTES);
    return "load";
  },
  loadLater: (t) => (nanosleep(t, recoveryNs(t.result)), "load"),
  /** No room for so much: half of what there was room for will do, beside a log. */
  shrink(_, w) {
    w[FULL] = Math.max(1, Math.floor(w[OFFSET]! / 2 / PAGE_BYTES)) * PAGE_BYTES;
    return "failed";
  },
  loadSync: (t, w) => (fsync(t, w[DATA]!), "loadSynced"),
  loadSynced(t, w) {
    if (t.result < 0) return "failed";
    saySynced(t, dataOf(w), w[FIRST]!, w[FULL]!);
    tell(t, w[KMSG]!);
    return "think";
  },

  // A transaction.
  think: (t) => (t.run(THINK_NS + t.below(THINK_NS)), "get"),
  get(t, w) {
    w[OFFSET] = t.below(w[FULL]! / PAGE_BYTES) * PAGE_BYTES;
    getUnits(t, w[DATA]!, w[OFFSET], PAGE_BYTES);
    return "got";
  },
  got(t, w) {
    if (t.result !== PAGE_BYTES) return "failed";
    verifyUnits(t, dataOf(w), w[OFFSET]!, PAGE_BYTES);
    tell(t, w[KMSG]!);
    return "apply";
  },
  apply: (t) => (t.run(APPLY_NS), "log"),
  log: (t, w) => (putUnits(t, w[LOG]!, logOf(w), LOG_ROW, w[LOG_OFFSET]!, UNIT_BYTES), "logged"),
  logged(t, w) {
    if (t.result !== UNIT_BYTES) return "failed";
    fdatasync(t, w[LOG]!);
    return "logSynced";
  },
  logSynced(t, w) {
    if (t.result < 0) return "failed";
    saySynced(t, logOf(w), generationOf(t, LOG_ROW), UNIT_BYTES, w[LOG_OFFSET]);
    w[LOG_OFFSET] = (w[LOG_OFFSET]! + UNIT_BYTES) % LOG_BYTES;
    putUnits(t, w[DATA]!, dataOf(w), DATA_ROW, w[OFFSET]!, PAGE_BYTES);
    return "put";
  },
  put(t, w) {
    if (t.result !== PAGE_BYTES) return "failed";
    fdatasync(t, w[DATA]!);
    return "synced";
  },
  synced(t, w) {
    if (t.result < 0) return "failed";
    saySynced(t, dataOf(w), generationOf(t, DATA_ROW), PAGE_BYTES, w[OFFSET]);
    tell(t, w[KMSG]!);
    return "think";
  },

  // Whatever fails: nothing is relied on any more, and all begins anew.
  failed: (t, w) => (giveUp(t, w), "sleep"),
  sleep: (t) => (nanosleep(t, recoveryNs(t.result)), "closeData"),
  closeData(t, w) {
    if (w[DATA]! >= 0) close(t, w[DATA]!);
    return "closeLog";
  },
  closeLog(t, w) {
    if (w[LOG]! >= 0) close(t, w[LOG]!);
    return "create";
  },
});

function giveUp(t: UserTask, w: Float64Array): void {
  unsay(t);
  sayDropped(t, dataOf(w));
  sayDropped(t, logOf(w));
  tell(t, w[KMSG]!);
}

const MIB = 2 ** 20;

/** Together a quarter of memory, 16 to 64 MiB. */
export const database: UserWorkload = {
  name: "database",
  help: "random writes of 8 KiB, each synced, behind a write-ahead log",
  tasks({ cpus, memoryBytes }) {
    const engines = Math.max(1, Math.min(4, cpus));
    const bytes = Math.max(16 * MIB, Math.min(64 * MIB, memoryBytes / 4));
    const full = Math.floor(bytes / engines / PAGE_BYTES) * PAGE_BYTES;
    return Array.from({ length: engines }, (_, n) => ({
      program: databaseEngine,
      name: `database/${n}`,
      args: [n, full],
    }));
  },
};

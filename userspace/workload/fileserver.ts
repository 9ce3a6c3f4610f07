/**
 * Many small files in folders, after filebench's workload of this name: files are created whole, appended to, read whole,
 * looked at and deleted; now and then one is synced.
 */
import { EEXIST, ENOENT } from "../../kernel/abi/errno.ts";
import { O_CREAT, O_RDWR, O_TRUNC, O_WRONLY } from "../../kernel/abi/fcntl.ts";
import type { UserWorkload } from "../../kernel/abi/program.ts";
import { close, DATA_BYTES, fsync, mkdir, nanosleep, open, stat, statSize, tell, unlink, unsay } from "../libc.ts";
import { program } from "../program.ts";
import { sayDropped, saySynced, sayWrong, UNIT_BYTES } from "../promise.ts";
import { generationOf, getUnits, putUnits, recoveryNs, setSize, sizeOf, verifyUnits } from "./disk_file.ts";

const [ID, FILES, KMSG, FILE, FD, OFFSET, GOAL] = [0, 1, 2, 3, 4, 5, 6] as const;
const FOLDERS = 8;
const PART_BYTES = 4 * UNIT_BYTES;
const PARTS_MAX = 8;
const THINK_NS = 50_000;
const VERIFY_NS = 10_000;
/** Of a hundred requests on a file that is there; the rest read it. */
const APPENDS = 25;
const STATS = 15;
const DELETES = 15;
const SYNCS_PERCENT = 25;

const folderOf = (w: Float64Array): string => `/srv/${w[ID]}/${w[FILE]! % FOLDERS}`;
const fileOf = (w: Float64Array): string => `${folderOf(w)}/${w[FILE]}`;

/** Arguments: number of the server, files. */
export const fileServer = program("fileserver", {
  start: (t) => (mkdir(t, "/srv"), "home"),
  home: (t, w) => (mkdir(t, `/srv/${w[ID]}`), "homeMade"),
  homeMade(t) {
    if (t.result < 0 && t.result !== EEXIST) return "startLater";
    open(t, "/dev/kmsg", O_WRONLY);
    return "first";
  },
  startLater: (t) => (nanosleep(t, recoveryNs(t.result)), "start"),
  first(t, w) {
    w[KMSG] = t.result;
    return "request";
  },

  request: (t) => (t.run(THINK_NS + t.below(THINK_NS)), "pick"),
  pick(t, w) {
    w[FILE] = t.below(w[FILES]!);
    w[FD] = -1;
    const size = sizeOf(t, w[FILE]);
    const kind = t.below(100);
    w[OFFSET] = size;
    w[GOAL] = size === 0 ? (1 + t.below(PARTS_MAX)) * PART_BYTES : size;
    if (size === 0) return "create";
    if (kind < APPENDS) w[GOAL] = size + PART_BYTES;
    if (kind < APPENDS) return size < 2 * PARTS_MAX * PART_BYTES ? "append" : "drop";
    if (kind < APPENDS + STATS) return "look";
    return kind < APPENDS + STATS + DELETES ? "drop" : "read";
  },

  create: (t, w) => (open(t, fileOf(w), O_RDWR | O_CREAT | O_TRUNC), "createdOrNot"),
  createdOrNot(t, w) {
    if (t.result !== ENOENT) return "opened";
    mkdir(t, folderOf(w));
    return "folderMade";
  },
  folderMade: (t) => (t.result < 0 ? "failed" : "create"),
  append: (t, w) => (open(t, fileOf(w), O_RDWR), "opened"),
  opened(t, w) {
    w[FD] = t.result;
    return t.result < 0 ? "failed" : "put";
  },
  put(t, w) {
    if (w[OFFSET]! >= w[GOAL]!) return t.below(100) < SYNCS_PERCENT ? "sync" : "close";
    putUnits(t, w[FD]!, fileOf(w), w[FILE]!, w[OFFSET]!, PART_BYTES);
    return "written";
  },
  written(t, w) {
    if (t.result !== PART_BYTES) return "failed";
    saySynced(t, fileOf(w), generationOf(t, w[FILE]!), PART_BYTES, w[OFFSET]);
    w[OFFSET]! += PART_BYTES;
    setSize(t, w[FILE]!, w[OFFSET]!);
    return "put";
  },
  sync: (t, w) => (fsync(t, w[FD]!), "synced"),
  synced(t, w) {
    if (t.result < 0) return "failed";
    tell(t, w[KMSG]!);
    return "close";
  },
  /** Of what was not synced nothing is said. */
  close(t, w) {
    unsay(t);
    if (w[FD]! >= 0) close(t, w[FD]!);
    return "request";
  },

  read: (t, w) => (open(t, fileOf(w)), "readable"),
  readable(t, w) {
    w[FD] = t.result;
    w[OFFSET] = 0;
    return t.result < 0 ? "failed" : "get";
  },
  get: (t, w) => (getUnits(t, w[FD]!, w[OFFSET]!, DATA_BYTES), "got"),
  got(t, w) {
    if (t.result < 0) return "failed";
    if (t.result === 0) return "close";
    verifyUnits(t, fileOf(w), w[OFFSET]!, t.result);
    w[OFFSET]! += t.result;
    t.run(VERIFY_NS);
    return "complain";
  },
  complain: (t, w) => (tell(t, w[KMSG]!), "get"),

  look: (t, w) => (stat(t, fileOf(w)), "seen"),
  seen(t, w) {
    if (t.result < 0) return "failed";
    if (statSize(t) !== sizeOf(t, w[FILE]!)) sayWrong(t, fileOf(w), statSize(t));
    tell(t, w[KMSG]!);
    return "request";
  },

  failed: (t) => (nanosleep(t, recoveryNs(t.result)), "drop"),
  drop(t, w) {
    unsay(t);
    sayDropped(t, fileOf(w));
    tell(t, w[KMSG]!);
    return "delete";
  },
  delete: (t, w) => (unlink(t, fileOf(w)), "deleted"),
  deleted(t, w) {
    setSize(t, w[FILE]!, 0);
    return "close";
  },
});

const SERVERS_MAX = 8;
const FILES_EACH = 80;

/** Up to 640 files of 16 to 256 KiB, some 80 MiB. */
export const fileserver: UserWorkload = {
  name: "fileserver",
  help: "many small files: created, appended to, read, looked at, deleted, some synced",
  tasks: ({ cpus }) =>
    Array.from({ length: Math.max(2, Math.min(SERVERS_MAX, 2 * cpus)) }, (_, n) => ({
      program: fileServer,
      name: `fileserver/${n}`,
      args: [n, FILES_EACH],
    })),
};

/**
 * A server with files of its own, /srv/ID/0 and on: each request opens one of them and either reads some parts of it or
 * writes some, appending until the file has its full size and overwriting units then, and syncs what it wrote. Now and
 * then a file is deleted, and grows anew. What is read is verified.
 *
 *   arguments: number of the server, files, bytes of a full file
 */
import { EEXIST } from "../../kernel/abi/errno.ts";
import { O_CREAT, O_RDWR, O_TRUNC, O_WRONLY } from "../../kernel/abi/fcntl.ts";
import { close, fsync, mkdir, nanosleep, open, tell, unlink, unsay } from "../libc.ts";
import { program } from "../program.ts";
import { sayDropped, saySynced, UNIT_BYTES } from "../promise.ts";
import { generationOf, getUnits, putUnits, recoveryNs, setSize, sizeOf, verifyUnits } from "./disk_file.ts";

const [ID, FILES, FULL, KMSG, FILE, FD, LEFT, OFFSET] = [0, 1, 2, 3, 4, 5, 6, 7] as const;
/** What a request moves at a time. */
const PART_BYTES = 4 * UNIT_BYTES;
const PARTS_MAX = 8;
const THINK_NS = 100_000;
/** To look at a part. */
const VERIFY_NS = 4000;
const WRITES_PERCENT = 40;
const DELETES_PER_THOUSAND = 10;

const fileOf = (w: Float64Array): string => `/srv/${w[ID]}/${w[FILE]}`;

export const server = program("server", {
  start: (t) => (mkdir(t, "/srv"), "home"),
  home: (t, w) => (mkdir(t, `/srv/${w[ID]}`), "homeMade"),
  homeMade: (t) => {
    if (t.result < 0 && t.result !== EEXIST) return "startLater";
    return (open(t, "/dev/kmsg", O_WRONLY), "think");
  },
  startLater: (t) => (nanosleep(t, recoveryNs(t.result)), "start"),

  think(t, w) {
    w[KMSG] = t.result;
    return "request";
  },
  request: (t) => (t.run(THINK_NS + t.below(THINK_NS)), "pick"),
  pick(t, w) {
    w[FILE] = t.below(w[FILES]!);
    open(t, fileOf(w), O_RDWR | O_CREAT | (sizeOf(t, w[FILE]) === 0 ? O_TRUNC : 0));
    return "opened";
  },
  opened(t, w) {
    w[FD] = t.result;
    if (t.result < 0) return "failed";
    if (t.below(1000) < DELETES_PER_THOUSAND) return "drop";
    w[LEFT] = 1 + t.below(PARTS_MAX);
    return sizeOf(t, w[FILE]!) === 0 || t.below(100) < WRITES_PERCENT ? "put" : "get";
  },

  get(t, w) {
    const units = sizeOf(t, w[FILE]!) / UNIT_BYTES;
    if (w[LEFT]!-- === 0) return "close";
    w[OFFSET] = t.below(Math.max(1, units - 3)) * UNIT_BYTES;
    getUnits(t, w[FD]!, w[OFFSET], PART_BYTES);
    return "got";
  },
  got(t, w) {
    if (t.result < 0) return "failed";
    verifyUnits(t, fileOf(w), w[OFFSET]!, t.result);
    t.run(VERIFY_NS);
    return "complain";
  },
  complain: (t, w) => (tell(t, w[KMSG]!), "get"),

  put(t, w) {
    const size = sizeOf(t, w[FILE]!);
    if (w[LEFT]!-- === 0) return "sync";
    const isFull = size >= w[FULL]!;
    w[OFFSET] = isFull ? t.below(size / UNIT_BYTES) * UNIT_BYTES : size;
    putUnits(t, w[FD]!, fileOf(w), w[FILE]!, w[OFFSET], isFull ? UNIT_BYTES : PART_BYTES);
    return "written";
  },
  written(t, w) {
    if (t.result < 0 || t.result % UNIT_BYTES !== 0) return "failed";
    const file = w[FILE]!;
    saySynced(t, fileOf(w), generationOf(t, file), t.result, w[OFFSET]);
    setSize(t, file, Math.max(sizeOf(t, file), w[OFFSET]! + t.result));
    return "put";
  },
  sync: (t, w) => (fsync(t, w[FD]!), "synced"),
  synced(t, w) {
    if (t.result < 0) return "failed";
    tell(t, w[KMSG]!);
    return "close";
  },
  close: (t, w) => (close(t, w[FD]!), "request"),

  // A file that cannot be relied on is given up; so is one whose time has come.
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
    return w[FD]! < 0 ? "request" : "close";
  },
});

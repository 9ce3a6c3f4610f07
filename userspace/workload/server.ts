/**
 * A file server: answers requests for pieces of its files, most of them reads, and now and then is told to keep something
 * for good: it writes, syncs, and reports what is durable since then (promise.ts).
 * Arguments: number of the server, files, bytes of a file.
 */
import type { UserTask } from "../../kernel/abi/program.ts";
import {
  close,
  data,
  DATA_BYTES,
  fdatasync,
  ftruncate,
  fsync,
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

const [SERVER, FILES, BYTES, KMSG, FD, FILE, AT, LENGTH, GENERATION, DURABLE, MADE] = [
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
];
const PIECE = 16_384;
/** Of a hundred requests. */
const READS = 70;
const SYNCED = 15;
const RESTARTS = 1;
const THINK_NS = 200_000;
const TROUBLE_NS = 20_000_000;

const dirOf = (w: Float64Array): string => `/srv/${w[SERVER]}`;
const pathOf = (w: Float64Array): string => `${dirOf(w)}/${w[FILE]}`;

/** A piece of the file at AT: LENGTH bytes on sector borders. */
function choose(t: UserTask, w: Float64Array): void {
  w[LENGTH] = SECTOR * (1 + t.below(PIECE / SECTOR));
  w[AT] = SECTOR * t.below((w[BYTES]! - w[LENGTH]) / SECTOR);
}

/** The buffer holds the next generation of that piece. */
function renew(t: UserTask, w: Float64Array): void {
  w[GENERATION]!++;
  fillSectors(data(t, w[LENGTH]), pathOf(w), w[AT]! / SECTOR, w[GENERATION]!);
}

export const server = program("server", {
  console: (t) => open(t, "/dev/kmsg", O_WRONLY, "srv"),
  srv: (t, w) => {
    w[KMSG] = t.result;
    return mkdir(t, "/srv", "dir");
  },
  dir: (t, w) => mkdir(t, dirOf(w), "stock"),
  // The files are there before the first request.
  stock: (t, w) => open(t, pathOf(w), O_RDWR | O_CREAT, "stocked?"),
  "stocked?": (t, w) => {
    w[FD] = t.result;
    w[AT] = 0;
    w[GENERATION] = 1;
    return t.result < 0 ? "trouble" : "goods";
  },
  goods: (t, w) => {
    w[LENGTH] = Math.min(DATA_BYTES, w[BYTES]! - w[AT]!);
    fillSectors(data(t, w[LENGTH]), pathOf(w), w[AT]! / SECTOR, w[GENERATION]!);
    return pwrite(t, w[FD]!, w[LENGTH], w[AT]!, "shelf?");
  },
  "shelf?": (t, w) => {
    // A long write may take less; ENOSPC and the like end it.
    w[AT]! += Math.max(0, t.result - (t.result % SECTOR));
    return t.result > 0 && w[AT]! < w[BYTES]! ? "goods" : "shut";
  },
  shut: (t, w) => close(t, w[FD]!, "nextFile?"),
  "nextFile?": (_, w) => (++w[FILE]! < w[FILES]! ? "stock" : "pick?"),
  "pick?": (t, w) => {
    w[FILE] = t.below(w[FILES]!);
    return "open";
  },
  open: (t, w) => open(t, pathOf(w), O_RDWR | O_CREAT, "opened?"),
  "opened?": (t, w) => {
    if (t.result < 0) return "trouble";
    w[FD] = t.result;
    return "serve?";
  },
  trouble: (t) => nanosleep(t, TROUBLE_NS, "pick?"),
  "serve?": (t, w) => {
    choose(t, w);
    const request = t.below(100);
    w[DURABLE] = request >= 100 - SYNCED ? 1 : 0;
    if (request < RESTARTS) return "drop?";
    return request < READS ? "read" : "write";
  },
  read: (t, w) => pread(t, w[FD]!, w[LENGTH]!, w[AT]!, "think"),
  write: (t, w) => {
    renew(t, w);
    return pwrite(t, w[FD]!, w[LENGTH]!, w[AT]!, "written?");
  },
  "written?": (t, w) => {
    if (t.result <= 0) return "close";
    // What was not taken is not promised.
    w[LENGTH] = t.result - (t.result % SECTOR);
    return w[DURABLE] === 1 && w[LENGTH] > 0 ? "sync" : "think";
  },
  sync: (t, w) => (t.below(2) === 0 ? fsync(t, w[FD]!, "synced?") : fdatasync(t, w[FD]!, "synced?")),
  "synced?": (t, w) => (t.result === 0 && w[KMSG]! >= 0 ? "promise" : "think"),
  promise: (t, w) => {
    const line = syncedLine(pathOf(w), w[AT]! / SECTOR, w[LENGTH]! / SECTOR, w[GENERATION]!);
    return writeText(t, w[KMSG]!, line, "think");
  },
  think: (t) => run(t, THINK_NS / 4 + t.below(THINK_NS), "more?"),
  "more?": (t) => (t.below(8) === 0 ? "close" : "serve?"),
  "drop?": (_, w) => (w[KMSG]! >= 0 ? "drop" : "cut"),
  drop: (t, w) => writeText(t, w[KMSG]!, droppedLine(pathOf(w)), "cut"),
  cut: (t, w) => ftruncate(t, w[FD]!, 0, "think"),
  close: (t, w) => {
    w[MADE]!++;
    return close(t, w[FD]!, w[MADE]! % 4 === 0 ? "idle" : "pick?");
  },
  idle: (t) => nanosleep(t, THINK_NS * (1 + t.below(8)), "pick?"),
});

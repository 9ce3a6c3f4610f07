/**
 * A build: `make` forks a task for each object, so many at a time; each reads some sources, computes, writes its object
 * and exits. When all are there they are linked: read, and written as one file beside the old one, synced, renamed over it.
 * Then the next round.
 */
import { EEXIST } from "../../kernel/abi/errno.ts";
import { O_CREAT, O_RDWR, O_TRUNC, O_WRONLY } from "../../kernel/abi/fcntl.ts";
import type { UserTask, UserWorkload } from "../../kernel/abi/program.ts";
import { close, DATA_AT, DATA_BYTES, exit, fork, fsync, mkdir, nanosleep, open, pwrite } from "../libc.ts";
import { read, rename, tell, unsay, wait } from "../libc.ts";
import { program } from "../program.ts";
import { fillUnits, sayDropped, saySynced, UNIT_BYTES } from "../promise.ts";
import { recoveryNs, verifyUnits } from "./disk_file.ts";

const [JOBS, OBJECTS, KMSG, ROUND, OBJECT, RUNNING, FD, OFFSET, SOURCE, READS] = [
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9,
] as const;
const FOLDERS = ["/build", "/build/src", "/build/obj"];
const SOURCES = 24;
const SOURCES_PER_OBJECT = 3;
/** 4 to 36 KiB, by number. */
const sourceBytes = (n: number): number => (1 + ((n * 5) % 9)) * UNIT_BYTES;
const objectBytes = (n: number): number => (1 + (n % 4)) * UNIT_BYTES;
const PARSE_NS = 1_000_000;
const OUT = "/build/a.out";
const NEW = "/build/a.out.new";

const sourceOf = (w: Float64Array): string => `/build/src/${w[SOURCE]}.c`;
const objectOf = (w: Float64Array): string => `/build/obj/${w[OBJECT]}.o`;

/** Writes bytes of a file, as the one named `path` will have them. */
function put(t: UserTask, fd: number, path: string, offset: number, bytes: number, generation: number): void {
  fillUnits(t.memory, DATA_AT, path, offset, bytes, generation);
  pwrite(t, fd, DATA_AT, bytes, offset);
}

/** Arguments: tasks at a time, objects. A round is a generation. */
export const make = program("make", {
  start: (t) => (open(t, "/dev/kmsg", O_WRONLY), "first"),
  first(t, w) {
    w[KMSG] = t.result;
    return "folders";
  },
  folders(t, w) {
    const folder = FOLDERS[w[READS]!];
    if (folder === undefined) return "sources";
    mkdir(t, folder);
    return "folderMade";
  },
  folderMade(t, w) {
    if (t.result < 0 && t.result !== EEXIST) return "foldersLater";
    w[READS]!++;
    return "folders";
  },
  foldersLater: (t) => (nanosleep(t, recoveryNs(t.result)), "folders"),

  // The sources, once.
  sources: (_, w) => (w[SOURCE]! >= SOURCES ? "round" : "sourceCreate"),
  sourceCreate: (t, w) => (open(t, sourceOf(w), O_RDWR | O_CREAT | O_TRUNC), "sourceOpen"),
  sourceOpen(t, w) {
    w[FD] = t.result;
    if (t.result < 0) return "sourceLater";
    put(t, w[FD], sourceOf(w), 0, sourceBytes(w[SOURCE]!), 1);
    return "sourceWritten";
  },
  sourceLater: (t) => (nanosleep(t, recoveryNs(t.result)), "sources"),
  sourceWritten(t, w) {
    if (t.result !== sourceBytes(w[SOURCE]!)) return "sourceFailed";
    fsync(t, w[FD]!);
    return "sourceSynced";
  },
  sourceSynced(t, w) {
    if (t.result < 0) return "sourceFailed";
    saySynced(t, sourceOf(w), 1, sourceBytes(w[SOURCE]!));
    tell(t, w[KMSG]!);
    w[SOURCE]!++;
    return "sourceClose";
  },
  sourceClose: (t, w) => (close(t, w[FD]!), "sources"),
  sourceFailed: (t) => (nanosleep(t, recoveryNs(t.result)), "sourceClose"),

  round(_, w) {
    w[ROUND]!++;
    w[OBJECT] = 0;
    w[RUNNING] = 0;
    return "spawn";
  },
  spawn(t, w) {
    const isWanted = w[OBJECT]! < w[OBJECTS]!;
    if (isWanted && w[RUNNING]! < w[JOBS]!) fork(t);
    else return w[RUNNING]! > 0 ? "wait" : "link";
    return "forked";
  },
  forked(t, w) {
    if (t.result === 0) return "compile";
    if (t.result < 0) return w[RUNNING]! > 0 ? "wait" : "spawnLater";
    w[OBJECT]!++;
    w[RUNNING]!++;
    return "spawn";
  },
  spawnLater: (t) => (nanosleep(t, recoveryNs(t.result)), "spawn"),
  wait: (t) => (wait(t), "waited"),
  waited(t, w) {
    // ECHILD: somebody has taken them all.
    w[RUNNING] = t.result < 0 ? 0 : w[RUNNING]! - 1;
    return "spawn";
  },

  // The child. An error ends it; its object is as it is.
  compile(_, w) {
    w[READS] = 0;
    return "include";
  },
  include(t, w) {
    if (w[READS]!++ >= SOURCES_PER_OBJECT) return "assemble";
    w[SOURCE] = t.below(SOURCES);
    open(t, sourceOf(w));
    return "included";
  },
  included(t, w) {
    w[FD] = t.result;
    if (t.result < 0) return "giveUp";
    read(t, w[FD]);
    return "parse";
  },
  parse(t, w) {
    if (t.result < 0) return "giveUp";
    verifyUnits(t, sourceOf(w), 0, t.result);
    tell(t, w[KMSG]!);
    return "parsed";
  },
  parsed: (t) => (t.run(PARSE_NS + t.below(2 * PARSE_NS)), "next"),
  next: (t, w) => (close(t, w[FD]!), "include"),
  assemble: (t, w) => (open(t, objectOf(w), O_RDWR | O_CREAT | O_TRUNC), "assembled"),
  assembled(t, w) {
    if (t.result < 0) return "giveUp";
    put(t, t.result, objectOf(w), 0, objectBytes(w[OBJECT]!), w[ROUND]!);
    return "objectWritten";
  },
  objectWritten: (t, w) => (t.result === objectBytes(w[OBJECT]!) ? "exit" : "giveUp"),
  giveUp: (t) => (exit(t, 1), "exit"),

  // The parent again: all objects, one after the other.
  link: (t) => (open(t, NEW, O_RDWR | O_CREAT | O_TRUNC), "linkOpen"),
  linkOpen(t, w) {
    w[FD] = t.result;
    w[OBJECT] = 0;
    w[OFFSET] = 0;
    return t.result < 0 ? "roundLater" : "object";
  },
  roundLater: (t) => (nanosleep(t, recoveryNs(t.result)), "round"),
  object(t, w) {
    if (w[OBJECT]! >= w[OBJECTS]!) return "linkSync";
    open(t, objectOf(w));
    return "objectOpen";
  },
  objectOpen(t, w) {
    w[READS] = t.result;
    if (t.result < 0) return "objectNext";
    read(t, w[READS], DATA_AT, DATA_BYTES);
    return "objectRead";
  },
  objectRead: (t, w) => (close(t, w[READS]!), "objectLink"),
  objectLink(t, w) {
    put(t, w[FD]!, OUT, w[OFFSET]!, objectBytes(w[OBJECT]!), w[ROUND]!);
    return "objectLinked";
  },
  objectLinked(t, w) {
    if (t.result !== objectBytes(w[OBJECT]!)) return "linkFailed";
    w[OFFSET]! += t.result;
    return "objectNext";
  },
  objectNext(_, w) {
    w[OBJECT]!++;
    return "object";
  },
  linkSync: (t, w) => (fsync(t, w[FD]!), "linkSynced"),
  linkSynced(t, w) {
    if (t.result < 0) return "linkFailed";
    unsay(t);
    sayDropped(t, OUT);
    tell(t, w[KMSG]!);
    return "rename";
  },
  rename: (t) => (rename(t, NEW, OUT), "renamed"),
  renamed(t, w) {
    if (t.result < 0) return "linkFailed";
    // What the name means is durable when the file is synced under it.
    fsync(t, w[FD]!);
    return "done";
  },
  done(t, w) {
    if (t.result < 0) return "linkFailed";
    if (w[OFFSET]! > 0) saySynced(t, OUT, w[ROUND]!, w[OFFSET]!);
    tell(t, w[KMSG]!);
    return "linkClose";
  },
  linkFailed: (t) => (nanosleep(t, recoveryNs(t.result)), "linkClose"),
  linkClose: (t, w) => (close(t, w[FD]!), "round"),
});

const OBJECTS_PER_CPU = 12;

export const build: UserWorkload = {
  name: "build",
  help: "many short tasks that read sources and write objects, then a link",
  tasks: ({ cpus }) => [{ program: make, args: [2 * cpus, OBJECTS_PER_CPU * Math.min(8, Math.max(2, cpus))] }],
};

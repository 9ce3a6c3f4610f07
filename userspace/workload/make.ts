/**
 * A build: forks a compiler for each source, as many at a time as it is told; a compiler reads its source, computes,
 * writes an object file and exits; when all are there they are linked. Arguments: jobs at a time, sources.
 */
import {
  close,
  data,
  exit,
  fork,
  mkdir,
  nanosleep,
  O_CREAT,
  O_RDONLY,
  O_TRUNC,
  O_WRONLY,
  open,
  read,
  run,
  unlink,
  wait,
  write,
} from "../libc.ts";
import { program } from "../program.ts";

const [JOBS, SOURCES, NEXT, LIVE, FD, SOURCE, LEFT] = [1, 2, 3, 4, 5, 6, 7];
const SOURCE_BYTES = 12_000;
const OBJECT_BYTES = 20_000;
const COMPILE_NS = 8_000_000;
const LINK_NS = 5_000_000;
const PAUSE_NS = 10_000_000;

const sourceOf = (n: number): string => `/src/${n}.c`;
const objectOf = (n: number): string => `/obj/${n}.o`;

export const make = program("make", {
  src: (t) => mkdir(t, "/src", "obj"),
  obj: (t) => mkdir(t, "/obj", "author?"),
  "author?": (_, w) => (w[NEXT]! < w[SOURCES]! ? "author" : "build?"),
  author: (t, w) => open(t, sourceOf(w[NEXT]!), O_WRONLY | O_CREAT | O_TRUNC, "text"),
  text: (t, w) => {
    w[FD] = t.result;
    data(t, SOURCE_BYTES).fill(w[NEXT]! & 0xff);
    return write(t, w[FD], SOURCE_BYTES, "saved");
  },
  saved: (t, w) => {
    w[NEXT]!++;
    return close(t, w[FD]!, "author?");
  },
  "build?": (_, w) => {
    w[NEXT] = w[LIVE] = 0;
    return "job?";
  },
  "job?": (_, w) => {
    if (w[NEXT]! < w[SOURCES]! && w[LIVE]! < w[JOBS]!) return "fork";
    return w[LIVE]! > 0 ? "wait" : "link";
  },
  fork: (t, w) => {
    w[SOURCE] = w[NEXT]!;
    return fork(t, "forked?");
  },
  "forked?": (t, w) => {
    if (t.result === 0) return "source";
    if (t.result < 0) return w[LIVE]! > 0 ? "wait" : "pause";
    w[NEXT]!++;
    w[LIVE]!++;
    return "job?";
  },
  pause: (t) => nanosleep(t, PAUSE_NS, "job?"),
  wait: (t) => wait(t, "waited?"),
  "waited?": (_, w) => {
    w[LIVE]!--;
    return "job?";
  },
  link: (t) => run(t, LINK_NS, "clean?"),
  "clean?": (_, w) => {
    w[LEFT] = w[SOURCES]!;
    return "clean";
  },
  clean: (t, w) => unlink(t, objectOf(--w[LEFT]!), "cleaned?"),
  "cleaned?": (_, w) => (w[LEFT]! > 0 ? "clean" : "build?"),

  // The compiler.
  source: (t, w) => open(t, sourceOf(w[SOURCE]!), O_RDONLY, "parse"),
  parse: (t, w) => {
    w[FD] = t.result;
    return read(t, w[FD], SOURCE_BYTES, "shut");
  },
  shut: (t, w) => close(t, w[FD]!, "compile"),
  compile: (t) => run(t, COMPILE_NS / 2 + t.below(COMPILE_NS), "object"),
  object: (t, w) => open(t, objectOf(w[SOURCE]!), O_WRONLY | O_CREAT | O_TRUNC, "emit"),
  emit: (t, w) => {
    w[FD] = t.result;
    return write(t, w[FD], OBJECT_BYTES, "done");
  },
  done: (t, w) => close(t, w[FD]!, "gone"),
  gone: (t) => exit(t, 0, "exit"),
});

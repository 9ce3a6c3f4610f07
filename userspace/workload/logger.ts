/**
 * A log writer: appends a record to /var/log/messages now and then, and fdatasync after every few. A log that is long
 * enough is renamed to messages.1, over the one before it.
 *
 *   arguments: records between two fdatasync, ns between two records
 */
import { O_APPEND, O_CREAT, O_TRUNC, O_WRONLY } from "../../kernel/abi/fcntl.ts";
import { close, DATA_AT, fdatasync, mkdir, nanosleep, open, rename, tell, unsay, write } from "../libc.ts";
import { program } from "../program.ts";
import { fillUnits, RECORD_BYTES, sayDropped, saySynced } from "../promise.ts";
import { recoveryNs } from "./disk_file.ts";

const [EVERY, GAP_NS, KMSG, FD, SIZE, SYNCED, LOG] = [0, 1, 2, 3, 4, 5, 6] as const;
const PATH = "/var/log/messages";
const LOG_BYTES_MAX = 4 * 2 ** 20;
const FORMAT_NS = 3000;

export const logger = program("logger", {
  start: (t) => (mkdir(t, "/var"), "folder"),
  folder: (t) => (mkdir(t, "/var/log"), "kmsg"),
  kmsg: (t) => (open(t, "/dev/kmsg", O_WRONLY), "first"),
  first(t, w) {
    w[KMSG] = t.result;
    return "open";
  },

  /** Each log is a generation of its own. */
  open: (t) => (open(t, PATH, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND), "opened"),
  opened(t, w) {
    w[FD] = t.result;
    if (t.result < 0) return "openLater";
    w[SIZE] = 0;
    w[SYNCED] = 0;
    w[LOG]!++;
    return "format";
  },
  openLater: (t) => (nanosleep(t, recoveryNs(t.result)), "start"),

  format(t, w) {
    fillUnits(t.memory, DATA_AT, PATH, w[SIZE]!, RECORD_BYTES, w[LOG]!);
    t.run(FORMAT_NS);
    return "append";
  },
  append: (t, w) => (write(t, w[FD]!, DATA_AT, RECORD_BYTES), "appended"),
  appended(t, w) {
    if (t.result !== RECORD_BYTES) return "failed";
    w[SIZE]! += RECORD_BYTES;
    return w[SIZE]! - w[SYNCED]! >= w[EVERY]! * RECORD_BYTES ? "sync" : "wait";
  },
  wait: (t, w) => (nanosleep(t, w[GAP_NS]! / 2 + t.below(w[GAP_NS]!)), "format"),

  sync: (t, w) => (fdatasync(t, w[FD]!), "synced"),
  synced(t, w) {
    if (t.result < 0) return "failed";
    saySynced(t, PATH, w[LOG]!, w[SIZE]! - w[SYNCED]!, w[SYNCED]);
    w[SYNCED] = w[SIZE]!;
    tell(t, w[KMSG]!);
    return w[SIZE]! >= LOG_BYTES_MAX ? "rotate" : "wait";
  },

  // A log that cannot be written is put aside, too: perhaps the next can.
  failed: (t) => (nanosleep(t, recoveryNs(t.result)), "rotate"),
  rotate(t, w) {
    unsay(t);
    sayDropped(t, PATH);
    tell(t, w[KMSG]!);
    return "rename";
  },
  rename: (t) => (rename(t, PATH, `${PATH}.1`), "close"),
  close: (t, w) => (close(t, w[FD]!), "open"),
});

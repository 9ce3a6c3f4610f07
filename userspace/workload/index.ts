/** The workloads of a booted machine, by name. Sizes follow the machine's memory: half of what is asked for is files. */
import type { UserStart, UserWorkload } from "../../kernel/abi/program.ts";
import { burn } from "./burn.ts";
import { database } from "./database.ts";
import { hog } from "./hog.ts";
import { logger } from "./logger.ts";
import { make } from "./make.ts";
import { server } from "./server.ts";
import { stream } from "./stream.ts";

const MIB = 2 ** 20;
/** Of all files together, whatever the memory: they have to fit the smallest usual disk. */
const FILES_BYTES_MAX = 96 * MIB;
const HOG_SHARE = 0.7;
const HOG_STEPS = 24;
const HOG_KEEP_NS = 150_000_000;
const BURN_BREATH_NS = 500_000;
const LOG_BYTES = 2 * MIB;

const wholePages = (bytes: number): number => Math.floor(bytes / 4096) * 4096;

/** Servers whose files together are half as large as memory. */
function servers(count: number, memoryBytes: number): UserStart[] {
  const files = 6;
  const bytes = wholePages(Math.min(memoryBytes / 2, FILES_BYTES_MAX) / count / files);
  return Array.from({ length: count }, (_, n) => ({
    program: server,
    name: `server${n}`,
    args: [0, n, files, bytes],
    startNs: n * 200_000,
  }));
}

const memoryHog = (memoryBytes: number): UserStart => ({
  program: hog,
  args: [0, wholePages((memoryBytes * HOG_SHARE) / HOG_STEPS), HOG_STEPS, HOG_KEEP_NS],
  startNs: 50_000_000,
});

function mixed(withHog: boolean, cpus: number, memoryBytes: number): UserStart[] {
  return [
    ...Array.from({ length: Math.max(1, Math.floor(cpus / 2)) }, () => ({ program: burn, args: [0, BURN_BREATH_NS] })),
    ...servers(cpus, memoryBytes),
    { program: logger, args: [0, LOG_BYTES, 8] },
    ...(withHog ? [memoryHog(memoryBytes)] : []),
  ];
}

export const WORKLOADS: readonly UserWorkload[] = [
  {
    name: "mixed",
    help: "CPU hogs, file servers with fsync, a log writer, and a memory hog that pushes the page cache out",
    tasks: ({ cpus, memoryBytes }) => mixed(true, cpus, memoryBytes),
  },
  {
    name: "mixed-calm",
    help: "mixed without the memory hog",
    tasks: ({ cpus, memoryBytes }) => mixed(false, cpus, memoryBytes),
  },
  {
    name: "fileserver",
    help: "file servers alone, two a CPU",
    tasks: ({ cpus, memoryBytes }) => servers(2 * cpus, memoryBytes),
  },
  {
    name: "build",
    help: "make: many short tasks, small files",
    tasks: ({ cpus }) => [{ program: make, args: [0, cpus + 1, 40] }],
  },
  {
    name: "database",
    help: "clients that change random pages of 8 KiB behind a log, each transaction synced",
    tasks: ({ cpus, memoryBytes }) =>
      Array.from({ length: Math.max(2, cpus) }, (_, n) => ({
        program: database,
        name: `database${n}`,
        args: [0, n, Math.min(16 * MIB, Math.floor(memoryBytes / 16 / 8192) * 8192)],
      })),
  },
  {
    name: "stream",
    help: "large files written and read from start to end",
    tasks: ({ memoryBytes }) =>
      [0, 1].map((n) => ({
        program: stream,
        name: `stream${n}`,
        args: [0, n, wholePages(Math.min(memoryBytes / 4, 32 * MIB))],
      })),
  },
];

/**
 * Everything at once, as a small server has it: CPU hogs, file servers whose files do not all fit in memory, a log
 * writer, and, unless it is to be calm, a memory hog that pushes the page cache out in waves.
 */
import type { UserStart, UserWorkload } from "../../kernel/abi/program.ts";
import { PAGE_SIZE } from "../../kernel/abi/units.ts";
import { UNIT_BYTES } from "../promise.ts";
import { cpuHog, memoryHog, PARTS_MAX } from "./hogs.ts";
import { logger } from "./logger.ts";
import { server } from "./server.ts";

const MIB = 2 ** 20;
const FILES = 16;
/** All files of all servers: on a disk of 256 MiB there is room for them beside the log and the journal. */
const FILES_BYTES_MAX = 96 * MIB;
const FILES_SHARE = 0.6;
const HOG_SHARE = 0.75;

const roundTo = (bytes: number, unit: number): number => Math.floor(bytes / unit) * unit;

export interface MixedOptions {
  /** With the memory hog. */
  readonly hog: boolean;
}

export const mixed = ({ hog }: MixedOptions): UserWorkload => ({
  name: hog ? "mixed" : "mixed-calm",
  help: `CPU hogs, file servers with fsync, a log writer${hog ? ", and a memory hog that pushes the page cache out" : ""}`,
  tasks({ cpus, memoryBytes }) {
    const servers = Math.max(2, Math.min(8, cpus));
    const fileBytes = Math.min(FILES_BYTES_MAX, memoryBytes * FILES_SHARE) / (servers * FILES);
    const starts: UserStart[] = [];
    for (let n = 0; n < Math.ceil(cpus / 2); n++) starts.push({ program: cpuHog, name: `cpuhog/${n}`, nice: 5 });
    for (let n = 0; n < servers; n++)
      starts.push({ program: server, name: `server/${n}`, args: [n, FILES, roundTo(fileBytes, 4 * UNIT_BYTES)] });
    starts.push({ program: logger, args: [8, 2_000_000], nice: -5 });
    const part = roundTo((memoryBytes * HOG_SHARE) / PARTS_MAX, PAGE_SIZE);
    if (hog) starts.push({ program: memoryHog, args: [PARTS_MAX, part], startNs: 100_000_000 });
    return starts;
  },
});

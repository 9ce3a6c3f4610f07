/**
 * An image file as the medium of a parallel machine's disk: read when the machine boots, and written where the disk says
 * that sectors are durable. What the disk has in its volatile cache lies in the process's memory alone: kill -9 is a power
 * cut.
 *
 * - openStore(path)    for kernel/parallel/disk_worker.ts, which imports this module by its URL
 * - openLines(path)    for storage_worker.ts: what tasks told /dev/kmsg, appended before their call returns, so that what
 *                      is told before a file goes is told whenever it is gone
 */
import { openSync, readFileSync, writeSync } from "node:fs";
import type { DiskStore } from "../../kernel/index.ts";

const SECTOR = 512;

export function openStore(path: string): DiskStore {
  const image = Uint8Array.from(readFileSync(path));
  const file = openSync(path, "r+");
  return {
    image,
    write(sector, bytes) {
      for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at, bytes.length - at, sector * SECTOR + at);
    },
  };
}

export function openLines(path: string): (text: string) => void {
  const file = openSync(path, "w");
  return (text) => {
    writeSync(file, text.endsWith("\n") ? text : `${text}\n`);
  };
}

/**
 * Files that say of themselves what they hold, and what their writers were promised: so that after a shutdown or a crash
 * anybody can say whether the promises were kept.
 *
 * A file is sectors of 512 bytes. Each has its file's hash, its number, and its generation, which only grows, and is
 * filled with noise that follows from the three:
 *
 *   0  4  hash of the path     4  4  number in the file     8  4  generation     12  ..  noise
 *
 * After a sync that succeeded a writer tells /dev/kmsg "synced PATH FIRST COUNT GENERATION": those sectors are of that
 * generation or a later one from now on. Before it unlinks or truncates: "dropped PATH".
 *
 * - fillSectors(bytes, path, first, generation)    whole sectors
 * - syncedLine, droppedLine                        what to tell
 * - Promises                                       .hear(text), .checkFile(path, bytes)
 */
import { assert } from "../kernel/lib/assert.ts";

export const SECTOR = 512;
const WORDS = SECTOR / 4;

/** FNV-1a. */
function hashOf(path: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < path.length; at++) hash = Math.imul(hash ^ path.charCodeAt(at), 0x01000193);
  return hash;
}

function fill(words: Int32Array, at: number, hash: number, sector: number, generation: number): void {
  words[at] = hash;
  words[at + 1] = sector;
  words[at + 2] = generation;
  let noise = hash ^ Math.imul(sector + 1, 0x9e3779b1) ^ Math.imul(generation + 1, 0x85ebca6b);
  for (let n = 3; n < WORDS; n++) {
    noise = (Math.imul(noise, 0x19660d) + 0x3c6ef35f) | 0;
    words[at + n] = noise;
  }
}

export function fillSectors(bytes: Uint8Array, path: string, first: number, generation: number): void {
  assert(bytes.length % SECTOR === 0 && bytes.byteOffset % 4 === 0, "fillSectors: whole sectors on word borders");
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const hash = hashOf(path);
  for (let n = 0; n < bytes.length / SECTOR; n++) fill(words, n * WORDS, hash, first + n, generation);
}

export const syncedLine = (path: string, first: number, count: number, generation: number): string =>
  `synced ${path} ${first} ${count} ${generation}\n`;
export const droppedLine = (path: string): string => `dropped ${path}\n`;

export class Promises {
  /** Path -> sector -> least generation. */
  readonly #files = new Map<string, Map<number, number>>();
  #rest = "";

  get paths(): readonly string[] {
    return [...this.#files.keys()].sort();
  }

  /** What was told, in pieces of any length; lines of another kind are nobody's. A line without its end does not count. */
  hear(piece: string): void {
    const lines = (this.#rest + piece).split("\n");
    this.#rest = lines.pop()!;
    for (const line of lines) {
      const [word, path, ...numbers] = line.split(" ");
      if (word === "dropped" && path !== undefined) this.#files.delete(path);
      if (word !== "synced" || path === undefined || numbers.length !== 3) continue;
      const [first, count, generation] = numbers.map(Number) as [number, number, number];
      let sectors = this.#files.get(path);
      if (sectors === undefined) this.#files.set(path, (sectors = new Map()));
      for (let n = first; n < first + count; n++) sectors.set(n, Math.max(generation, sectors.get(n) ?? 0));
    }
  }

  /** What of a file's promises is not kept, one line; undefined: all are. `bytes` undefined: there is no such file. */
  checkFile(path: string, bytes: Uint8Array | undefined): string | undefined {
    const sectors = this.#files.get(path);
    if (sectors === undefined) return undefined;
    if (bytes === undefined) return `${path}: promised, and not there`;
    const hash = hashOf(path);
    const [there, wanted] = [new Int32Array(WORDS), new Int32Array(WORDS)];
    for (const [sector, generation] of sectors) {
      const part = bytes.subarray(sector * SECTOR, (sector + 1) * SECTOR);
      if (part.length < SECTOR) return `${path}: sector ${sector} was promised, the file ends before it`;
      new Uint8Array(there.buffer).set(part);
      const found = there[2]!;
      fill(wanted, 0, hash, sector, found);
      if (there.some((word, at) => word !== wanted[at])) return `${path}: sector ${sector} holds something else`;
      if (found < generation) return `${path}: sector ${sector} is of generation ${found}, ${generation} was promised`;
    }
    return undefined;
  }
}

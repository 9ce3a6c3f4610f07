/**
 * e2fsck as the referee of crash states: the replay and the orphans as its preen mode does them, then a full check that
 * must find nothing. It knows nothing of promises, so only what is said of the structure can be compared.
 *
 * - e2fsckSays(disk, path)         of an image file that is spent by it: undefined when clean, else its first lines
 * - refereeStates(...)             several at once; how many were judged, and where it disagrees
 *
 * A file is written sparsely: what differs from zeroes.
 */
import { spawn } from "node:child_process";
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BlockImage } from "../../kernel/index.ts";
import { needTool } from "../qemu/packages.ts";
import type { CrashDisk } from "./crash_disk.ts";

const WHY = "have e2fsck judge crash states";
const CLEAN_CODES = new Set([0, 1]);
const SAID_LINES = 3;
const SAID_MAX = 200;

/** Blocks of the image as it is now that are not all zeroes. */
export function eachBlock(image: BlockImage, visit: (bytes: Uint8Array, offset: number) => void): void {
  const { blockSize } = image;
  for (let block = 0; block < image.count; block++) {
    const at = image.at(block);
    if (!isZero(image.bytes, at, blockSize)) visit(image.bytes.subarray(at, at + blockSize), block * blockSize);
  }
}

/** The image as it is now, as a file. */
export function storeState(image: BlockImage, path: string, sizeBytes: number): void {
  const file = openSync(path, "w");
  try {
    ftruncateSync(file, sizeBytes);
    eachBlock(image, (bytes, offset) => writeSync(file, bytes, 0, bytes.length, offset));
  } finally {
    closeSync(file);
  }
}

const ZEROES = Buffer.alloc(65_536);
const isZero = (bytes: Uint8Array, at: number, length: number): boolean =>
  ZEROES.compare(bytes, at, at + length, 0, length) === 0;

function run(tool: string, args: readonly string[]): Promise<{ readonly code: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(tool, args, { stdio: ["ignore", "pipe", "pipe"] });
    let text = "";
    child.stdout.on("data", (piece: Buffer) => (text += piece.toString("latin1")));
    child.stderr.on("data", () => {});
    child.on("error", reject);
    child.on("close", (code) => resolve({ code: code ?? 8, text }));
  });
}

export async function e2fsckSays(path: string): Promise<string | undefined> {
  const tool = needTool("e2fsck", WHY);
  const preen = await run(tool, ["-p", path]);
  if (!CLEAN_CODES.has(preen.code)) return firstWords(preen.text, path);
  const full = await run(tool, ["-fn", path]);
  return full.code === 0 ? undefined : firstWords(full.text, path);
}

/** The first lines that are no headings. */
function firstWords(text: string, path: string): string {
  const lines = text.split("\n").map((line) => line.replace(`${path}: `, "").trim());
  const said = lines.filter(
    (line) => line !== "" && !/^Pass |^Inode count|recovering journal|^Clearing orphan|^e2fsck/.test(line),
  );
  return said.length === 0 ? "it is not clean" : said.slice(0, SAID_LINES).join("; ").slice(0, SAID_MAX);
}

export interface Case {
  readonly id: string;
  /** Whether our judge calls the structure clean. */
  readonly clean: boolean;
  readonly why: string;
  /** Makes the disk show the state. */
  readonly show: () => void;
}

export interface Disagreement {
  readonly id: string;
  readonly ours: string;
  readonly e2fsck: string;
}

export interface Refereed {
  readonly judged: number;
  readonly disagreements: readonly Disagreement[];
}

export async function refereeStates(
  disk: CrashDisk,
  cases: readonly Case[],
  atOnce: number,
  progress: (done: number) => void,
  stop: AbortSignal,
): Promise<Refereed> {
  needTool("e2fsck", WHY);
  const folder = mkdtempSync(join(tmpdir(), "orrery-referee-"));
  const disagreements: Disagreement[] = [];
  let next = 0;
  let judged = 0;
  const judge = async (slot: number): Promise<void> => {
    const path = join(folder, `state${slot}.img`);
    while (next < cases.length && !stop.aborted) {
      const { id, clean, why, show } = cases[next++]!;
      show();
      storeState(disk.image, path, disk.recorded.base.length);
      const said = await e2fsckSays(path);
      if ((said === undefined) !== clean)
        disagreements.push({ id, ours: clean ? "clean" : why, e2fsck: said ?? "clean" });
      progress(++judged);
    }
  };
  try {
    await Promise.all(Array.from({ length: atOnce }, (_, slot) => judge(slot)));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return { judged, disagreements };
}

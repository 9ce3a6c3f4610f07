/**
 * What remains of a machine that was shut down, judged: its disk by our checker, and its files by what their writers were
 * told is durable (userspace/promise.ts).
 *
 * - judge(machine)              after machine.stop()
 * - judgeImage(image, lines)    an image and the lines of /dev/kmsg, from wherever they came
 */
import {
  BlockImage,
  Checker,
  ext4Inode,
  ext4Layout,
  imageBuffer,
  inodeAt,
  isRefusal,
  readFile,
  readSuper,
  resolve,
} from "../../kernel/index.ts";
import type { Super } from "../../kernel/index.ts";
import { checkFile, readPromises } from "../../userspace/index.ts";
import type { OpenMachine } from "./machine.ts";

const PART_BYTES = 65_536;
const DAMAGE_SHOWN = 3;

export interface Verdict {
  /** Faults that the checker found. */
  readonly damage: number;
  /** Files about which something was promised. */
  readonly promises: number;
  /** One line a file that does not hold it. */
  readonly broken: readonly string[];
}

export const judge = (machine: OpenMachine): Verdict =>
  machine.booted.ext4 === undefined
    ? { damage: 0, promises: 0, broken: [] }
    : judgeImage(machine.image, machine.console);

export function judgeImage(bytes: Uint8Array, lines: readonly string[]): Verdict {
  const buffer = imageBuffer(bytes.length);
  copyUsed(buffer, bytes);
  const sb = readSuper(new DataView(buffer.buffer), ext4Layout.SUPER_OFFSET, bytes.length);
  if (isRefusal(sb)) return { damage: 1, promises: 0, broken: [`the superblock: ${sb.reason}`] };
  const image = new BlockImage(buffer, sb.blockSize, sb.blocksCount);
  const { damage } = new Checker().run(image, sb);
  const { files, wrong } = readPromises(lines.map((line) => line.replace(/\n?$/, "\n")).join(""));
  const broken = damage.slice(0, DAMAGE_SHOWN).map(({ text }) => text);
  broken.push(...wrong);
  for (const [path, promised] of files) {
    const fault = checkFile(path, contentOf(image, sb, path), promised);
    if (fault !== undefined) broken.push(fault);
  }
  return { damage: damage.length, promises: files.size, broken };
}

/** What a path holds; undefined: nothing is there. */
function contentOf(image: BlockImage, sb: Super, path: string): Uint8Array | undefined {
  const ino = resolve(image, sb, new TextEncoder().encode(path), true);
  const at = ino < 0 ? -1 : inodeAt(image, sb, ino);
  if (at < 0) return undefined;
  const into = new Uint8Array(ext4Inode.inodeSizeBytes(sb, image.view, at));
  return readFile(image, sb, at, 0, into) === into.length ? into : undefined;
}

/** Copies an image into zeroed memory, without touching what is zero: most of a fresh disk. */
function copyUsed(into: Uint8Array, bytes: Uint8Array): void {
  const nothing = Buffer.alloc(PART_BYTES);
  for (let at = 0; at < bytes.length; at += PART_BYTES) {
    const length = Math.min(PART_BYTES, bytes.length - at);
    const part = Buffer.from(bytes.buffer, bytes.byteOffset + at, length);
    if (!part.equals(length === PART_BYTES ? nothing : nothing.subarray(0, length))) into.set(part, at);
  }
}

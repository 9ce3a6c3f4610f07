/**
 * A campaign's results as they come in: a line of JSON a piece of work, so that a campaign that was killed goes on where
 * it was, and parts done on several machines are put together.
 *
 *   {"schema":1,"kind":"head","log":SHA-256,"options":{...},"chunks":N,"shard":[i,n]}
 *   {"chunk":4,"byKind":{...},"flaggedByKind":{...},"keys":BASE64,"flaggedKeys":...,"flagged":[...],...}
 *
 * Keys are little-endian float64 in base64: what is distinct can only be counted when all pieces are there.
 *
 * - openChunkLog(path, head)   appends; what is there already is read, a last line that was cut off is dropped
 * - readChunkLog(path)         head and outcomes
 */
import { closeSync, existsSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { UserError } from "../cli/exit.ts";
import type { ChunkOutcome } from "./explore.ts";

/** Its name in a run's directory. */
export const CHUNK_LOG = "states.jsonl";

export interface CampaignHead {
  readonly schema: 1;
  readonly kind: "head";
  readonly log: string;
  /** Everything that decides what the pieces are. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly chunks: number;
  readonly shard: readonly [part: number, parts: number];
}

const PACKED = ["keys", "flaggedKeys", "tornKeys"] as const;

const packed = (keys: Float64Array): string =>
  Buffer.from(keys.buffer, keys.byteOffset, keys.byteLength).toString("base64");

function unpacked(text: unknown): Float64Array {
  const bytes = Buffer.from(String(text), "base64");
  return new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length - (bytes.length % 8)));
}

export function encodeOutcome(outcome: ChunkOutcome): string {
  const { keys, flaggedKeys, tornKeys, flaggedClasses, ...rest } = outcome;
  return JSON.stringify({
    ...rest,
    keys: packed(keys),
    flaggedKeys: packed(flaggedKeys),
    tornKeys: packed(tornKeys),
    flaggedClasses: [...flaggedClasses],
  });
}

function decodeOutcome(line: Record<string, unknown>): ChunkOutcome {
  const keys = Object.fromEntries(PACKED.map((name) => [name, unpacked(line[name])]));
  const flaggedClasses = Uint8Array.from(line["flaggedClasses"] as number[]);
  return { ...(line as unknown as ChunkOutcome), ...keys, flaggedClasses };
}

interface ReadLog {
  readonly head: CampaignHead;
  readonly outcomes: ChunkOutcome[];
  /** Bytes of whole lines. */
  readonly bytes: number;
}

export function readChunkLog(path: string): ReadLog {
  if (!existsSync(path)) throw new UserError(`${path} is not there: is this the directory of a crash campaign?`);
  const text = readFileSync(path, "utf8");
  const end = text.lastIndexOf("\n") + 1;
  const lines = text
    .slice(0, end)
    .split("\n")
    .filter((line) => line !== "");
  try {
    const [head, ...outcomes] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    if (head?.["kind"] === "head" && head["schema"] === 1)
      return {
        head: head as unknown as CampaignHead,
        outcomes: outcomes.map(decodeOutcome),
        bytes: Buffer.byteLength(text.slice(0, end)),
      };
  } catch {
    // Said below: whatever is wrong with a line, the file is not what it should be.
  }
  throw new UserError(`${path} is no log of a crash campaign, or it is damaged`);
}

const sameWork = (one: CampaignHead, other: CampaignHead): boolean =>
  one.log === other.log && one.chunks === other.chunks && JSON.stringify(one.options) === JSON.stringify(other.options);

export interface ChunkLog {
  /** Pieces that were done before. */
  readonly done: readonly ChunkOutcome[];
  append(outcome: ChunkOutcome): void;
  close(): void;
}

export function openChunkLog(path: string, head: CampaignHead): ChunkLog {
  const before = existsSync(path) ? readChunkLog(path) : undefined;
  if (before !== undefined && (!sameWork(before.head, head) || before.head.shard.join() !== head.shard.join()))
    throw new UserError(`${path} belongs to another campaign: choose another --out, or the options it was begun with`);
  const file = openSync(path, "a");
  if (before === undefined) writeSync(file, `${JSON.stringify(head)}\n`);
  else ftruncateSync(file, before.bytes);
  return {
    done: before?.outcomes ?? [],
    append: (outcome) => void writeSync(file, `${encodeOutcome(outcome)}\n`),
    close: () => closeSync(file),
  };
}

/** The parts of one campaign; one clear line when they are not, or when one is missing. */
export function mergedOutcomes(paths: readonly string[]): { head: CampaignHead; outcomes: ChunkOutcome[] } {
  const logs = paths.map((path) => ({ path, ...readChunkLog(path) }));
  const first = logs[0]!;
  const found = new Map<number, ChunkOutcome>();
  for (const { path, head, outcomes } of logs) {
    if (!sameWork(head, first.head))
      throw new UserError(`${path} is of another campaign than ${first.path}: other log, or other options`);
    for (const outcome of outcomes) found.set(outcome.chunk, outcome);
  }
  const missing = Array.from({ length: first.head.chunks }, (_, n) => n).filter((n) => !found.has(n));
  if (missing.length > 0)
    throw new UserError(
      `${missing.length} of ${first.head.chunks} pieces are missing, the first is ${missing[0]}: give all shards, or run them to their end`,
    );
  return { head: first.head, outcomes: [...found.values()].sort((a, b) => a.chunk - b.chunk) };
}

import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zstdDecompressSync } from "node:zlib";
import { afterAll, expect, it } from "vitest";
import { SparseDisk } from "../../../harness/disk/sparse.ts";
import { LogType, decodeLog, encodeHead, epochs, markerText } from "../../../harness/nbd/log.ts";
import type { LogEntry } from "../../../harness/nbd/log.ts";
import { RecordingDisk, fileSink, memorySink } from "../../../harness/nbd/record.ts";
import { BlockOp, REQ_FUA, REQ_PREFLUSH } from "../../../kernel/abi/block.ts";
import type { BlockDevice, BlockRequest } from "../../../kernel/abi/block.ts";
import { EIO } from "../../../kernel/abi/errno.ts";
import { blockRequest } from "../disk/model.ts";

const folder = mkdtempSync(join(tmpdir(), "orrery-log-"));
afterAll(() => rmSync(folder, { recursive: true }));
const RECORDED = zstdDecompressSync(readFileSync("test/fixtures/write-logs/m_ordered.log.zst"));
const bytes = (fill: number, sectors = 1): Uint8Array => new Uint8Array(512 * sectors).fill(fill);
const shape = (entries: readonly LogEntry[]): string =>
  entries
    .map(
      ({ type, fua, offset }) => `${"?W?FT?Z??M"[type]}${fua ? "!" : ""}${type === LogType.Flush ? "" : offset / 512}`,
    )
    .join(" ");

it("reads the log of a real guest, and writes it back to the byte", () => {
  const entries = decodeLog(RECORDED);
  expect(entries.length).toBe(91);
  expect(entries.filter(({ type }) => type === LogType.Flush).length).toBe(21);
  expect(entries.filter(({ type }) => type === LogType.Marker).map(markerText)[0]).toBe("start");
  expect(epochs(entries).at(-1)).toBeLessThanOrEqual(21);
  const parts = entries.flatMap((entry) => {
    const head = Buffer.alloc(24);
    encodeHead(entry, head);
    return [head, entry.data ?? Buffer.alloc(0)];
  });
  expect(Buffer.concat(parts).equals(RECORDED)).toBe(true);
});

it.each([
  ["cut in a record's head", RECORDED.subarray(0, RECORDED.length - 5)],
  ["of another kind", Buffer.from("not a log at all, but long enough for a head")],
])("a log that is %s is refused with the place", (_what, log) => {
  expect(() => decodeLog(log)).toThrow(/damaged write log: no record at offset \d+/);
});

it("records writes, flushes, FUA, trims and zeroing of a disk in their order, not its reads or failures", () => {
  const sink = memorySink();
  const disk = new RecordingDisk(new SparseDisk(8192), sink, () => 1.5);
  disk.submit([
    blockRequest(BlockOp.Write, 1, 1, bytes(1)),
    blockRequest(BlockOp.Read, 1, 1, bytes(0)),
    blockRequest(BlockOp.Flush, 0, 0),
    blockRequest(BlockOp.Write, 2, 2, bytes(2, 2), REQ_FUA),
    blockRequest(BlockOp.Write, 99, 1, bytes(3)),
    blockRequest(BlockOp.Write, 3, 1, bytes(3), REQ_PREFLUSH),
  ]);
  disk.mark("here");
  disk.submit([blockRequest(BlockOp.Discard, 4, 1), blockRequest(BlockOp.WriteZeroes, 5, 1)]);
  expect(disk.poll().length).toBe(8);
  expect(shape(sink.entries)).toBe("W1 F W!2 F W3 M0 T4 Z5");
  expect(epochs(sink.entries)).toEqual([0, 0, 1, 1, 2, 2, 2, 2]);
  expect(sink.entries[0]).toMatchObject({ length: 512, ms: 1.5, data: bytes(1) });
});

/** Ends requests when told to, in the order told. */
function manual(): BlockDevice & { end(request: BlockRequest, result?: number): void } {
  const ended: BlockRequest[] = [];
  return {
    limits: new SparseDisk(8192).limits,
    submit: (batch) => batch.length,
    poll: () => ended.splice(0),
    end: (request, result = 0) => {
      request.result = result as typeof EIO;
      ended.push(request);
    },
  };
}

it("a flush in flight covers only what had ended before it, and a failed one covers nothing", () => {
  const sink = memorySink();
  const inner = manual();
  const disk = new RecordingDisk(inner, sink, () => 0);
  const [early, late, behind] = [1, 2, 3].map((sector) => blockRequest(BlockOp.Write, sector, 1, bytes(sector)));
  const [flush, failing] = [blockRequest(BlockOp.Flush, 0, 0), blockRequest(BlockOp.Flush, 0, 0)];
  disk.submit([early!, late!]);
  inner.end(early!);
  disk.poll();
  disk.submit([flush, behind!]);
  inner.end(behind!);
  inner.end(late!);
  disk.poll();
  expect(shape(sink.entries)).toBe("W1");
  inner.end(flush);
  disk.poll();
  expect(shape(sink.entries)).toBe("W1 F W3 W2");
  disk.submit([failing]);
  inner.end(failing, EIO);
  disk.poll();
  expect(shape(sink.entries)).toBe("W1 F W3 W2");
});

it("recorded where it has ended, a flush has before it what ended while it was in flight", () => {
  const sink = memorySink();
  const inner = manual();
  const disk = new RecordingDisk(inner, sink, () => 0, "end");
  const [early, behind] = [1, 2].map((sector) => blockRequest(BlockOp.Write, sector, 1, bytes(sector)));
  const [flush, failing] = [blockRequest(BlockOp.Flush, 0, 0), blockRequest(BlockOp.Flush, 0, 0)];
  disk.submit([early!, flush, behind!]);
  inner.end(behind!);
  disk.poll();
  expect(shape(sink.entries)).toBe("W2");
  inner.end(early!);
  inner.end(flush);
  disk.poll();
  expect(shape(sink.entries)).toBe("W2 W1 F");
  disk.submit([failing]);
  inner.end(failing, EIO);
  disk.poll();
  expect(shape(sink.entries)).toBe("W2 W1 F");
});

it("what waits behind a flush keeps its bytes and results, whatever becomes of the buffers and requests", () => {
  const sink = memorySink();
  const inner = manual();
  const disk = new RecordingDisk(inner, sink, () => 0);
  const write = blockRequest(BlockOp.Write, 1, 1, bytes(1));
  const [slow, quick] = [blockRequest(BlockOp.Flush, 0, 0), blockRequest(BlockOp.Flush, 0, 0)];
  disk.submit([slow, write]);
  inner.end(write);
  disk.poll();
  const expected = write.data!.slice();
  write.data!.fill(0xee);
  disk.submit([quick]);
  inner.end(quick);
  disk.poll();
  quick.result = undefined;
  inner.end(slow);
  disk.poll();
  expect(shape(sink.entries)).toBe("F W1 F");
  expect(sink.entries[1]!.data).toEqual(expected);
});

it("a log file is the same as the log in memory", () => {
  const path = join(folder, "log");
  const [file, memory] = [fileSink(path), memorySink()];
  for (const entry of decodeLog(RECORDED)) {
    file.append(entry);
    memory.append(entry);
  }
  expect(file.count).toBe(91);
  file.close();
  expect(readFileSync(path).equals(RECORDED)).toBe(true);
  expect(decodeLog(readFileSync(path))).toEqual(memory.entries);
});

it("a file sink writes after who was recorded has been answered; a marker, and more than it keeps, at once", async () => {
  const path = join(folder, "later.log");
  const sink = fileSink(path);
  const write = (mib: number): void => {
    const data = new Uint8Array(mib << 20);
    sink.append({ type: LogType.Write, fua: false, offset: 0, length: data.length, ms: 0, data });
  };
  const mib = (): number => Math.floor(statSync(path).size / 2 ** 20);
  write(2);
  expect(mib()).toBe(0);
  await new Promise((resolve) => setImmediate(resolve));
  expect(mib()).toBe(2);
  write(1);
  const data = Buffer.from("here");
  sink.append({ type: LogType.Marker, fua: false, offset: 0, length: data.length, ms: 0, data });
  expect(mib()).toBe(3);
  write(5);
  write(5);
  expect(mib()).toBe(13);
  write(1);
  sink.close();
  expect(mib()).toBe(14);
  expect(decodeLog(readFileSync(path)).length).toBe(6);
});

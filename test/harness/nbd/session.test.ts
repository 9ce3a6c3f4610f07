import * as fc from "fast-check";
import { expect, it } from "vitest";
import { exportOf } from "../../../harness/nbd/server.ts";
import { SparseDisk } from "../../../harness/disk/sparse.ts";
import { CHUNK_MAGIC, Chunk, Cmd, NbdError, Opt, Rep, SIMPLE_MAGIC } from "../../../harness/nbd/wire.ts";
import { CLIENT_HELLO, listen, named, option, request } from "./speak.ts";
import type { Heard } from "./speak.ts";

const EXPORT = exportOf(new SparseDisk(1 << 20));

/** Past the handshake, in transmission. */
function going(structured = false): Heard {
  const heard = listen(EXPORT);
  const words = [CLIENT_HELLO, structured ? option(Opt.StructuredReply) : Buffer.alloc(0), option(Opt.Go, named(""))];
  heard.session.feed(Buffer.concat(words));
  heard.said();
  return heard;
}

it("greets with NBDMAGIC, IHAVEOPT and fixed newstyle without zeroes", () => {
  expect(listen(EXPORT).said().toString("latin1")).toBe("NBDMAGICIHAVEOPT\0\u0003");
});

it("GO tells size, flags and block sizes, then takes requests", () => {
  const heard = listen(EXPORT);
  heard.said();
  heard.session.feed(Buffer.concat([CLIENT_HELLO, option(Opt.Go, named("orrery"))]));
  const said = heard.said();
  expect(said.length).toBe(20 + 12 + 20 + 14 + 20);
  expect(said.readUInt32BE(12)).toBe(Rep.Info);
  expect(said.readBigUInt64BE(22)).toBe(1n << 20n);
  expect(said.readUInt16BE(30)).toBe(EXPORT.flags);
  expect([said.readUInt32BE(54), said.readUInt32BE(58), said.readUInt32BE(62)]).toEqual([512, 4096, 32 << 20]);
  expect(said.readUInt32BE(78)).toBe(Rep.Ack);
  heard.session.feed(request(Cmd.Read, 512, 1024));
  expect(heard.requests).toEqual([{ type: 0, fua: false, cookie: 7n, offset: 512, length: 1024, data: undefined }]);
});

it("EXPORT_NAME answers with 134 bytes, or 10 when both sides leave out the zeroes", () => {
  for (const [flags, bytes] of [
    [1, 134],
    [3, 10],
  ] as const) {
    const heard = listen(EXPORT);
    heard.said();
    heard.session.feed(Buffer.concat([Buffer.from([0, 0, 0, flags]), option(Opt.ExportName)]));
    expect(heard.said().length).toBe(bytes);
  }
});

it.each([
  ["an unknown name", option(Opt.Go, named("other")), Rep.ErrUnknown],
  ["a name longer than its option", option(Opt.Info, Buffer.from([0, 0, 0, 99, 65, 0, 0])), Rep.ErrInvalid],
  ["TLS, which we do not have", option(5), Rep.ErrUnsup],
  ["LIST with data", option(Opt.List, Buffer.alloc(3)), Rep.ErrInvalid],
  ["an option of 1 MiB", option(Opt.Info, Buffer.alloc(1 << 20)), Rep.ErrTooBig],
])("refuses %s and goes on", (_what, bytes, error) => {
  const heard = listen(EXPORT);
  heard.said();
  heard.session.feed(Buffer.concat([CLIENT_HELLO, bytes, option(Opt.List)]));
  const said = heard.said();
  expect(said.readUInt32BE(12)).toBe(error);
  expect(said.toString("latin1")).toContain("orrery");
  expect(heard.closed).toBe(false);
});

it.each([
  ["unknown client flags", Buffer.from([0, 0, 0, 7])],
  ["a wrong option magic", Buffer.concat([CLIENT_HELLO, Buffer.alloc(16)])],
  ["EXPORT_NAME of another export", Buffer.concat([CLIENT_HELLO, option(Opt.ExportName, Buffer.from("x"))])],
  ["ABORT", Buffer.concat([CLIENT_HELLO, option(Opt.Abort)])],
])("closes on %s", (_what, bytes) => {
  const heard = listen(EXPORT);
  heard.session.feed(bytes);
  expect(heard.closed && heard.session.closed).toBe(true);
});

it.each([
  ["an odd offset", request(Cmd.Read, 100, 512), NbdError.Einval],
  ["an odd length", request(Cmd.Read, 0, 100), NbdError.Einval],
  ["no length", request(Cmd.Trim, 0, 0), NbdError.Einval],
  ["a read beyond the end", request(Cmd.Read, (1 << 20) - 512, 1024), NbdError.Einval],
  ["zeroes beyond the end", request(Cmd.WriteZeroes, 1 << 20, 512), NbdError.Enospc],
  ["an unknown command", request(99, 0, 512), NbdError.Einval],
  ["an unknown flag", request(Cmd.Read, 0, 512, 0x80), NbdError.Einval],
  ["a read of 33 MiB", request(Cmd.Read, 0, 33 << 20), NbdError.Einval],
])("answers %s with an error and goes on", (_what, bytes, error) => {
  const heard = going();
  heard.session.feed(Buffer.concat([bytes, request(Cmd.Flush, 0, 0)]));
  const said = heard.said();
  expect([said.readUInt32BE(0), said.readUInt32BE(4), said.readBigUInt64BE(8)]).toEqual([SIMPLE_MAGIC, error, 7n]);
  expect(heard.requests.map((asked) => asked.type)).toEqual([Cmd.Flush]);
});

it("skips the data of a write that it refuses", () => {
  const heard = going();
  heard.session.feed(
    Buffer.concat([request(Cmd.Write, 1 << 20, 1024), Buffer.alloc(1024, 0x25), request(Cmd.Flush, 0, 0)]),
  );
  expect(heard.said().readUInt32BE(4)).toBe(NbdError.Enospc);
  expect(heard.requests.map((asked) => asked.type)).toEqual([Cmd.Flush]);
});

it("answers a read in one chunk once structured replies are agreed on", () => {
  const heard = going(true);
  heard.session.feed(request(Cmd.Read, 1024, 512));
  heard.session.reply(heard.requests[0]!, 0, Buffer.alloc(512, 9));
  const good = heard.said();
  expect([good.readUInt32BE(0), good.readUInt16BE(6), good.readUInt32BE(16)]).toEqual([
    CHUNK_MAGIC,
    Chunk.OffsetData,
    520,
  ]);
  expect(good.readBigUInt64BE(20)).toBe(1024n);
  expect(good.length).toBe(28 + 512);
  heard.session.reply(heard.requests[0]!, NbdError.Eio, undefined);
  const bad = heard.said();
  expect([bad.readUInt16BE(6), bad.readUInt32BE(16), bad.readUInt32BE(20), bad.length]).toEqual([
    Chunk.Error,
    6,
    5,
    26,
  ]);
});

it("means the same however its input is cut", () => {
  const words = Buffer.concat([
    CLIENT_HELLO,
    option(Opt.List),
    option(77, Buffer.from("junk")),
    option(Opt.Go, named("")),
    request(Cmd.Write, 512, 1024, 1),
    Buffer.alloc(1024, 0xab),
    request(Cmd.Write, 5, 512),
    Buffer.alloc(512),
    request(Cmd.Read, 0, 4096),
    request(Cmd.Disc, 0, 0),
  ]);
  const hear = (cuts: readonly number[]): unknown => {
    const heard = listen(EXPORT);
    const places = [0, ...cuts.map((cut) => cut % words.length).sort((a, b) => a - b), words.length];
    for (let i = 1; i < places.length; i++) heard.session.feed(Buffer.from(words.subarray(places[i - 1], places[i])));
    const { requests, closed } = heard;
    return {
      said: heard.said().toString("hex"),
      closed,
      requests: requests.map((r) => ({ ...r, data: r.data?.toString("hex") })),
    };
  };
  const whole = hear([]);
  fc.assert(
    fc.property(fc.array(fc.nat(), { maxLength: 40 }), (cuts) => {
      expect(hear(cuts)).toEqual(whole);
    }),
    { seed: 4, numRuns: 200 },
  );
});

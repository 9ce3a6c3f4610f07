/**
 * The client's half of the NBD handshake, over a reader of exact byte counts: GO, and EXPORT_NAME where a server does
 * not know GO.
 */
import type { ClientHello } from "./client.ts";
import {
  EXPORT_PADDING,
  FIXED_NEWSTYLE,
  HELLO_BYTES,
  IHAVEOPT,
  Info,
  NBDMAGIC,
  NO_ZEROES,
  OPTION_BYTES,
  OPTION_REPLY_BYTES,
  Opt,
  REPLY_MAGIC,
  Rep,
} from "./wire.ts";

export interface ByteStream {
  /** The next `count` bytes. Rejects when the connection ends before. */
  take(count: number): Promise<Buffer>;
  send(bytes: Uint8Array): void;
}

/** No server's option reply is longer. */
const REPLY_BYTES_MAX = 65_536;
/** Information replies before the last word. */
const REPLIES_MAX = 64;
/** What a server that says nothing about sizes is asked for at most (the protocol's default). */
const BYTES_MAX = 32 << 20;

function option(number: number, data: Buffer): Buffer {
  const head = Buffer.alloc(OPTION_BYTES);
  head.writeBigUInt64BE(IHAVEOPT, 0);
  head.writeUInt32BE(number, 8);
  head.writeUInt32BE(data.length, 12);
  return Buffer.concat([head, data]);
}

export async function negotiate(stream: ByteStream): Promise<ClientHello> {
  const hello = await stream.take(HELLO_BYTES);
  if (hello.readBigUInt64BE(0) !== NBDMAGIC) return { failure: "no NBD server answers there" };
  if (hello.readBigUInt64BE(8) !== IHAVEOPT) return { failure: "it speaks oldstyle NBD only" };
  const flags = hello.readUInt16BE(16);
  if ((flags & FIXED_NEWSTYLE) === 0) return { failure: "it does not speak fixed newstyle NBD" };
  const noZeroes = (flags & NO_ZEROES) !== 0;
  stream.send(Buffer.from([0, 0, 0, FIXED_NEWSTYLE | (noZeroes ? NO_ZEROES : 0)]));
  // The default export, and the one piece of information that GO does not bring by itself.
  stream.send(option(Opt.Go, Buffer.from([0, 0, 0, 0, 0, 1, 0, Info.BlockSize])));
  let [bytes, exportFlags, bytesMin, bytesMax] = [0, 0, 1, BYTES_MAX];
  for (let replies = 0; replies < REPLIES_MAX; replies++) {
    const head = await stream.take(OPTION_REPLY_BYTES);
    const [type, length] = [head.readUInt32BE(12), head.readUInt32BE(16)];
    if (head.readBigUInt64BE(0) !== REPLY_MAGIC || length > REPLY_BYTES_MAX) return { failure: "its answer is no NBD" };
    const data = await stream.take(length);
    if (type === Rep.Ack) return checked({ bytes, bytesMin, bytesMax, flags: exportFlags });
    if (type === Rep.ErrUnsup) return exportName(stream, noZeroes);
    if (type !== Rep.Info) return { failure: `it refused the default export (error ${type - 2 ** 31})` };
    const info = length >= 2 ? data.readUInt16BE(0) : -1;
    if (info === Info.Export && length === 12)
      [bytes, exportFlags] = [Number(data.readBigUInt64BE(2)), data.readUInt16BE(10)];
    if (info === Info.BlockSize && length === 14) [bytesMin, bytesMax] = [data.readUInt32BE(2), data.readUInt32BE(10)];
  }
  return { failure: "its answer does not end" };
}

async function exportName(stream: ByteStream, noZeroes: boolean): Promise<ClientHello> {
  stream.send(option(Opt.ExportName, Buffer.alloc(0)));
  const answer = await stream.take(10 + (noZeroes ? 0 : EXPORT_PADDING));
  const bytes = Number(answer.readBigUInt64BE(0));
  return checked({ bytes, bytesMin: 1, bytesMax: BYTES_MAX, flags: answer.readUInt16BE(8) });
}

/** Sizes that a BlockDevice can have. */
function checked(hello: ClientHello & { bytes: number; bytesMin: number; bytesMax: number }): ClientHello {
  const { bytes, bytesMin, bytesMax } = hello;
  if (!(bytes >= 512 && bytes <= 2 ** 52)) return { failure: `its export has ${bytes} bytes` };
  if (bytesMin > 4096 || (bytesMin & (bytesMin - 1)) !== 0)
    return { failure: `its smallest request is ${bytesMin} bytes` };
  if (bytesMax < 4096) return { failure: `its largest request is ${bytesMax} bytes` };
  return { ...hello, bytesMax: bytesMax - (bytesMax % 4096) };
}

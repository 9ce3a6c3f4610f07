/**
 * One client of the NBD server, as a state machine over bytes: no socket, no disk, so that it can be fuzzed as it is.
 *
 * - session.feed(bytes)       takes what came; calls `send`, `execute` and `close` of its host, in order
 * - session.reply(...)        answers a request that was executed
 *
 * States: hello -> options <-> option data -> request <-> data of a write; closed. A client may say anything: what the
 * protocol forbids closes the connection, what is merely refused gets an error; nothing is buffered but one option
 * (at most OPTION_DATA_MAX) and one write (at most `bytesMax`), and a write that is too long is skipped, not kept.
 */
import {
  CHUNK_BYTES,
  CHUNK_DONE,
  CHUNK_MAGIC,
  CMD_DF,
  CMD_FUA,
  CMD_NO_HOLE,
  Chunk,
  Cmd,
  EXPORT_PADDING,
  FIXED_NEWSTYLE,
  HELLO_BYTES,
  IHAVEOPT,
  Info,
  NBDMAGIC,
  NO_ZEROES,
  NbdError,
  OPTION_BYTES,
  OPTION_DATA_MAX,
  OPTION_REPLY_BYTES,
  Opt,
  REPLY_MAGIC,
  REQUEST_BYTES,
  REQUEST_MAGIC,
  Rep,
  SIMPLE_BYTES,
  SIMPLE_MAGIC,
  Flag,
} from "./wire.ts";

export interface Export {
  readonly name: string;
  readonly bytes: number;
  /** Smallest and largest request, bytes. */
  readonly bytesMin: number;
  readonly bytesMax: number;
  /** Transmission flags. */
  readonly flags: number;
}

export interface NbdRequest {
  readonly type: number;
  readonly fua: boolean;
  readonly cookie: bigint;
  readonly offset: number;
  readonly length: number;
  /** Of a write; the session keeps no reference to it. */
  readonly data: Buffer | undefined;
}

export interface SessionHost {
  readonly send: (bytes: Buffer) => void;
  readonly execute: (request: NbdRequest) => void;
  readonly close: () => void;
}

type State = "hello" | "option" | "optionData" | "request" | "writeData" | "closed";

/** Which flags each command may carry. */
const FLAGS_OF: ReadonlyMap<number, number> = new Map([
  [Cmd.Read, CMD_FUA | CMD_DF],
  [Cmd.Write, CMD_FUA],
  [Cmd.Disc, CMD_FUA],
  [Cmd.Flush, CMD_FUA],
  [Cmd.Trim, CMD_FUA],
  [Cmd.WriteZeroes, CMD_FUA | CMD_NO_HOLE],
]);

const NOTHING = Buffer.alloc(0);

export class Session {
  readonly #export: Export;
  readonly #host: SessionHost;
  #state: State = "hello";
  #need = 4;
  #chunks: Buffer[] = [];
  #have = 0;
  #skip = 0;
  #noZeroes = false;
  #structured = false;
  #option = 0;
  #write: Omit<NbdRequest, "data"> | undefined;

  constructor(exported: Export, host: SessionHost) {
    this.#export = exported;
    this.#host = host;
    const hello = Buffer.alloc(HELLO_BYTES);
    hello.writeBigUInt64BE(NBDMAGIC, 0);
    hello.writeBigUInt64BE(IHAVEOPT, 8);
    hello.writeUInt16BE(FIXED_NEWSTYLE | NO_ZEROES, 16);
    host.send(hello);
  }

  get closed(): boolean {
    return this.#state === "closed";
  }

  /** Bytes that wait for the rest of an option or a write. */
  get keptBytes(): number {
    return this.#have;
  }

  feed(bytes: Buffer): void {
    if (this.closed) return;
    this.#chunks.push(bytes);
    this.#have += bytes.length;
    while (this.#state !== "closed") {
      if (this.#skip > 0) {
        const part = Math.min(this.#skip, this.#have);
        this.#take(part);
        this.#skip -= part;
        if (this.#skip > 0) return;
      }
      if (this.#have < this.#need) return;
      this.#step(this.#take(this.#need));
    }
  }

  reply(request: NbdRequest, error: number, data: Buffer | undefined): void {
    if (this.#state === "closed") return;
    if (this.#structured && request.type === Cmd.Read) this.#replyChunk(request, error, data ?? NOTHING);
    else this.#replySimple(request.cookie, error, error === 0 ? data : undefined);
  }

  #step(bytes: Buffer): void {
    switch (this.#state) {
      case "hello":
        return this.#hello(bytes.readUInt32BE(0));
      case "option":
        return this.#optionHead(bytes);
      case "optionData":
        return this.#optionData(bytes);
      case "request":
        return this.#request(bytes);
      case "writeData": {
        const write = this.#write!;
        this.#expect("request", REQUEST_BYTES);
        return this.#host.execute({ ...write, data: bytes });
      }
      default:
        return this.#close();
    }
  }

  #hello(flags: number): void {
    if ((flags & ~(FIXED_NEWSTYLE | NO_ZEROES)) !== 0) return this.#close();
    this.#noZeroes = (flags & NO_ZEROES) !== 0;
    this.#expect("option", OPTION_BYTES);
  }

  #optionHead(head: Buffer): void {
    if (head.readBigUInt64BE(0) !== IHAVEOPT) return this.#close();
    this.#option = head.readUInt32BE(8);
    const length = head.readUInt32BE(12);
    if (length <= OPTION_DATA_MAX) return this.#expect("optionData", length);
    // EXPORT_NAME has no error reply.
    if (this.#option === Opt.ExportName) return this.#close();
    this.#skip = length;
    this.#answer(Rep.ErrTooBig);
    this.#expect("option", OPTION_BYTES);
  }

  #optionData(data: Buffer): void {
    this.#expect("option", OPTION_BYTES);
    switch (this.#option) {
      case Opt.ExportName:
        return this.#exportName(data.toString("utf8"));
      case Opt.Abort:
        this.#answer(Rep.Ack);
        return this.#close();
      case Opt.List:
        return this.#list(data);
      case Opt.Info:
      case Opt.Go:
        return this.#info(data);
      case Opt.StructuredReply:
        if (data.length !== 0) return this.#answer(Rep.ErrInvalid);
        this.#structured = true;
        return this.#answer(Rep.Ack);
      default:
        return this.#answer(Rep.ErrUnsup);
    }
  }

  /** The empty name is the default export. */
  #knows(name: string): boolean {
    return name === "" || name === this.#export.name;
  }

  #exportName(name: string): void {
    if (!this.#knows(name)) return this.#close();
    const answer = Buffer.alloc(10 + (this.#noZeroes ? 0 : EXPORT_PADDING));
    answer.writeBigUInt64BE(BigInt(this.#export.bytes), 0);
    answer.writeUInt16BE(this.#transmissionFlags(), 8);
    this.#host.send(answer);
    this.#expect("request", REQUEST_BYTES);
  }

  #list(data: Buffer): void {
    if (data.length !== 0) return this.#answer(Rep.ErrInvalid);
    const name = Buffer.from(this.#export.name);
    const entry = Buffer.alloc(4 + name.length);
    entry.writeUInt32BE(name.length, 0);
    name.copy(entry, 4);
    this.#answer(Rep.Server, entry);
    this.#answer(Rep.Ack);
  }

  /** u32 name length | name | u16 count | u16 each wanted information: we always say the two that matter. */
  #info(data: Buffer): void {
    const nameBytes = data.length < 6 ? Number.POSITIVE_INFINITY : data.readUInt32BE(0);
    if (data.length < 6 + nameBytes) return this.#answer(Rep.ErrInvalid);
    if (data.length !== 6 + nameBytes + 2 * data.readUInt16BE(4 + nameBytes)) return this.#answer(Rep.ErrInvalid);
    if (!this.#knows(data.toString("utf8", 4, 4 + nameBytes))) return this.#answer(Rep.ErrUnknown);
    const exported = Buffer.alloc(12);
    exported.writeUInt16BE(Info.Export, 0);
    exported.writeBigUInt64BE(BigInt(this.#export.bytes), 2);
    exported.writeUInt16BE(this.#transmissionFlags(), 10);
    this.#answer(Rep.Info, exported);
    const sizes = Buffer.alloc(14);
    sizes.writeUInt16BE(Info.BlockSize, 0);
    sizes.writeUInt32BE(this.#export.bytesMin, 2);
    sizes.writeUInt32BE(Math.max(4096, this.#export.bytesMin), 6);
    sizes.writeUInt32BE(this.#export.bytesMax, 10);
    this.#answer(Rep.Info, sizes);
    this.#answer(Rep.Ack);
    if (this.#option === Opt.Go) this.#expect("request", REQUEST_BYTES);
  }

  #transmissionFlags(): number {
    return this.#export.flags | (this.#structured ? Flag.SendDf : 0);
  }

  #request(head: Buffer): void {
    if (head.readUInt32BE(0) !== REQUEST_MAGIC) return this.#close();
    const flags = head.readUInt16BE(4);
    const type = head.readUInt16BE(6);
    const offset = Number(head.readBigUInt64BE(16));
    const length = head.readUInt32BE(24);
    const request = { type, fua: (flags & CMD_FUA) !== 0, cookie: head.readBigUInt64BE(8), offset, length };
    if (type === Cmd.Disc) return this.#close();
    const error = this.#refusal(request, flags);
    if (error !== 0) {
      if (type === Cmd.Write) this.#skip = length;
      return this.reply({ ...request, data: undefined }, error, undefined);
    }
    if (type !== Cmd.Write) return this.#host.execute({ ...request, data: undefined });
    this.#write = request;
    this.#expect("writeData", length);
  }

  /** 0 when the request may be executed. Offsets beyond 2^53 lose their low bits and are beyond any disk all the same. */
  #refusal({ type, offset, length }: Omit<NbdRequest, "data">, flags: number): number {
    const allowed = FLAGS_OF.get(type);
    if (allowed === undefined || (flags & ~allowed) !== 0) return NbdError.Einval;
    if (type === Cmd.Flush) return 0;
    const { bytes, bytesMin, bytesMax } = this.#export;
    if (offset % bytesMin !== 0 || length % bytesMin !== 0 || length === 0) return NbdError.Einval;
    if ((type === Cmd.Read || type === Cmd.Write) && length > bytesMax) return NbdError.Einval;
    if (offset + length > bytes)
      return type === Cmd.Write || type === Cmd.WriteZeroes ? NbdError.Enospc : NbdError.Einval;
    if (type === Cmd.Trim && (this.#export.flags & Flag.SendTrim) === 0) return NbdError.Einval;
    if (type === Cmd.WriteZeroes && (this.#export.flags & Flag.SendWriteZeroes) === 0) return NbdError.Einval;
    return 0;
  }

  #replySimple(cookie: bigint, error: number, data: Buffer | undefined): void {
    const head = Buffer.allocUnsafe(SIMPLE_BYTES);
    head.writeUInt32BE(SIMPLE_MAGIC, 0);
    head.writeUInt32BE(error, 4);
    head.writeBigUInt64BE(cookie, 8);
    this.#host.send(head);
    if (data !== undefined) this.#host.send(data);
  }

  #replyChunk(request: NbdRequest, error: number, data: Buffer): void {
    const payload = error === 0 ? 8 : 6;
    const head = Buffer.alloc(CHUNK_BYTES + payload);
    head.writeUInt32BE(CHUNK_MAGIC, 0);
    head.writeUInt16BE(CHUNK_DONE, 4);
    head.writeUInt16BE(error === 0 ? Chunk.OffsetData : Chunk.Error, 6);
    head.writeBigUInt64BE(request.cookie, 8);
    head.writeUInt32BE(payload + (error === 0 ? data.length : 0), 16);
    if (error === 0) head.writeBigUInt64BE(BigInt(request.offset), CHUNK_BYTES);
    else head.writeUInt32BE(error, CHUNK_BYTES);
    this.#host.send(head);
    if (error === 0) this.#host.send(data);
  }

  #answer(type: number, data: Buffer = NOTHING): void {
    const head = Buffer.alloc(OPTION_REPLY_BYTES);
    head.writeBigUInt64BE(REPLY_MAGIC, 0);
    head.writeUInt32BE(this.#option, 8);
    head.writeUInt32BE(type, 12);
    head.writeUInt32BE(data.length, 16);
    this.#host.send(Buffer.concat([head, data]));
  }

  #expect(state: State, bytes: number): void {
    this.#state = state;
    this.#need = bytes;
  }

  #close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#chunks = [];
    this.#have = 0;
    this.#host.close();
  }

  /** The next `count` bytes, which are there; a view where they lie in one chunk. */
  #take(count: number): Buffer {
    if (count === 0) return NOTHING;
    this.#have -= count;
    const first = this.#chunks[0]!;
    if (first.length > count) {
      this.#chunks[0] = first.subarray(count);
      return first.subarray(0, count);
    }
    if (first.length === count) return this.#chunks.shift()!;
    const whole = Buffer.allocUnsafe(count);
    let at = 0;
    let used = 0;
    for (const chunk of this.#chunks) {
      const part = Math.min(chunk.length, count - at);
      chunk.copy(whole, at, 0, part);
      at += part;
      if (part < chunk.length) {
        this.#chunks[used] = chunk.subarray(part);
        break;
      }
      used++;
      if (at === count) break;
    }
    this.#chunks.splice(0, used);
    return whole;
  }
}

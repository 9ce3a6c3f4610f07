/**
 * Numbers of the NBD protocol (fixed newstyle), as https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
 * names them. All integers on the wire are big-endian.
 *
 *   server hello   NBDMAGIC | IHAVEOPT | u16 handshake flags        client hello   u32 client flags
 *   option         IHAVEOPT | u32 option | u32 length | data
 *   option reply   u64 REPLY_MAGIC | u32 option | u32 type | u32 length | data
 *   request        u32 REQUEST_MAGIC | u16 flags | u16 type | u64 cookie | u64 offset | u32 length | data of a write
 *   simple reply   u32 SIMPLE_MAGIC | u32 error | u64 cookie | data of a read
 *   chunk          u32 CHUNK_MAGIC | u16 flags | u16 type | u64 cookie | u32 length | payload
 */
export const NBDMAGIC = 0x4e42444d41474943n;
export const IHAVEOPT = 0x49484156454f5054n;
export const REPLY_MAGIC = 0x3e889045565a9n;
export const REQUEST_MAGIC = 0x25609513;
export const SIMPLE_MAGIC = 0x67446698;
export const CHUNK_MAGIC = 0x668e33ef;

export const HELLO_BYTES = 18;
export const OPTION_BYTES = 16;
export const OPTION_REPLY_BYTES = 20;
export const REQUEST_BYTES = 28;
export const SIMPLE_BYTES = 16;
export const CHUNK_BYTES = 20;

/** Handshake flags, of both sides. */
export const FIXED_NEWSTYLE = 1;
export const NO_ZEROES = 2;
/** Padding after the answer to EXPORT_NAME unless both sides said NO_ZEROES. */
export const EXPORT_PADDING = 124;

export const Opt = { ExportName: 1, Abort: 2, List: 3, Info: 6, Go: 7, StructuredReply: 8 } as const;
export const Rep = {
  Ack: 1,
  Server: 2,
  Info: 3,
  ErrUnsup: 0x8000_0001,
  ErrInvalid: 0x8000_0003,
  ErrUnknown: 0x8000_0006,
  ErrTooBig: 0x8000_0009,
} as const;
export const Info = { Export: 0, BlockSize: 3 } as const;

/** Transmission flags: what the export can do. */
export const Flag = {
  HasFlags: 1,
  ReadOnly: 2,
  SendFlush: 4,
  SendFua: 8,
  SendTrim: 32,
  SendWriteZeroes: 64,
  SendDf: 128,
  CanMultiConn: 256,
} as const;

export const Cmd = { Read: 0, Write: 1, Disc: 2, Flush: 3, Trim: 4, WriteZeroes: 6 } as const;
export const CMD_FUA = 1;
export const CMD_NO_HOLE = 2;
export const CMD_DF = 4;

export const CHUNK_DONE = 1;
export const Chunk = { None: 0, OffsetData: 1, Error: 0x8001 } as const;

/** Error numbers of the protocol; positive, and few. */
export const NbdError = { Eio: 5, Einval: 22, Enospc: 28 } as const;

/** A name is at most this long, and with it what an option may carry. */
export const NAME_BYTES_MAX = 4096;
export const OPTION_DATA_MAX = NAME_BYTES_MAX + 1024;

/** Builders of what an NBD client says, and a reader of what it hears, for tests and the fuzzer's own tests. */
import { Session } from "../../../harness/nbd/session.ts";
import type { Export, NbdRequest } from "../../../harness/nbd/session.ts";
import { IHAVEOPT, REQUEST_MAGIC } from "../../../harness/nbd/wire.ts";

export function option(number: number, data: Uint8Array = new Uint8Array()): Buffer {
  const head = Buffer.alloc(16);
  head.writeBigUInt64BE(IHAVEOPT, 0);
  head.writeUInt32BE(number, 8);
  head.writeUInt32BE(data.length, 12);
  return Buffer.concat([head, data]);
}

/** Data of INFO and GO: a name and no wishes. */
export function named(name: string): Buffer {
  const data = Buffer.alloc(6 + name.length);
  data.writeUInt32BE(name.length, 0);
  data.write(name, 4);
  return data;
}

export function request(type: number, offset: number, length: number, flags = 0, cookie = 7n): Buffer {
  const head = Buffer.alloc(28);
  head.writeUInt32BE(REQUEST_MAGIC, 0);
  head.writeUInt16BE(flags, 4);
  head.writeUInt16BE(type, 6);
  head.writeBigUInt64BE(cookie, 8);
  head.writeBigUInt64BE(BigInt(offset), 16);
  head.writeUInt32BE(length, 24);
  return head;
}

export const CLIENT_HELLO = Buffer.from([0, 0, 0, 3]);

export interface Heard {
  readonly session: Session;
  readonly requests: NbdRequest[];
  closed: boolean;
  /** What the server said since the last call. */
  said(): Buffer;
}

export function listen(exported: Export): Heard {
  let out: Buffer[] = [];
  const heard: Heard = {
    requests: [],
    closed: false,
    said: () => {
      const all = Buffer.concat(out);
      out = [];
      return all;
    },
    session: new Session(exported, {
      send: (bytes) => void out.push(bytes),
      execute: (asked) => void heard.requests.push(asked),
      close: () => {
        heard.closed = true;
      },
    }),
  };
  return heard;
}

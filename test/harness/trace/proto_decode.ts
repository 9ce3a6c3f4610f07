/**
 * Protocol buffers' wire format by hand, from its documentation (protobuf.dev, Encoding), so that what our writer writes
 * is not read back by the library that wrote it. A message is its fields in order: number -> values.
 */
export type Field = bigint | Uint8Array;
export type Message = Map<number, Field[]>;

export function decode(bytes: Uint8Array): Message {
  const message: Message = new Map();
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined || shift > 63n) throw new Error(`a varint ends at byte ${at}`);
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    let value: Field;
    if ((tag & 7) === 0) value = varint();
    else if ((tag & 7) === 2) {
      const length = Number(varint());
      if (at + length > bytes.length) throw new Error(`field ${tag >> 3} is longer than its message`);
      value = bytes.subarray(at, (at += length));
    } else throw new Error(`wire type ${tag & 7} of field ${tag >> 3}`);
    const values = message.get(tag >> 3) ?? [];
    values.push(value);
    message.set(tag >> 3, values);
  }
  return message;
}

export const messagesOf = (message: Message, field: number): Message[] =>
  (message.get(field) ?? []).map((value) => decode(value as Uint8Array));
export const textOf = (message: Message, field: number): string =>
  new TextDecoder().decode(message.get(field)![0] as Uint8Array);
/** A signed 64-bit number; fields here are exact doubles. */
export const numberOf = (message: Message, field: number): number =>
  Number(BigInt.asIntN(64, message.get(field)![0] as bigint));

/**
 * Debug mode of a slab cache: what surrounds an object, and how damage is found (Linux: SLUB's red zones, poison,
 * user tracking). With it every allocation and every free is checked; nothing is kept on per-CPU lists.
 *
 *   start     +8                +8+size (to 8)   +8         +4          +16                    to 8
 *   | red left | object           | red right      | free link | alloc, free tracks | padding 0x5a |
 *
 *   red zones   0xbb while free, 0xcc while in use
 *   object      0x6b ... 0xa5 when freed and when handed out, so that a write after the free is seen at the next
 *               allocation or by a validation, and a read before the first write looks wrong
 *   tracks      owner and CPU of the last allocation, owner and CPU of the last free
 */
export const RED_LEFT = 8;
const RED_INACTIVE = 0xbb;
const RED_ACTIVE = 0xcc;
const POISON = 0x6b;
const POISON_END = 0xa5;
const PADDING = 0x5a;
const LINK_BYTES = 4;
const TRACK_BYTES = 16;

const up8 = (bytes: number): number => (bytes + 7) & ~7;
/** Always some red bytes behind the object, even where its size is a multiple of 8. */
const redRight = (objectSize: number): number => up8(objectSize + 1) - objectSize;

/** Byte offset of the free link from the object. */
export const debugLink = (objectSize: number): number => objectSize + redRight(objectSize);

/** Bytes a debugged object takes, red zone on the left included. */
export const debugSize = (objectSize: number): number =>
  up8(RED_LEFT + debugLink(objectSize) + LINK_BYTES + TRACK_BYTES);

function fill(ram: Uint8Array, object: number, objectSize: number, red: number): void {
  ram.fill(red, object - RED_LEFT, object);
  ram.fill(POISON, object, object + objectSize - 1);
  ram[object + objectSize - 1] = POISON_END;
  ram.fill(red, object + objectSize, object + debugLink(objectSize));
}

/** A new slab's object: free, without tracks. */
export function initFree(ram: Uint8Array, object: number, objectSize: number): void {
  fill(ram, object, objectSize, RED_INACTIVE);
  const tracks = object + debugLink(objectSize) + LINK_BYTES;
  ram.fill(0, tracks, tracks + TRACK_BYTES);
  ram.fill(PADDING, tracks + TRACK_BYTES, object - RED_LEFT + debugSize(objectSize));
}

export function markAllocated(ram: Uint8Array, object: number, objectSize: number, owner: number, cpu: number): void {
  fill(ram, object, objectSize, RED_ACTIVE);
  track(ram, object, objectSize, 0, owner, cpu);
}

export function markFreed(ram: Uint8Array, object: number, objectSize: number, owner: number, cpu: number): void {
  fill(ram, object, objectSize, RED_INACTIVE);
  track(ram, object, objectSize, 8, owner, cpu);
}

function track(ram: Uint8Array, object: number, objectSize: number, at: number, owner: number, cpu: number): void {
  const start = object + debugLink(objectSize) + LINK_BYTES + at;
  for (const [place, value] of [owner, cpu].entries())
    for (let byte = 0; byte < 4; byte++) ram[start + place * 4 + byte] = (value >>> (byte * 8)) & 0xff;
}

/** Who had it: for the message of a panic. */
export function tracks(ram: Uint8Array, object: number, objectSize: number): string {
  const start = object + debugLink(objectSize) + LINK_BYTES;
  const word = (at: number): number =>
    ram[start + at]! | (ram[start + at + 1]! << 8) | (ram[start + at + 2]! << 16) | (ram[start + at + 3]! << 24);
  return `allocated by ${word(0)} on CPU ${word(4)}, freed by ${word(8)} on CPU ${word(12)}`;
}

function firstOther(ram: Uint8Array, from: number, to: number, value: number): number {
  for (let at = from; at < to; at++) if (ram[at] !== value) return at;
  return -1;
}

/** What is wrong with an object that should be free or in use; undefined when it is whole. */
export function damage(ram: Uint8Array, object: number, objectSize: number, inUse: boolean): string | undefined {
  const red = inUse ? RED_ACTIVE : RED_INACTIVE;
  const link = debugLink(objectSize);
  const end = object - RED_LEFT + debugSize(objectSize);
  const say = (what: string, at: number): string | undefined =>
    at < 0 ? undefined : `${what} overwritten at offset ${at - object}: 0x${ram[at]!.toString(16)}`;
  const found =
    say("left red zone", firstOther(ram, object - RED_LEFT, object, red)) ??
    say("right red zone", firstOther(ram, object + objectSize, object + link, red)) ??
    say("padding", firstOther(ram, object + link + LINK_BYTES + TRACK_BYTES, end, PADDING));
  if (found !== undefined || inUse) return found;
  const last = object + objectSize - 1;
  return (
    say("poison", firstOther(ram, object, last, POISON)) ?? (ram[last] === POISON_END ? undefined : say("poison", last))
  );
}

/**
 * Two independent 32-bit hashes of a run of words in one pass: to find equal contents among millions, not against an
 * adversary. Each lane is a Murmur3 body (Appleby 2011) with constants of its own; about a nanosecond a word.
 *
 * - hashWords(words, at, count, into, to)    lanes into[to] and into[to + 1]
 * - placedHash(place, one, two)              of a content at a place, so that places and contents can be summed to a key:
 *                                            every bit of all three reaches every bit of the result
 */
const rotl = (x: number, by: number): number => (x << by) | (x >>> (32 - by));

/** All bits of a lane reach all others. */
function finish(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}

export function hashWords(words: Int32Array, at: number, count: number, into: Int32Array, to: number): void {
  let one = count;
  let two = ~count;
  for (let n = at; n < at + count; n++) {
    const word = words[n]!;
    one = (Math.imul(rotl(one ^ Math.imul(word, 0xcc9e2d51), 13), 5) + 0xe6546b64) | 0;
    two = (Math.imul(rotl(two + Math.imul(word, 0x9e3779b1), 15), 0x85ebca77) ^ word) | 0;
  }
  into[to] = finish(one);
  into[to + 1] = finish(two);
}

export const placedHash = (place: number, one: number, two: number): number =>
  finish(finish(finish(place + 0x9e3779b9) ^ one) + two);

/**
 * What `orrery ext4 mkfs` is told, as makeExt4() takes it: mke2fs's words for features, a uuid, identities from a seed.
 *
 * - readFeatures(text)       "a,^b,...": on top of mke2fs's defaults for ext4; "none," in front: on top of nothing
 * - readUuid(text), uuidText(bytes)
 * - identity(seed)           uuid and hash seed, the same for the same seed
 *
 * UserError for a word that is unknown, with the nearest one, or that names what cannot be made.
 */
import { DEFAULT_FEATURES, ext4Layout, MADE_FEATURES } from "../../kernel/index.ts";
import type { Features } from "../../kernel/index.ts";
import { next32, prng } from "../../kernel/lib/prng.ts";
import { UserError } from "../cli/exit.ts";
import { suggestion } from "../cli/nearest.ts";

const { COMPAT, INCOMPAT, RO_COMPAT } = ext4Layout;

/** Other names that mke2fs knows. */
const ALIASES: Readonly<Record<string, string>> = { extents: "extent", gdt_csum: "uninit_bg" };
const WORDS = [
  { field: "compat", names: COMPAT, made: MADE_FEATURES.compat },
  { field: "incompat", names: INCOMPAT, made: MADE_FEATURES.incompat },
  { field: "roCompat", names: RO_COMPAT, made: MADE_FEATURES.roCompat },
] as const;

const made = (names: Readonly<Record<string, number>>, bits: number): string[] =>
  Object.keys(names).filter((name) => (names[name]! & bits) !== 0);

export function readFeatures(text: string): Features {
  const known = WORDS.flatMap(({ names, made: bits }) => made(names, bits));
  const words = text.split(",");
  let result: Features = DEFAULT_FEATURES;
  if (words[0] === "none") {
    result = { compat: 0, incompat: 0, roCompat: 0 };
    words.shift();
  }
  for (const word of words) {
    const off = word.startsWith("^");
    const typed = off ? word.slice(1) : word;
    const name = ALIASES[typed] ?? typed;
    const found = WORDS.find(({ names }) => Object.hasOwn(names, name));
    if (found === undefined) throw new UserError(`--features: there is no feature ${typed}${suggestion(name, known)}`);
    const bit = (found.names as Readonly<Record<string, number>>)[name]!;
    if (!off && (found.made & bit) === 0)
      throw new UserError(`--features: ${name} cannot be made; these can: ${known.join(", ")}`);
    result = { ...result, [found.field]: off ? result[found.field] & ~bit : result[found.field] | bit };
  }
  return result;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function readUuid(text: string): Uint8Array {
  if (!UUID.test(text)) throw new UserError(`--uuid ${text} is no UUID, such as 01234567-89ab-4cde-8f01-23456789abcd`);
  return Uint8Array.from(Buffer.from(text.replaceAll("-", ""), "hex"));
}

export function uuidText(uuid: Uint8Array): string {
  const hex = Buffer.from(uuid).toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** Bytes of s_volume_name. */
const LABEL_BYTES = 16;

export function readLabel(text: string): Uint8Array {
  const bytes = Buffer.from(text);
  if (bytes.length > LABEL_BYTES || bytes.includes(0))
    throw new UserError(`--label ${text} has ${bytes.length} bytes: at most ${LABEL_BYTES} are possible`);
  return bytes;
}

/** Random UUIDs say so in two places (RFC 9562, 5.4). */
function randomUuid(state: Int32Array): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  for (let n = 0; n < 16; n += 4) view.setUint32(n, next32(state));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return bytes;
}

export function identity(seed: number): { readonly uuid: Uint8Array; readonly hashSeed: Uint8Array } {
  const state = prng(seed);
  return { uuid: randomUuid(state), hashSeed: randomUuid(state) };
}

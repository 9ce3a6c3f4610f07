/**
 * The character devices of /dev that need no hardware (Linux: drivers/char/mem.c, random.c), with their numbers there.
 *
 *   null      swallows all, gives nothing        full      gives zeros, takes nothing (ENOSPC)
 *   zero      swallows all, gives zeros          random, urandom   bytes that the machine's seed decides
 *   kmsg      lines for the console
 */
import { ENOSPC } from "../../abi/errno.ts";
import { next32, prng } from "../../lib/prng.ts";
import type { PseudoDevice, PseudoNode } from "./pseudo_fs.ts";

const MEM_MAJOR = 1;
/** As in struct stat's st_rdev while both numbers are below 256. */
const rdev = (minor: number): number => (MEM_MAJOR << 8) | minor;
/** /dev/urandom's own stream of the machine's seed. */
const RANDOM_STREAM = 0x0072_616e;

const swallow = (from: Uint8Array): number => from.length;
const zeros = (into: Uint8Array): number => into.fill(0).length;

const device = (path: string, minor: number, of: Omit<PseudoDevice, "rdev">, permissions = 0o666): PseudoNode => ({
  path,
  permissions,
  device: { rdev: rdev(minor), ...of },
});

export function devNodes(seed: number, console: (text: string) => void): readonly PseudoNode[] {
  const random = prng(seed ^ RANDOM_STREAM);
  const decoder = new TextDecoder();
  const bytes = (into: Uint8Array): number => {
    for (let at = 0; at < into.length; at++) into[at] = next32(random) >>> 24;
    return into.length;
  };
  const kmsg = (from: Uint8Array): number => {
    console(decoder.decode(from.slice()));
    return from.length;
  };
  return [
    device("null", 3, { read: () => 0, write: swallow }),
    device("zero", 5, { read: zeros, write: swallow }),
    device("full", 7, { read: zeros, write: () => ENOSPC }),
    device("random", 8, { read: bytes, write: swallow }),
    device("urandom", 9, { read: bytes, write: swallow }),
    device("kmsg", 11, { read: () => 0, write: kmsg }, 0o644),
  ];
}

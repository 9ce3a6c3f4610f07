/**
 * /sys: one value a file, written by the wings that have something to show or to set (Linux: fs/sysfs). `attribute` is
 * the usual node: a number or a word, with a line end added on reading and taken off on writing.
 */
import { EINVAL } from "../../abi/errno.ts";
import type { Errno } from "../../abi/units.ts";
import { PseudoFs, type PseudoNode } from "./pseudo_fs.ts";

/** `store` takes the text without its line end: 0, or why not (EINVAL). */
export function attribute(path: string, show: () => string | number, store?: (text: string) => 0 | Errno): PseudoNode {
  const text = (): string => `${show()}\n`;
  if (store === undefined) return { path, text };
  const write = (given: string): number | Errno => {
    const stored = store(given.replace(/\n$/, ""));
    return stored === 0 ? new TextEncoder().encode(given).length : stored;
  };
  return { path, text, write };
}

/** A store() for whole numbers from `least` to `most`. */
export const numberStore =
  (least: number, most: number, set: (value: number) => void) =>
  (text: string): 0 | Errno => {
    const value = Number(text);
    if (!/^\d+$/.test(text.trim()) || value < least || value > most) return EINVAL;
    set(value);
    return 0;
  };

export function sysFs(nodes: readonly PseudoNode[], bornSec = 0): PseudoFs {
  return new PseudoFs("sysfs", nodes, bornSec);
}

/**
 * An initramfs archive, as Documentation/driver-api/early-userspace/buffer-format of Linux draws it: `newc` headers of
 * 13 eight-digit hexadecimal fields after the magic 070701, name and data each padded to 4 bytes, `TRAILER!!!` at the end.
 */
export interface CpioEntry {
  readonly path: string;
  /** Type and permissions, as st_mode. */
  readonly mode: number;
  /** A file's content or a link's target. */
  readonly data?: Uint8Array;
}

export const DIRECTORY = 0o040755;
export const PROGRAM = 0o100755;
export const LINK = 0o120777;

export function cpio(entries: readonly CpioEntry[]): Buffer {
  const parts: Uint8Array[] = [];
  const all = [...entries, { path: "TRAILER!!!", mode: 0, data: new Uint8Array() }];
  for (const [inode, { path, mode, data = new Uint8Array() }] of all.entries()) {
    const fields = [inode, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, path.length + 1, 0];
    const head = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}${path}\0`);
    parts.push(head, padding(head.length), data, padding(data.length));
  }
  return Buffer.concat(parts);
}

const padding = (length: number): Uint8Array => new Uint8Array((4 - (length % 4)) % 4);

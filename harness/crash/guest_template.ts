/**
 * The guest of a campaign, booted once, when it is first needed, and stopped before it has touched its disk: whoever
 * records and whoever judges goes on from there, each with a disk of its own.
 *
 * - guestTemplate(fs, sizeBytes, options)
 * - template.clone(disk)        a guest on that disk, of the size that was said
 */
import { join } from "node:path";
import { EXIT, UserError } from "../cli/exit.ts";
import { SparseDisk } from "../disk/sparse.ts";
import { serveNbd } from "../nbd/server.ts";
import type { NbdAddress } from "../nbd/server.ts";
import { makeTemplate } from "../qemu/clone.ts";
import type { Template } from "../qemu/clone.ts";
import { bootGuest } from "../qemu/guest.ts";
import type { Guest, GuestOptions } from "../qemu/guest.ts";
import { runFolder } from "../qemu/open_things.ts";
import type { GuestFs } from "./guest_fs.ts";

export interface GuestTemplate {
  readonly fs: GuestFs;
  clone(disk: NbdAddress): Promise<Guest>;
  close(): Promise<void>;
}

export function guestTemplate(
  fs: GuestFs,
  sizeBytes: number,
  options: Omit<GuestOptions, "disk" | "modules">,
): GuestTemplate {
  let booting: Promise<Template> | undefined;
  const boot = async (): Promise<Template> => {
    const folder = runFolder();
    const server = await serveNbd(new SparseDisk(sizeBytes), { path: join(folder.path, "boot") });
    try {
      const guest = await bootGuest({ ...options, modules: fs.modules, disk: server.address });
      await needFs(guest, fs);
      return await makeTemplate(guest);
    } finally {
      await server.close();
      folder.remove();
    }
  };
  return {
    fs,
    clone: async (disk) => (await (booting ??= boot())).clone(disk),
    // One that did not boot has said so to whoever wanted a clone.
    close: async () => (await booting?.catch(() => undefined))?.remove(),
  };
}

/** A module that did not load is silent: the file system is missing from the kernel's list. */
async function needFs(guest: Guest, { name }: GuestFs): Promise<void> {
  const { output } = await guest.run("cat /proc/filesystems");
  if (output.split("\n").some((line) => line.trim().split(/\s/).at(-1) === name)) return;
  await guest.cut();
  throw new UserError(`the guest's kernel has no ${name}: its module did not load`, EXIT.tool);
}

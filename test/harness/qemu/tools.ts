/** Whether the QEMU tests can run here; each says so in its name when it is skipped. */
import { guestFiles } from "../../../harness/qemu/kernel_package.ts";
import { TOOLS } from "../../../harness/tools.js";
import { findTool } from "../../../harness/qemu/packages.ts";

export const qemu = findTool("qemu-system-x86_64") !== undefined;

/** The guest's kernel is fetched once, by the first test or command that needs it; without a network there is none. */
function haveGuest(): boolean {
  if (!qemu || findTool("busybox") === undefined) return false;
  try {
    guestFiles();
    return true;
  } catch {
    return false;
  }
}

export const guest = haveGuest();
export const ext4Tools = TOOLS["ext4"]!.every(({ program }) => findTool(program) !== undefined);

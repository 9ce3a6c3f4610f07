/** Whether the QEMU tests can run here; each says so in its name when it is skipped. */
import { haveGuestFiles } from "../../../harness/qemu/kernel_package.ts";
import { findTool } from "../../../harness/qemu/packages.ts";

export const qemu = findTool("qemu-system-x86_64") !== undefined;

/** Tests fetch nothing: `orrery guest run` has fetched the guest's kernel, or they are skipped. */
export const guest = qemu && findTool("busybox") !== undefined && haveGuestFiles();

export const ext4Tools = findTool("mkfs.ext4") !== undefined && findTool("e2fsck") !== undefined;

/** Whether the QEMU tests can run here; each says so in its name when it is skipped. */
import { findTool } from "../../../harness/qemu/packages.ts";

export const qemu = findTool("qemu-system-x86_64") !== undefined;

/**
 * The programs outside Node that the QEMU side needs, and the Debian packages that bring them: the one list, also for
 * `doctor`. Nothing is installed by us; a missing program is one line and exit code 4.
 *
 * - TOOLS            program -> package
 * - findTool(name)   its path, or undefined
 * - needTool(name, why)   its path, or a UserError that names the one command that installs it
 */
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join } from "node:path";
import { EXIT, UserError } from "../cli/exit.ts";

export const TOOLS = {
  "qemu-system-x86_64": "qemu-system-x86",
  busybox: "busybox-static",
  mkfifo: "coreutils",
  "mkfs.ext4": "e2fsprogs",
  e2fsck: "e2fsprogs",
  debugfs: "e2fsprogs",
  "apt-get": "apt",
  "dpkg-deb": "dpkg",
  xz: "xz-utils",
} as const;
export type Tool = keyof typeof TOOLS;

/** Fetched and unpacked by harness/qemu/kernel_package.ts, never installed. */
export const GUEST_KERNEL_PACKAGE = "linux-image-cloud-amd64";

/** Administrators' programs are not on every user's PATH. */
const SYSTEM_FOLDERS = ["/usr/sbin", "/sbin"];

export function findTool(name: Tool): string | undefined {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter).filter((f) => f !== ""), ...SYSTEM_FOLDERS];
  return folders.map((folder) => join(folder, name)).find(isProgram);
}

export function needTool(name: Tool, why: string): string {
  const found = findTool(name);
  if (found !== undefined) return found;
  throw new UserError(`cannot ${why}: ${name} is not on PATH; run "apt-get install ${TOOLS[name]}"`, EXIT.tool);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

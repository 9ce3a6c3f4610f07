/**
 * The programs outside Node that this folder needs. harness/tools.js knows those that `orrery doctor` speaks of; the
 * rest belongs to any Debian. A missing program is one line and exit code 4.
 *
 * - findTool(name)        its path, or undefined
 * - needTool(name, why)   its path, or a UserError that names the one command that installs it
 */
import { EXIT, UserError } from "../cli/exit.ts";
import { TOOLS, aptCommand, findProgram } from "../tools.js";

/** Of the base system, or needed only for other kernels than Debian's. */
const BASE: Readonly<Record<string, string>> = {
  mkfifo: "coreutils",
  "apt-get": "apt",
  "dpkg-deb": "dpkg",
  xz: "xz-utils",
};

/** Fetched and unpacked by kernel_package.ts, never installed. */
export const GUEST_KERNEL_PACKAGE = "linux-image-cloud-amd64";

export const findTool = (name: string): string | undefined => findProgram(name);

export function needTool(name: string, why: string): string {
  const found = findProgram(name);
  if (found !== undefined) return found;
  const known = Object.values(TOOLS)
    .flat()
    .find(({ program }) => program === name);
  const tool = known ?? { program: name, package: BASE[name] ?? name, why };
  throw new UserError(`cannot ${why}: ${name} is not on PATH; run "${aptCommand([tool])}"`, EXIT.tool);
}

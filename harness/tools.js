/**
 * Programs of the system that some commands and tests use, by group, and their installation with apt. Plain JavaScript
 * of 2018: harness/bootstrap.js reads it before anything is installed; `orrery doctor` reads the same table.
 *
 * - missingTools(groups)    the tools of those groups that are not on this machine
 * - installTools(groups)    Debian and Ubuntu, as root or with password-less sudo: installs what is missing, after saying
 *                           so in one line; ORRERY_APT=0 forbids it. Returns what is still missing
 * - TESTED                  the groups that tests in the tree need today; a test whose tool is missing is skipped, visibly
 */
import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync } from "node:fs";
import { delimiter, join } from "node:path";

/** @typedef {{ program: string, package: string, why: string }} Tool */

/** @type {Record<string, Tool[]>} */
export const TOOLS = {
  c: [{ program: "gcc", package: "gcc", why: "C twins in the benchmarks" }],
  ext4: [
    { program: "mkfs.ext4", package: "e2fsprogs", why: "file systems made by Linux's own tool" },
    { program: "e2fsck", package: "e2fsprogs", why: "Linux's own check of our file systems" },
    { program: "mke2fs", package: "e2fsprogs", why: "file systems with a tree of files in them" },
    { program: "dumpe2fs", package: "e2fsprogs", why: "Linux's own words for a superblock and its groups" },
    { program: "debugfs", package: "e2fsprogs", why: "a second reader of our file systems" },
  ],
  filesystems: [
    { program: "mkfs.xfs", package: "xfsprogs", why: "crash campaigns on xfs" },
    { program: "xfs_repair", package: "xfsprogs", why: "xfs's own check of crash states" },
    { program: "mkfs.btrfs", package: "btrfs-progs", why: "crash campaigns on btrfs" },
    { program: "btrfs", package: "btrfs-progs", why: "btrfs's own check of crash states" },
    { program: "mkfs.fat", package: "dosfstools", why: "crash campaigns on vfat" },
    { program: "fsck.fat", package: "dosfstools", why: "vfat's own check of crash states" },
    { program: "mkfs.exfat", package: "exfatprogs", why: "crash campaigns on exfat" },
    { program: "fsck.exfat", package: "exfatprogs", why: "exfat's own check of crash states" },
  ],
  zstd: [{ program: "zstd", package: "zstd", why: "unpacking of packed disk images" }],
  qemu: [
    { program: "qemu-system-x86_64", package: "qemu-system-x86", why: "real devices and real Linux guests" },
    { program: "busybox", package: "busybox-static", why: "user space of the Linux guests" },
  ],
};

/** @type {string[]} */
export const TESTED = ["qemu", "ext4", "filesystems"];

/** Administrators' programs are often not on a user's PATH, and still run. */
const ALSO = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/**
 * Full path of a program, or undefined.
 * @param {string} program
 * @returns {string | undefined}
 */
export function findProgram(program) {
  const folders = (process.env["PATH"] || "").split(delimiter).concat(ALSO);
  return folders
    .filter((folder) => folder !== "")
    .map((folder) => join(folder, program))
    .find(isRunnable);
}

/** @param {string} path */
function isRunnable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * @param {string[]} groups
 * @returns {Tool[]}
 */
export function missingTools(groups) {
  const tools = groups.map((group) => TOOLS[group] || []).reduce((all, some) => all.concat(some), []);
  return tools.filter((tool) => findProgram(tool.program) === undefined);
}

/**
 * The one command that installs them, as a person would type it.
 * @param {Tool[]} tools
 */
export const aptCommand = (tools) => `${isRoot() ? "" : "sudo "}apt-get install -y ${packagesOf(tools).join(" ")}`;

/**
 * @param {string[]} groups
 * @param {(line: string) => void} say
 * @returns {Tool[]}
 */
export function installTools(groups, say) {
  const missing = missingTools(groups);
  if (missing.length === 0) return missing;
  const names = missing.map((tool) => `${tool.program} (${tool.why})`).join(", ");
  if (process.env["ORRERY_APT"] === "0" || !existsSync("/usr/bin/apt-get") || !mayInstall()) {
    say(`orrery: missing: ${names}; tests that need them are skipped; to have them: ${aptCommand(missing)}`);
    return missing;
  }
  say(`orrery: installing ${packagesOf(missing).join(", ")} with apt (ORRERY_APT=0 forbids it)`);
  const install = ["install", "-y", "--no-install-recommends"].concat(packagesOf(missing));
  if (apt(install) !== 0) {
    // The package lists of a fresh machine may be absent or old.
    apt(["update"]);
    apt(install);
  }
  const still = missingTools(groups);
  if (still.length > 0)
    say(`orrery: apt did not install ${packagesOf(still).join(", ")}: tests that need them are skipped`);
  return still;
}

/** @param {Tool[]} tools */
const packagesOf = (tools) => Array.from(new Set(tools.map((tool) => tool.package)));

const isRoot = () => process.getuid !== undefined && process.getuid() === 0;

const mayInstall = () => isRoot() || spawnSync("sudo", ["-n", "true"], { stdio: "ignore" }).status === 0;

/** @param {string[]} words */
function apt(words) {
  const options = ["-qq", "-o", "DPkg::Lock::Timeout=120"].concat(words);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  /** @type {[string, string[]]} */
  const [program, rest] = isRoot() ? ["apt-get", options] : ["sudo", ["-n", "apt-get"].concat(options)];
  return spawnSync(program, rest, { stdio: ["ignore", "ignore", "inherit"], env }).status;
}

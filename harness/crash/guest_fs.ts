/**
 * How a real guest comes to each file system: the program that makes it, the modules that the guest loads, and what the
 * disk must be. What is checked afterwards is not here: ext4 by judge_ext4.ts, the others by foreign/.
 *
 * - GUEST_FS                      by name
 * - makeFs(fs, mkfs, path)        on an image file that is there
 */
import { execFileSync } from "node:child_process";
import { UserError } from "../cli/exit.ts";
import { needTool } from "../qemu/packages.ts";

export const FOREIGN_NAMES = ["xfs", "btrfs", "vfat", "exfat"] as const;
export type ForeignName = (typeof FOREIGN_NAMES)[number];
export const GUEST_FS_NAMES = ["ext4", ...FOREIGN_NAMES] as const;
export type GuestFsName = (typeof GUEST_FS_NAMES)[number];

export interface GuestFs {
  readonly name: GuestFsName;
  readonly program: string;
  /** All words before the image: the user's, and what makes it quiet and as equal from run to run as the program can. */
  readonly args: (words: readonly string[]) => string[];
  readonly modules: readonly string[];
  readonly sizeBytes: number;
}

const WHY = "crash real guests";
const UUID = "6f727265-7279-4000-8000-000000000001";
const MIB = 2 ** 20;

/** -E may come once only. */
function mkfsExt4(words: readonly string[]): string[] {
  const seed = "hash_seed=6f727265-7279-4000-8000-000000000002";
  const at = words.indexOf("-E");
  const extended = at < 0 ? ["-E", seed] : ["-E", `${words[at + 1] ?? ""},${seed}`];
  const others = at < 0 ? words : [...words.slice(0, at), ...words.slice(at + 2)];
  return ["-q", "-F", "-U", UUID, ...extended, ...others];
}

export const GUEST_FS: Readonly<Record<GuestFsName, GuestFs>> = {
  ext4: { name: "ext4", program: "mkfs.ext4", args: mkfsExt4, modules: [], sizeBytes: 64 * MIB },
  // Below 300 MiB mkfs.xfs wants to be told that nobody keeps anything there.
  xfs: {
    name: "xfs",
    program: "mkfs.xfs",
    args: (words) => ["-q", "-f", "--unsupported", "-m", `uuid=${UUID}`, ...words],
    modules: ["xfs"],
    sizeBytes: 64 * MIB,
  },
  // It wants 109 MiB at least, with the default block groups.
  btrfs: {
    name: "btrfs",
    program: "mkfs.btrfs",
    args: (words) => ["-q", "-f", "-U", UUID, ...words],
    modules: ["btrfs"],
    sizeBytes: 128 * MIB,
  },
  // Its names are read with tables of their own.
  vfat: {
    name: "vfat",
    program: "mkfs.fat",
    args: (words) => ["--invariant", ...words],
    modules: ["vfat", "nls_cp437", "nls_ascii"],
    sizeBytes: 64 * MIB,
  },
  exfat: {
    name: "exfat",
    program: "mkfs.exfat",
    args: (words) => [...words],
    modules: ["exfat"],
    sizeBytes: 64 * MIB,
  },
};

export function makeFs({ program, args }: GuestFs, mkfs: string, path: string): void {
  const words = mkfs.split(/\s+/).filter((word) => word !== "");
  const tool = needTool(program, WHY);
  try {
    execFileSync(tool, [...args(words), path], { stdio: ["ignore", "ignore", "pipe"] });
  } catch (error) {
    const { stderr } = error as { readonly stderr?: Buffer };
    const said = stderr?.toString().replaceAll(path, "the image").trim().split("\n");
    // Usage texts come behind the reason.
    const reason = said?.find((line) =>
      /error|bad |invalid|illegal|unknown|too small|must be|cannot|larger/i.test(line),
    );
    throw new UserError(`${program} refuses "${mkfs}": ${reason ?? said?.at(-1) ?? String(error)}`);
  }
}

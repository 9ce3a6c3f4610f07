/**
 * The guest's kernel, from Debian's package: fetched by apt, unpacked without being installed, kept outside the
 * repository, never committed.
 *
 * - guestFiles(more)   kernel and modules; fetches and unpacks them the first time (27 MB, some seconds)
 *                      to ${XDG_CACHE_HOME:-~/.cache}/orrery/guest. `more` names modules beyond those that every guest
 *                      loads: they come with what they depend on, and are unpacked when they are first asked for
 *
 * The compressed image in the package is unpacked to the ELF kernel in it: under software emulation, decompressing at
 * each boot costs more than the boot itself.
 */
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { EXIT, UserError } from "../cli/exit.ts";
import { unlz4 } from "./lz4.ts";
import { withDependencies } from "./modules.ts";
import { GUEST_KERNEL_PACKAGE, findTool, needTool } from "./packages.ts";

/** What the guest needs beyond what is built in, in the order in which it must be loaded. */
const MODULES = [
  "virtio_ring",
  "virtio",
  "virtio_pci_legacy_dev",
  "virtio_pci_modern_dev",
  "virtio_pci",
  "virtio_blk",
  "virtio_console",
] as const;

export interface GuestFiles {
  readonly kernel: string;
  /** In load order. */
  readonly modules: readonly string[];
  /** The kernel's release, for reports. */
  readonly release: string;
}

const cacheFolder = (): string => join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "orrery");
const guestFolder = (): string => join(cacheFolder(), "guest");

export function guestFiles(more: readonly string[] = []): GuestFiles {
  const release = unpackedReleases().at(-1) ?? unpack(fetchPackage());
  const folder = join(guestFolder(), release);
  const modules = [...MODULES, ...furtherModules(folder, release, more)];
  return { release, kernel: join(folder, "kernel"), modules: modules.map((name) => join(folder, `${name}.ko`)) };
}

/** In load order. */
function furtherModules(folder: string, release: string, names: readonly string[]): string[] {
  let tree: PackageTree | undefined;
  const bytesOf = (name: string): Buffer => {
    const file = join(folder, `${name}.ko`);
    if (existsSync(file)) return readFileSync(file);
    tree ??= unpackTree(fetchPackage());
    if (tree.release !== release)
      throw new UserError(`the guest's kernel is ${release}, its package here ${tree.release}: delete ${folder}`);
    const bytes = moduleBytes(tree.modules, name);
    // Under its name only when it is complete: another process may look for it now.
    const fresh = join(tree.folder, "module");
    writeFileSync(fresh, bytes);
    renameSync(fresh, file);
    return bytes;
  };
  try {
    return withDependencies(names, bytesOf);
  } finally {
    tree?.remove();
  }
}

/** A folder appears under its name only when it is complete. */
function unpackedReleases(): string[] {
  if (!existsSync(guestFolder())) return [];
  return readdirSync(guestFolder(), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && /^\d/.test(entry.name))
    .map((entry) => entry.name)
    .sort();
}

/** Path of the package file. One that somebody put into the folder by hand will do. */
function fetchPackage(): string {
  const folder = guestFolder();
  mkdirSync(folder, { recursive: true });
  const there = readdirSync(folder).find((name) => name.startsWith("linux-image-") && name.endsWith(".deb"));
  if (there !== undefined) return join(folder, there);
  const apt = needTool("apt-get", "fetch the guest's kernel");
  // The name without a version only depends on the package that has the kernel.
  const depends = run("apt-cache", ["depends", GUEST_KERNEL_PACKAGE], folder);
  const name = /Depends: (linux-image-\S+)/.exec(depends ?? "")?.[1];
  if (name === undefined) throw unavailable(GUEST_KERNEL_PACKAGE, "apt knows no such package");
  if (run(apt, ["-q", "-o", "APT::Sandbox::User=root", "download", name], folder) === undefined)
    throw unavailable(name, "it could not be downloaded");
  const fetched = readdirSync(folder).find((file) => file.startsWith(`${name}_`) && file.endsWith(".deb"));
  if (fetched === undefined) throw unavailable(name, "apt left no file");
  return join(folder, fetched);
}

const unavailable = (name: string, why: string): UserError =>
  new UserError(
    `the guest's kernel is not here and ${why}; with a network run ` +
      `"apt-get update && mkdir -p ${guestFolder()} && cd ${guestFolder()} && apt-get download ${name}"`,
    EXIT.tool,
  );

/** Standard output, or undefined when the program failed. */
function run(program: string, args: readonly string[], cwd: string): string | undefined {
  try {
    return execFileSync(program, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  } catch {
    return undefined;
  }
}

interface PackageTree {
  readonly folder: string;
  readonly release: string;
  readonly image: string;
  /** Folder of the modules. */
  readonly modules: string;
  remove(): void;
}

function unpackTree(packageFile: string): PackageTree {
  const folder = mkdtempSync(join(guestFolder(), "unpack-"));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  try {
    const tree = join(folder, "tree");
    if (run(needTool("dpkg-deb", "unpack the guest's kernel"), ["-x", packageFile, tree], folder) === undefined)
      throw new UserError(`cannot unpack ${packageFile}: it is damaged; delete it and run the command again`);
    const name = readdirSync(join(tree, "boot")).find((file) => file.startsWith("vmlinuz-"))!;
    const release = name.slice("vmlinuz-".length);
    return { folder, release, image: join(tree, "boot", name), modules: join(tree, "lib/modules", release), remove };
  } catch (error) {
    remove();
    throw error;
  }
}

function unpack(packageFile: string): string {
  const tree = unpackTree(packageFile);
  const { release } = tree;
  try {
    const ready = join(tree.folder, release);
    mkdirSync(ready);
    for (const name of MODULES) writeFileSync(join(ready, `${name}.ko`), moduleBytes(tree.modules, name));
    const packed = readFileSync(tree.image);
    writeFileSync(join(ready, "kernel"), elfKernel(packed) ?? packed);
    if (!existsSync(join(guestFolder(), release))) renameSync(ready, join(guestFolder(), release));
    return release;
  } finally {
    tree.remove();
  }
}

/** Newer packages compress their modules. */
function moduleBytes(modules: string, name: string): Buffer {
  const files = readdirSync(modules, { recursive: true, encoding: "utf8" });
  const plain = files.find((file) => file.endsWith(`/${name}.ko`));
  if (plain !== undefined) return readFileSync(join(modules, plain));
  const packed = files.find((file) => file.endsWith(`/${name}.ko.xz`));
  if (packed === undefined) throw new UserError(`the guest's kernel package has no module ${name}`, EXIT.tool);
  return execFileSync(needTool("xz", "unpack the guest's modules"), ["-dc", join(modules, packed)], OUTPUT);
}

const OUTPUT = { maxBuffer: 256 << 20, stdio: ["pipe", "pipe", "ignore"] as ["pipe", "pipe", "ignore"] };
/** Fields of the boot protocol's header (Documentation/arch/x86/boot.rst). */
const SETUP_SECTS = 0x1f1;
const PAYLOAD_OFFSET = 0x248;
const PAYLOAD_LENGTH = 0x24c;
/** The ELF kernel in a bzImage that was packed with lz4 (Debian's cloud kernels) or xz; else undefined. */
function elfKernel(image: Buffer): Buffer | undefined {
  const start = (image[SETUP_SECTS]! + 1) * 512 + image.readUInt32LE(PAYLOAD_OFFSET);
  const payload = image.subarray(start, start + image.readUInt32LE(PAYLOAD_LENGTH));
  const kernel = unlz4(payload) ?? unxz(payload);
  return kernel?.toString("latin1", 1, 4) === "ELF" ? kernel : undefined;
}

/** Behind the packed kernel stand four bytes with its size. */
function unxz(payload: Buffer): Buffer | undefined {
  const xz = findTool("xz");
  if (xz === undefined || payload.toString("hex", 0, 6) !== "fd377a585a00") return undefined;
  try {
    return execFileSync(xz, ["-dc"], { ...OUTPUT, input: payload.subarray(0, -4) });
  } catch {
    return undefined;
  }
}

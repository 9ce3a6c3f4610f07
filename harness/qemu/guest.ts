/**
 * A real Linux guest on a disk of ours.
 *
 * - bootGuest(options)     from power-on to a guest that answers (1.5 to 2.5 s under software emulation)
 * - guest.run(command), guest.script(text)
 * - guest.cut()            the power goes: whatever has not reached the disk is lost
 *
 * The disk is any NBD export, in the guest /dev/vda with a volatile write cache: the guest's flushes arrive as NBD
 * flushes, and nothing in between caches (cache.direct, no detection of zeroes, discards passed on).
 */
import { copyFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { UserError } from "../cli/exit.ts";
import type { NbdAddress } from "../nbd/server.ts";
import { KVM_PROBE_MS, accelArgs, chosenAccel } from "./accel.ts";
import type { Accel } from "./accel.ts";
import { Agent } from "./agent.ts";
import type { CommandResult } from "./agent.ts";
import type { CpioEntry } from "./cpio.ts";
import { initramfs } from "./initramfs.ts";
import { guestFiles } from "./kernel_package.ts";
import type { RunFolder } from "./open_things.ts";
import { runFolder } from "./open_things.ts";
import { connectQmp } from "./qmp.ts";
import type { Qmp } from "./qmp.ts";
import { connectUnix } from "./sockets.ts";
import { qemuPath, startQemu } from "./spawn.ts";
import type { Qemu } from "./spawn.ts";

export interface GuestOptions {
  /** The export behind /dev/vda; none: a guest without a disk. */
  readonly disk?: NbdAddress;
  /** Instead of it: a raw image that QEMU opens itself, which nobody records. For comparison. */
  readonly image?: string;
  /** A kernel of the user's instead of the packaged one: virtio, ext4 and devtmpfs must be in it. */
  readonly kernel?: string;
  /** Modules of the packaged kernel beyond those that every guest loads; what they depend on comes with them. */
  readonly modules?: readonly string[];
  /** Programs and data in the guest's root besides busybox. */
  readonly files?: readonly CpioEntry[];
  readonly memoryMiB?: number;
  readonly cpus?: number;
  readonly accel?: Accel;
  /** How long the guest may take to boot. */
  readonly bootMs?: number;
  /** Ends the guest at once, also while it boots. */
  readonly stop?: AbortSignal;
}

/** With the choice of what runs it made. */
export type SettledOptions = GuestOptions & { readonly accel: "tcg" | "kvm" };

export const MEMORY_MIB = 160;
const BOOT_MS = 60_000;
const COMMAND_MS = 60_000;
const CONSOLE_LINES = 8;
const LAST_WORDS_MS = 500;

/** Quiet, no waiting for hardware that is not there, and panics end the guest. */
const KERNEL_COMMAND_LINE =
  "console=ttyS0 quiet loglevel=3 panic=-1 tsc=reliable no_timer_check nokaslr mitigations=off random.trust_cpu=on " +
  "audit=0 selinux=0 apparmor=0 raid=noautodetect i8042.noaux i8042.nokbd";

function driveArgs({ disk, image }: GuestOptions): string[][] {
  if (disk === undefined && image === undefined) return [];
  const unix = `server.type=unix,server.path=${disk?.path}`;
  const inet = `server.type=inet,server.host=127.0.0.1,server.port=${disk?.port}`;
  const nbd = `driver=nbd,${disk?.path === undefined ? inet : unix},cache.direct=on,detect-zeroes=off`;
  const raw = `driver=raw,file.driver=file,file.filename=${image}`;
  const device = "virtio-blk-pci-non-transitional,drive=n0,write-cache=on,discard=on,write-zeroes=on,queue-size=256";
  return [
    ["-blockdev", `${image === undefined ? nbd : raw},node-name=n0,cache.no-flush=off,discard=unmap`],
    ["-device", device],
  ];
}

/** Everything but the RAM and how the machine starts: equal for a template and its clones. */
export function guestArgs(folder: string, options: SettledOptions, ram: { file: string; share: boolean }): string[] {
  const mib = options.memoryMiB ?? MEMORY_MIB;
  return [
    accelArgs(options.accel),
    ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    ["-machine", "pc,memory-backend=ram", "-m", `${mib}M`, "-smp", String(options.cpus ?? 1)],
    ["-object", `memory-backend-file,id=ram,size=${mib}M,mem-path=${ram.file},share=${ram.share ? "on" : "off"}`],
    ["-qmp", `unix:${folder}/qmp,server=on,wait=off`],
    ["-serial", `file:${folder}/console`],
    ["-device", "virtio-serial-pci"],
    ["-chardev", `socket,id=commands,path=${folder}/commands,server=on,wait=off`],
    ["-device", "virtserialport,nr=1,chardev=commands,name=commands"],
    ["-chardev", `socket,id=stream,path=${folder}/stream,server=on,wait=off`],
    ["-device", "virtserialport,nr=2,chardev=stream,name=stream"],
    ...driveArgs(options),
  ].flat();
}

export class Guest {
  readonly qemu: Qemu;
  readonly qmp: Qmp;
  readonly agent: Agent;
  readonly folder: RunFolder;
  /** What a clone of it must repeat. */
  readonly options: SettledOptions;

  constructor(qemu: Qemu, qmp: Qmp, agent: Agent, folder: RunFolder, options: SettledOptions) {
    this.qemu = qemu;
    this.qmp = qmp;
    this.agent = agent;
    this.folder = folder;
    this.options = options;
  }

  run(command: string, ms = COMMAND_MS): Promise<CommandResult> {
    return this.agent.run(command, ms);
  }

  /** Runs a command that must succeed. */
  async must(command: string, ms = COMMAND_MS): Promise<string> {
    const { status, output } = await this.run(command, ms);
    if (status !== 0) throw new UserError(`the guest's "${command}" ended with ${status}: ${output.trim()}`);
    return output;
  }

  async cut(): Promise<void> {
    this.qemu.kill();
    await this.qemu.ended;
    this.agent.close();
    this.qmp.close();
    this.folder.remove();
  }
}

/** Connects to a QEMU that was started with guestArgs; on failure nothing of it stays. */
export async function attach(qemu: Qemu, folder: RunFolder, options: SettledOptions): Promise<Guest> {
  const { stop } = options;
  if (stop !== undefined) {
    stop.addEventListener("abort", qemu.kill);
    void qemu.ended.finally(() => stop.removeEventListener("abort", qemu.kill));
    if (stop.aborted) qemu.kill();
  }
  try {
    const qmp = await connectQmp(join(folder.path, "qmp"), qemu.ended);
    const commands = await connectUnix(join(folder.path, "commands"), qemu.ended);
    const stream = await connectUnix(join(folder.path, "stream"), qemu.ended);
    return new Guest(qemu, qmp, new Agent(commands, stream, qemu.ended), folder, options);
  } catch (error) {
    // A QEMU that refuses its arguments may do so while it is being connected to: its own words say more.
    const line = await Promise.race([
      qemu.ended,
      new Promise((resolve) => setTimeout(resolve, LAST_WORDS_MS, undefined)),
    ]);
    qemu.kill();
    folder.remove();
    throw typeof line === "string" ? new UserError(line) : error;
  }
}

async function bootsOnKvm(): Promise<boolean> {
  try {
    await (await bootGuest({ accel: "kvm", bootMs: KVM_PROBE_MS })).cut();
    return true;
  } catch {
    return false;
  }
}

export async function bootGuest(asked: GuestOptions): Promise<Guest> {
  qemuPath();
  const options = { ...asked, accel: await chosenAccel(asked.accel ?? "tcg", bootsOnKvm) };
  if (options.kernel !== undefined && !existsSync(options.kernel))
    throw new UserError(`cannot boot ${options.kernel}: no such file`);
  const files = guestFiles(options.modules);
  const folder = runFolder();
  writeFileSync(join(folder.path, "initrd"), initramfs(files, options.files));
  copyFileSync(options.kernel ?? files.kernel, join(folder.path, "kernel"));
  const ram = { file: join(folder.path, "ram"), share: true };
  const qemu = startQemu([
    ...guestArgs(folder.path, options, ram),
    "-kernel",
    join(folder.path, "kernel"),
    "-initrd",
    join(folder.path, "initrd"),
    "-append",
    KERNEL_COMMAND_LINE,
  ]);
  const guest = await attach(qemu, folder, options);
  try {
    await guest.agent.ready(options.bootMs ?? BOOT_MS);
    return guest;
  } catch (error) {
    const console = consoleTail(folder.path);
    await guest.cut();
    throw new UserError(`${(error as Error).message}; its console ended with: ${console}`);
  }
}

function consoleTail(folder: string): string {
  const file = join(folder, "console");
  const text = existsSync(file) ? readFileSync(file, "latin1") : "";
  const lines = text.split("\n").map((line) => line.trim());
  return (
    lines
      .filter((line) => line !== "")
      .slice(-CONSOLE_LINES)
      .join(" | ") || "nothing"
  );
}

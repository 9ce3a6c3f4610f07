/**
 * `orrery guest`: a real Linux guest under QEMU on a disk of ours.
 * - run          a script in the guest; its output, and its exit status as the command's own
 * - durability   does a disk keep what the guest's syncs promised? Ours and, as the control, one that ignores flushes
 */
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { choiceOption, formatOption, seedOption, wholeNumber } from "./args.ts";
import { EXIT, UserError } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import { emit } from "./output.ts";
import type { Format } from "./output.ts";
import { progressLine } from "./progress.ts";

interface GuestOptions {
  readonly kernel?: string;
  readonly memory: number;
  readonly cpus: number;
  readonly accel: "tcg" | "kvm" | "auto";
  readonly timeout: number;
  readonly format: Format;
}

interface RunOptions extends GuestOptions {
  readonly script: string;
  readonly disk?: string;
  readonly record?: string;
}

interface DurabilityOptions extends GuestOptions {
  readonly files: number;
  readonly images: number;
  readonly seed: number;
}

const machine = ({ kernel, memory, cpus, accel }: GuestOptions) => ({
  ...(kernel === undefined ? {} : { kernel }),
  memoryMiB: memory,
  cpus,
  accel,
});

function readScript(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === "ENOENT" ? "no such file" : code === "EISDIR" ? "it is a directory" : (code ?? "unreadable");
    throw new UserError(`cannot run ${path}: ${why}`);
  }
}

async function run(options: RunOptions): Promise<void> {
  const { script, disk: name, record, format } = options;
  const text = readScript(script);
  if (record !== undefined && name === undefined)
    throw new UserError("--record needs --disk: what should be recorded?");
  const { runOnGuest } = await import("../qemu/run_script.ts");
  await interruptible(async (stop) => {
    const parts: Buffer[] = [];
    const result = await runOnGuest({
      script: text,
      ...(name === undefined ? {} : { disk: name }),
      ...(record === undefined ? {} : { record }),
      machine: machine(options),
      timeoutMs: 1000 * options.timeout,
      stop,
      output: (bytes) => void (format === "json" ? parts.push(bytes) : process.stdout.write(bytes)),
    }).catch((error: unknown) => {
      if (!stop.aborted) throw error;
    });
    // After Ctrl-C there is no status; what the script had said is printed, and the log is whole.
    if (result === undefined) return;
    if (format === "json") {
      const document = { schema: 1, ...result, output: Buffer.concat(parts).toString() };
      emit(format, { document, rows: [] });
    }
    // The script's own status, as a shell would return it.
    process.exitCode = result.status;
  });
}

async function durable(options: DurabilityOptions): Promise<void> {
  const { files, images, seed, format } = options;
  const { durability } = await import("../qemu/durability.ts");
  const line = progressLine("durability");
  const progress = (done: number, total: number): void => line.count(done, total);
  const report = await durability({ files, images, seed, guest: machine(options), progress });
  line.end();
  const row = (disk: string, { fsckDamaged, ...verdict }: typeof report.honest) => ({ disk, ...verdict, fsckDamaged });
  emit(format, {
    document: { ...report },
    rows: [row("ours", report.honest), row("ignores flushes", report.lying)],
    title: `${files} files, ${report.writes} writes, ${report.flushes} flushes; seed ${seed}`,
    notes: ["caught: images in which a file that a sync had promised is missing or wrong"],
  });
  if (report.honest.filesLost > 0) process.exitCode = EXIT.invariant;
  else if (report.lying.caught < 0.9 * report.lying.catchable) process.exitCode = EXIT.missed;
}

const withMachine = (command: Command): Command =>
  command
    .option("--kernel <file>", "boot this kernel instead of Debian's (virtio, ext4 and devtmpfs built in)")
    .option("--memory <mib>", "the guest's memory, MiB", wholeNumber(96, 4096), 160)
    .option("--cpus <n>", "the guest's CPUs", wholeNumber(1, 16), 1)
    .addOption(
      choiceOption("--accel <how>", "tcg; kvm; auto: kvm where a guest boots on it", ["tcg", "kvm", "auto"], "tcg"),
    )
    .option("--timeout <s>", "seconds that the script may take", wholeNumber(1, 86_400), 600)
    .addOption(formatOption("json"));

export function register(program: Command): void {
  const guest = program.command("guest").description("real Linux guests on our disks");
  withMachine(guest.command("run"))
    .description("run a script in a guest; prints its output, returns its exit status")
    .requiredOption("--script <file>", "shell script; a disk is /dev/vda in it")
    .option("--disk <disk>", "mem:SIZE, a file that is there, or nbd:SOCKET")
    .option("--record <log>", "write a log of the disk's writes and flushes")
    .action(run);
  withMachine(guest.command("durability"))
    .description("crash images of a guest's disk: is there all that its syncs had promised?")
    .option("--files <n>", "files written and synced", wholeNumber(2, 2000), 40)
    .option("--images <n>", "crash images of each disk", wholeNumber(1, 10_000), 20)
    .addOption(seedOption())
    .action(durable);
}

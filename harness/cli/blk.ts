/**
 * `orrery blk`: the block drivers against devices.
 * - verify    random verified operations on any device of harness/blk/devices.ts
 * - hostile   devices and drivers that break the rules
 */
import type { Command } from "commander";
import type { HostileReport } from "../blk/hostile_device.ts";
import type { HostileDriverReport } from "../blk/hostile_driver.ts";
import type { VerifyJob, VerifyReport } from "../blk/verify.ts";
import { EXIT, UserError } from "./exit.ts";

const OPS_MAX = 100_000_000;
const SECTORS_MIN = 256;
const SECTORS_MAX = 2 ** 22;

/** A whole number in a range, or a UserError that names the option. */
export function wholeNumber(option: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isInteger(value) || value < min || value > max)
    throw new UserError(`${option} must be a whole number from ${min} to ${max}, not "${text}"`);
  return value;
}

export function chosen<Name extends string>(option: string, text: string, names: readonly Name[]): Name {
  const name = names.find((one) => one === text);
  if (name === undefined) throw new UserError(`${option} must be one of ${names.join(", ")}, not "${text}"`);
  return name;
}

/** One line on stderr, only where someone watches. */
export function progressTo(total: number, what: string): (done: number) => void {
  if (!process.stderr.isTTY) return () => {};
  return (done) => process.stderr.write(`\r${what} ${done}/${total}${done >= total ? "\n" : ""}`);
}

interface VerifyOptions {
  device: string;
  ops: string;
  seed: string;
  sectors: string;
  queues: string;
  queueSize: string;
  ring: string;
  indirect: boolean;
  eventIdx: boolean;
  inOrder: boolean;
  unmapped: boolean;
  qemuTimeout: string;
  format: string;
}

function verifyJob(options: VerifyOptions): VerifyJob {
  return {
    device: options.device,
    ops: wholeNumber("--ops", options.ops, 1, OPS_MAX),
    seed: wholeNumber("--seed", options.seed, 0, 2 ** 32 - 1),
    sectors: wholeNumber("--sectors", options.sectors, SECTORS_MIN, SECTORS_MAX),
    driver: {
      queues: wholeNumber("--queues", options.queues, 1, 64),
      queueSize: wholeNumber("--queue-size", options.queueSize, 4, 1024),
      packed: chosen("--ring", options.ring, ["split", "packed"]) === "packed",
      indirect: options.indirect,
      eventIdx: options.eventIdx,
      inOrder: options.inOrder,
    },
    unmapped: options.unmapped,
    qemuTimeoutMs: 1000 * wholeNumber("--qemu-timeout", options.qemuTimeout, 1, 3600),
  };
}

/** Runs a verify job in this thread, or wherever its device has to be run. */
async function runVerify(job: VerifyJob): Promise<VerifyReport> {
  const { DEVICES } = await import("../blk/devices.ts");
  const name = chosen(
    "--device",
    job.device,
    DEVICES.map((one) => one.name),
  );
  const opener = DEVICES.find((one) => one.name === name)!;
  if (opener.run !== undefined) return opener.run(job, progressTo(job.ops, "verified"));
  const { verify } = await import("../blk/verify.ts");
  const opened = await opener.open(job);
  try {
    return verify(opened, job, progressTo(job.ops, "verified"));
  } finally {
    opened.close();
  }
}

function printVerify(report: VerifyReport, format: string): void {
  if (format === "json") {
    process.stdout.write(`${JSON.stringify(report)}\n`);
    return;
  }
  const { device, ops, mismatches, imageEqual, iops, seed } = report;
  const verdict = mismatches === 0 && imageEqual ? "as the model" : `WRONG: ${report.firstMismatch ?? "image differs"}`;
  process.stdout.write(
    `${device}: ${ops} operations, ${mismatches} mismatches, image ${imageEqual ? "equal" : "different"}: ${verdict}\n` +
      `${Math.round(iops)} operations/s, checks included; seed ${seed}\n`,
  );
}

interface HostileOptions {
  side: string;
  cases: string;
  seed: string;
  oracle?: string;
  format: string;
}

async function runHostile(options: HostileOptions): Promise<HostileReport | HostileDriverReport> {
  const side = chosen("--side", options.side, ["driver", "device"]);
  const cases = wholeNumber("--cases", options.cases, 1, OPS_MAX);
  const seed = wholeNumber("--seed", options.seed, 0, 2 ** 32 - 1);
  const progress = progressTo(cases, "cases");
  if (options.oracle !== undefined) {
    const { ORACLES } = await import("../blk/devices.ts");
    const names = ORACLES.map((one) => one.name);
    const oracle = ORACLES.find((one) => one.name === chosen("--oracle", options.oracle!, names))!;
    if (side === "driver") throw new UserError(`--oracle compares devices: use it with --side device`);
    return oracle.run(cases, seed, progress);
  }
  if (side === "driver") return (await import("../blk/hostile_device.ts")).hostileDevice(cases, seed, progress);
  return (await import("../blk/hostile_driver.ts")).hostileDriver(cases, seed, progress);
}

function printDifferences({ differences, config }: HostileDriverReport): void {
  const rows = [
    ...differences.map(({ attack, count, ...ends }) => ({ ...ends, what: `${attack} (${count})` })),
    ...config,
  ];
  for (const { what, ours, theirs, reason } of rows)
    process.stdout.write(`differs: ${what}: ours ${ours}, theirs ${theirs}: ${reason ?? "NO REASON GIVEN"}\n`);
}

function printHostile(report: HostileReport | HostileDriverReport, format: string): void {
  if (format === "json") {
    process.stdout.write(`${JSON.stringify(report)}\n`);
    return;
  }
  const { side, cases, violations, firstViolation, firstViolationSeed, seed, casesPerSecond } = report;
  for (const [name, counts] of Object.entries(report.classes)) {
    const parts = Object.entries(counts).map(([key, count]) => `${key} ${count}`);
    process.stdout.write(`${name.padEnd(52)} ${parts.join(", ")}\n`);
  }
  if ("differences" in report) printDifferences(report);
  process.stdout.write(`${side} under attack: ${cases} cases, ${violations} violations; seed ${seed}, `);
  process.stdout.write(`${Math.round(casesPerSecond)} cases/s\n`);
  if (firstViolation !== null)
    process.stdout.write(
      `first: ${firstViolation}\nrepeat: orrery blk hostile --side ${side} --cases 1 --seed ${firstViolationSeed}\n`,
    );
}

export function register(program: Command): void {
  const blk = program.command("blk").description("block drivers against devices: verify, hostile");
  blk
    .command("verify")
    .description("random verified operations against a model; the medium is compared at the end")
    .requiredOption("--device <name>", "sim-mmio, sim-pci, sim-nvme, qemu-mmio, qemu-pci, qemu-nvme")
    .option("--ops <n>", "operations", "20000")
    .option("--seed <n>", "seed", "1")
    .option("--sectors <n>", "size of the disk, sectors of 512 bytes", "16384")
    .option("--queues <n>", "virtio queues", "1")
    .option("--queue-size <n>", "entries of a queue", "128")
    .option("--ring <kind>", "split or packed (virtio)", "split")
    .option("--no-indirect", "without indirect descriptors")
    .option("--no-event-idx", "without the event index")
    .option("--in-order", "in-order use, where the device offers it", false)
    .option("--unmapped", "DMA memory that cannot be mapped (simulated devices)", false)
    .option("--qemu-timeout <s>", "seconds that a QEMU may be silent", "10")
    .option("--format <format>", "text or json", "text")
    .action(async (options: VerifyOptions) => {
      const format = chosen("--format", options.format, ["text", "json"]);
      const report = await runVerify(verifyJob(options));
      printVerify(report, format);
      if (report.mismatches > 0 || !report.imageEqual) process.exitCode = EXIT.invariant;
    });
  blk
    .command("hostile")
    .description(
      "hostile devices against our driver (--side driver), hostile drivers against our device (--side device)",
    )
    .requiredOption("--side <side>", "which of ours is under attack: driver or device")
    .option("--cases <n>", "cases", "100000")
    .option("--seed <n>", "seed of the first case; case i has seed + i", "1")
    .option("--oracle <name>", "with --side device: compare with another device (qemu, qemu-pci)")
    .option("--format <format>", "text or json", "text")
    .action(async (options: HostileOptions) => {
      const format = chosen("--format", options.format, ["text", "json"]);
      const report = await runHostile(options);
      printHostile(report, format);
      if (report.violations > 0) process.exitCode = EXIT.invariant;
    });
}

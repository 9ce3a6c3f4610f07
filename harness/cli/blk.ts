/**
 * `orrery blk`: the block drivers against devices.
 *
 *   verify     random verified operations on any device of harness/blk/devices.ts; the medium is compared at the end
 *   hostile    devices and drivers that break the rules
 */
import type { Command } from "commander";
import { DEVICES, ORACLES } from "../blk/devices.ts";
import type { HostileReport } from "../blk/hostile_device.ts";
import type { HostileDriverReport } from "../blk/hostile_driver.ts";
import type { VerifyJob, VerifyReport } from "../blk/verify.ts";
import { choiceOption, formatOption, oneOf, seedOption, wholeNumber } from "./args.ts";
import { EXIT, UserError } from "./exit.ts";
import { emit } from "./output.ts";
import type { Format, Row } from "./output.ts";
import { progressLine } from "./progress.ts";

const OPS_MAX = 100_000_000;
/** The disk holds the largest request of the verifier with room to spare; its model is in memory. */
const SECTORS_MIN = 256;
const SECTORS_MAX = 2 ** 22;

interface VerifyOptions {
  readonly device: string;
  readonly ops: number;
  readonly seed: number;
  readonly sectors: number;
  readonly queues: number;
  readonly queueSize: number;
  readonly ring: "split" | "packed";
  readonly indirect: boolean;
  readonly eventIdx: boolean;
  readonly inOrder: boolean;
  readonly unmapped: boolean;
  readonly qemuTimeout: number;
  readonly format: Format;
}

interface HostileOptions {
  readonly side: "driver" | "device";
  readonly cases: number;
  readonly seed: number;
  readonly oracle?: string;
  readonly format: Format;
}

export function register(program: Command): void {
  const blk = program.command("blk").description("Block drivers against devices: simulated ones and QEMU's.");
  const devices = DEVICES.map(({ name }) => name);
  blk
    .command("verify")
    .description(
      "Random verified operations on a device, every answer against a model in memory; at the end the medium behind\nthe device is compared too. A difference ends with exit code 3.",
    )
    .addOption(choiceOption("--device <name>", "the device", devices, "sim-pci"))
    .option("--ops <n>", "operations", wholeNumber(1, OPS_MAX), 20_000)
    .addOption(seedOption())
    .option("--sectors <n>", "size of the disk, 512 bytes each", wholeNumber(SECTORS_MIN, SECTORS_MAX), 16_384)
    .option("--queues <n>", "virtio queues, where the device has as many", wholeNumber(1, 64), 1)
    .option("--queue-size <n>", "entries of a queue", wholeNumber(4, 1024), 128)
    .addOption(choiceOption("--ring <kind>", "virtio: format of the ring", ["split", "packed"], "split"))
    .option("--no-indirect", "virtio: without indirect descriptors")
    .option("--no-event-idx", "virtio: without the event index")
    .option("--in-order", "virtio: in-order use, where the device offers it", false)
    .option("--unmapped", "simulated devices: DMA memory that cannot be mapped", false)
    .option("--qemu-timeout <s>", "seconds that a QEMU may be silent", wholeNumber(1, 3600), 10)
    .addOption(formatOption("json"))
    .action(verifyCommand);
  blk
    .command("hostile")
    .description(
      "Devices that break the rules against our driver (--side driver), drivers that do against our device (--side\ndevice). Case i is wholly determined by seed + i; a violation ends with exit code 3.",
    )
    .requiredOption("--side <side>", "which of ours is under attack: driver or device", oneOf(["driver", "device"]))
    .option("--cases <n>", "cases", wholeNumber(1, OPS_MAX), 100_000)
    .addOption(seedOption())
    .option(
      "--oracle <name>",
      "with --side device: ask another device the same, and list the differences",
      oneOf(ORACLES.map(({ name }) => name)),
    )
    .addOption(formatOption("json"))
    .action(hostileCommand);
}

async function verifyCommand(options: VerifyOptions): Promise<void> {
  const { device, ops, seed, sectors, queues, queueSize, ring, indirect, eventIdx, inOrder, unmapped } = options;
  const driver = { queues, queueSize, packed: ring === "packed", indirect, eventIdx, inOrder };
  const job = { device, ops, seed, sectors, driver, unmapped, qemuTimeoutMs: 1000 * options.qemuTimeout };
  const report = await runVerify(job);
  const isRight = report.mismatches === 0 && report.imageEqual;
  const { schema: _schema, firstMismatch, ...row } = report;
  emit(options.format, {
    document: { ...report },
    rows: [row],
    title: `${device}: ${isRight ? "as the model" : (firstMismatch ?? "the medium differs from the model")}`,
    notes: [`seed ${seed}; again: orrery blk verify --device ${device} --ops ${ops} --seed ${seed}`],
  });
  if (!isRight) process.exitCode = EXIT.invariant;
}

/** Runs a verify job in this thread, or wherever its device has to be run. */
async function runVerify(job: VerifyJob): Promise<VerifyReport> {
  const opener = DEVICES.find(({ name }) => name === job.device)!;
  const line = progressLine(`blk verify ${job.device}`);
  const progress = (done: number): void => line.count(done, job.ops);
  try {
    if (opener.run !== undefined) return await opener.run(job, progress);
    const { verify } = await import("../blk/verify.ts");
    const opened = await opener.open(job);
    try {
      return verify(opened, job, progress);
    } finally {
      opened.close();
    }
  } finally {
    line.end();
  }
}

async function hostileCommand({ side, cases, seed, oracle, format }: HostileOptions): Promise<void> {
  if (oracle !== undefined && side === "driver")
    throw new UserError("--oracle compares devices: use it with --side device");
  const line = progressLine(`blk hostile ${side}`);
  const report = await runHostile(side, cases, seed, oracle, (done) => line.count(done, cases));
  line.end();
  const { violations, firstViolation, firstViolationSeed, casesPerSecond } = report;
  const rows = Object.entries(report.classes).map(([attack, counts]): Row => ({ attack, ...counts }));
  const repeat = `orrery blk hostile --side ${side} --cases 1 --seed ${firstViolationSeed}`;
  emit(format, {
    document: { ...report },
    rows,
    title: `${side} under attack: ${cases} cases, ${violations} violations`,
    notes: [
      ...("differences" in report ? differenceNotes(report) : []),
      ...(firstViolation === null ? [] : [`first: ${firstViolation}`, `again: ${repeat}`]),
      `seed ${seed}; ${Math.round(casesPerSecond)} cases/s`,
    ],
  });
  if (violations > 0) process.exitCode = EXIT.invariant;
}

async function runHostile(
  side: "driver" | "device",
  cases: number,
  seed: number,
  oracle: string | undefined,
  progress: (done: number) => void,
): Promise<HostileReport | HostileDriverReport> {
  if (oracle !== undefined) return ORACLES.find(({ name }) => name === oracle)!.run(cases, seed, progress);
  if (side === "driver") return (await import("../blk/hostile_device.ts")).hostileDevice(cases, seed, progress);
  return (await import("../blk/hostile_driver.ts")).hostileDriver(cases, seed, progress);
}

function differenceNotes({ differences, config }: HostileDriverReport): string[] {
  const rows = [
    ...differences.map(({ attack, count, ...ends }) => ({ ...ends, what: `${attack} (${count})` })),
    ...config,
  ];
  return rows.map(
    ({ what, ours, theirs, reason }) =>
      `differs: ${what}: ours ${ours}, theirs ${theirs}: ${reason ?? "NO REASON GIVEN"}`,
  );
}

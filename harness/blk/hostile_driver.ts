/**
 * Hostile driver against our virtio-blk device (and, as an oracle, against another one through the same faces): one
 * spoiled request a case. The device must end as the attack's row allows, touch neither the guard behind the buffers nor
 * the disk when the request did not end well, and work again after a reset.
 */
import type { Dma } from "../../kernel/abi/bus.ts";
import type { VirtioTransport } from "../../kernel/abi/virtio.ts";
import { nextBelow, prng, seedPrng } from "../../kernel/lib/prng.ts";
import { configDifferences } from "./config_oracle.ts";
import type { ConfigDifference } from "./config_oracle.ts";
import { DRIVER_ATTACKS, End, lay } from "./driver_attacks.ts";
import type { DriverAttack, DriverScene } from "./driver_attacks.ts";
import { report } from "./hostile_device.ts";
import type { HostileReport } from "./hostile_device.ts";
import { RawDriver } from "./raw_driver.ts";
import type { Outcome } from "./raw_driver.ts";
import { simVirtio } from "./sim_devices.ts";

/** Size of an attacked disk. */
export const HOSTILE_SECTORS = 256;
const RAM_BYTES = 1 << 20;
const WRITE = 2;

/** A device to attack. `settle` lets it work until its used ring moves, long if patient; `readMedium` shows its disk, where that is cheap. */
export interface Target {
  readonly dma: Dma;
  readonly transport: VirtioTransport;
  readonly sectors: number;
  settle(usedAddr: number, isPatient: boolean): void;
  readonly image?: Uint8Array;
}

export function endOf(outcome: Outcome): End {
  if (outcome.needsReset) return End.NeedsReset;
  if (outcome.used === 0) return End.Nothing;
  if (outcome.status === 0) return End.Ok;
  return outcome.status === 2 ? End.Unsupported : End.IoErr;
}

export function simTarget(kind: "mmio" | "pci"): Target {
  const shape = { sectors: HOSTILE_SECTORS, isVolatile: false, ramBytes: RAM_BYTES };
  const { ram, transport, bus, disk } = simVirtio(kind, shape, { queues: 1, queueSize: 16 });
  return { dma: ram, transport, sectors: HOSTILE_SECTORS, settle: () => bus.step(), image: disk.image };
}

/** One device under attack. */
export class Attacked {
  readonly target: Target;
  readonly #raw: RawDriver;
  readonly #before: Uint8Array | undefined;

  constructor(target: Target) {
    this.target = target;
    this.#raw = new RawDriver(target.dma, target.transport);
    this.#before = target.image?.slice();
  }

  /** Carries out the case; `random` has been seeded with it. */
  run(attack: DriverAttack, random: Int32Array, isPatient = false): { outcome: Outcome; wrong: string | undefined } {
    const raw = this.#raw;
    const none = { needsReset: false, used: 0, usedBytes: -1, status: 255 };
    if (!raw.start(attack.features ?? 0n)) return { outcome: none, wrong: "the device does not start" };
    const { image } = this.target;
    if (image !== undefined) this.#before!.set(image);
    const isRead = nextBelow(random, 2) === 0;
    const type = isRead ? 0 : 1;
    const sectors = 1 + nextBelow(random, 8);
    const sector = nextBelow(random, this.target.sectors - 8);
    const dataBytes = sectors * 512;
    const chain = [
      { addr: raw.headerAddr(), bytes: 16, flags: 0, next: 0 },
      { addr: raw.dataAddr(), bytes: dataBytes, flags: isRead ? WRITE : 0, next: 0 },
      { addr: raw.statusAddr(), bytes: 1, flags: WRITE, next: 0 },
    ];
    raw.setHeader(type, BigInt(sector));
    lay(raw, chain);
    raw.setAvail(0, 0);
    raw.setAvailIdx(1);
    const scene: DriverScene = { random, raw, type, dataBytes, chain, sectors: this.target.sectors };
    attack.spoil(scene);
    const fill = 1 + nextBelow(random, 255);
    raw.kick(fill);
    this.target.settle(raw.usedAddr(), isPatient);
    const outcome = raw.outcome();
    return { outcome, wrong: this.#judge(attack, outcome, isRead, sector, dataBytes, fill) };
  }

  #judge(
    attack: DriverAttack,
    outcome: Outcome,
    isRead: boolean,
    sector: number,
    dataBytes: number,
    fill: number,
  ): string | undefined {
    const end = endOf(outcome);
    if (!attack.ends.includes(end)) return `ended ${end}, not ${attack.ends.join(" or ")}`;
    if (attack.wild === true) this.#raw.setGuard();
    else if (!this.#raw.guardIsWhole()) return "the device wrote behind the buffers";
    const { image } = this.target;
    if (image === undefined || attack.bends === true) return undefined;
    const at = sector * 512;
    if (end !== End.Ok) return Buffer.compare(image, this.#before!) === 0 ? undefined : "the disk was changed";
    const data = this.#raw.readData().subarray(0, dataBytes);
    if (Buffer.compare(data, image.subarray(at, at + dataBytes)) !== 0) return "data and disk differ";
    if (!isRead && image[at] !== fill) return "the write did not arrive";
    const expected = isRead ? dataBytes + 1 : 1;
    return outcome.usedBytes === expected ? undefined : `used length ${outcome.usedBytes}, not ${expected}`;
  }
}

export interface DriverClassCount {
  cases: number;
  [end: string]: number;
}

/** Differences between two devices on the same case, by attack. */
export interface OracleDifference {
  readonly attack: string;
  readonly ours: End;
  readonly theirs: End;
  /** Why that is so; null: nobody has said, which is a failure. */
  readonly reason: string | null;
  count: number;
}

export type HostileDriverReport = HostileReport & {
  readonly differences: readonly OracleDifference[];
  /** What the two devices say about themselves differently; without an oracle none. */
  readonly config: readonly ConfigDifference[];
};

export class HostileDriverRun {
  readonly classes = new Map<string, DriverClassCount>();
  readonly differences = new Map<string, OracleDifference>();
  readonly #attacks: readonly DriverAttack[];
  readonly #ours: readonly Attacked[];
  readonly #oracle: Attacked | undefined;
  readonly #random = prng(0);

  constructor(oracle?: Target, attacks: readonly DriverAttack[] = DRIVER_ATTACKS) {
    this.#attacks = attacks;
    this.#ours = [new Attacked(simTarget("mmio")), new Attacked(simTarget("pci"))];
    this.#oracle = oracle === undefined ? undefined : new Attacked(oracle);
    for (const { name } of attacks) this.classes.set(name, { cases: 0 });
  }

  run(seed: number): string | undefined {
    const random = this.#random;
    seedPrng(random, seed);
    const ours = this.#ours[nextBelow(random, this.#ours.length)]!;
    const attack = this.#attacks[nextBelow(random, this.#attacks.length)]!;
    const count = this.classes.get(attack.name)!;
    count.cases++;
    try {
      const start = random.slice();
      const { outcome, wrong } = ours.run(attack, random);
      const end = endOf(outcome);
      count[end] = (count[end] ?? 0) + 1;
      if (wrong !== undefined) return `${attack.name}: ${wrong}`;
      if (this.#oracle === undefined) return undefined;
      random.set(start);
      const theirs = this.#oracle.run(attack, random).outcome;
      if (endOf(theirs) !== End.Nothing || end === End.Nothing) return this.#compare(attack, outcome, theirs);
      // Nothing yet, or nothing at all? A device in another process may have been kept from its work.
      random.set(start);
      return this.#compare(attack, outcome, this.#oracle.run(attack, random, true).outcome);
    } catch (error) {
      return `${attack.name}: the device threw: ${error instanceof Error ? error.message : String(error)}`;
    }
  }

  #compare(attack: DriverAttack, mine: Outcome, other: Outcome): string | undefined {
    const ours = endOf(mine);
    const theirs = endOf(other);
    const isSame = ours === theirs && (ours === End.NeedsReset || mine.usedBytes === other.usedBytes);
    if (isSame) return undefined;
    const key = `${attack.name}/${ours}/${theirs}`;
    const reason = attack.qemu ?? null;
    const row = this.differences.get(key) ?? { attack: attack.name, ours, theirs, reason, count: 0 };
    row.count++;
    this.differences.set(key, row);
    return reason === null
      ? `${attack.name}: ours ${ours} (${mine.usedBytes}), the oracle ${theirs} (${other.usedBytes})`
      : undefined;
  }
}

export function hostileDriver(
  cases: number,
  seed: number,
  progress: (done: number) => void = () => {},
  oracle?: Target,
): HostileDriverReport {
  const run = new HostileDriverRun(oracle);
  const config = oracle === undefined ? [] : configDifferences(simTarget("mmio").transport, oracle.transport);
  const base = report("device", run, run.classes, cases, seed, progress);
  const unexplained = config.find(({ reason }) => reason === null);
  const differences = [...run.differences.values()];
  if (unexplained === undefined) return { ...base, differences, config };
  const { what, ours, theirs } = unexplained;
  const firstViolation = base.firstViolation ?? `${what}: ours ${ours}, the oracle ${theirs}`;
  return { ...base, violations: base.violations + 1, firstViolation, differences, config };
}

/**
 * Hostile device against our driver: cases by seed, each one attack on a machine that starts fresh. Whatever the device
 * does, the driver must end every request exactly once, copy nothing into the buffer of a read that failed, deliver
 * only what the disk holds for one that ended well, keep its hands off the rest of memory, come to an end, and work
 * again after a restart with the device honest.
 */
import { BlockOp, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockRequest } from "../../kernel/abi/block.ts";
import { blockRequest, probeVirtioBlk } from "../../drivers/index.ts";
import type { VirtioBlk } from "../../drivers/index.ts";
import { next32, nextBelow, prng, seedPrng } from "../../kernel/lib/prng.ts";
import { DEVICE_ATTACKS } from "./device_attacks.ts";
import type { DeviceAttack, Scene } from "./device_attacks.ts";
import { HostileTransport } from "./hostile_transport.ts";
import { RingView } from "./ring_view.ts";
import type { SeenChain } from "./ring_view.ts";
import { simVirtio } from "./sim_devices.ts";
import type { SimVirtio } from "./sim_devices.ts";

const SECTORS = 512;
const QUEUE_SIZE = 16;
const RAM_BYTES = 1 << 20;
/** Sectors of one request at most: each has a range of its own, so that results can be compared. */
const SPAN = 4;
const ROUNDS = 4;
const WAIT_NS = 1_000;
const BEFORE = 0xa5;
const UNTOUCHED = new Uint8Array(SPAN * SECTOR_SIZE).fill(BEFORE);

interface Machine {
  readonly sim: SimVirtio;
  readonly transport: HostileTransport;
  readonly driver: VirtioBlk;
  readonly isPacked: boolean;
}

export interface ClassCount {
  cases: number;
  /** Requests that ended well, that ended with an error, and that only the restart ended. */
  ok: number;
  failed: number;
  cancelled: number;
  /** Cases after which the driver had declared the device broken, or had refused to start. */
  broken: number;
}

export interface HostileReport {
  readonly schema: 1;
  readonly side: "driver" | "device";
  readonly cases: number;
  readonly seed: number;
  readonly violations: number;
  /** What went wrong first, and the seed that shows it alone (`--cases 1`). */
  readonly firstViolation: string | null;
  readonly firstViolationSeed: number | null;
  readonly classes: Readonly<Record<string, Record<string, number>>>;
  readonly seconds: number;
  readonly casesPerSecond: number;
}

export class HostileDeviceRun {
  readonly classes = new Map<string, ClassCount>();
  readonly #attacks: readonly DeviceAttack[];
  readonly #machines: Machine[] = [];
  readonly #random = prng(0);

  /** `format`: only machines with that ring. */
  constructor(attacks: readonly DeviceAttack[] = DEVICE_ATTACKS, format?: "split" | "packed") {
    this.#attacks = attacks;
    for (const attack of attacks)
      this.classes.set(attack.name, { cases: 0, ok: 0, failed: 0, cancelled: 0, broken: 0 });
    for (const kind of ["mmio", "pci"] as const)
      for (const isPacked of format === undefined ? [false, true] : [format === "packed"])
        for (const inOrder of [false, true]) this.#machines.push(this.#machine(kind, isPacked, inOrder));
  }

  #machine(kind: "mmio" | "pci", isPacked: boolean, inOrder: boolean): Machine {
    const options = { queues: 1, queueSize: QUEUE_SIZE, deferred: true };
    const sim = simVirtio(kind, { sectors: SECTORS, isVolatile: false, ramBytes: RAM_BYTES }, options);
    const transport = new HostileTransport(sim.transport);
    const wanted = { queueSize: QUEUE_SIZE, dataBytes: SPAN * SECTOR_SIZE, packed: isPacked, inOrder };
    const driver = probeVirtioBlk(sim.ram, transport, wanted);
    if (typeof driver === "number") throw new Error(`the driver does not start on an honest device: ${driver}`);
    return { sim, transport, driver, isPacked };
  }

  /** One case, wholly determined by its seed; a text says what the driver did wrong. */
  run(seed: number): string | undefined {
    const random = this.#random;
    seedPrng(random, seed);
    const machine = this.#machines[nextBelow(random, this.#machines.length)]!;
    let attack = this.#attacks[nextBelow(random, this.#attacks.length)]!;
    const format = machine.isPacked ? "packed" : "split";
    while (attack.format !== undefined && attack.format !== format)
      attack = this.#attacks[nextBelow(random, this.#attacks.length)]!;
    const count = this.classes.get(attack.name)!;
    count.cases++;
    try {
      const wrong = this.#case(machine, attack, count);
      return wrong === undefined ? undefined : `${attack.name} (${format}): ${wrong}`;
    } catch (error) {
      return `${attack.name} (${format}): the driver threw: ${error instanceof Error ? error.message : String(error)}`;
    }
  }

  #case(machine: Machine, attack: DeviceAttack, count: ClassCount): string | undefined {
    const { driver, transport, sim } = machine;
    const random = this.#random;
    transport.lies = attack.lie?.(random) ?? {};
    if (driver.restart() !== 0) {
      count.broken++;
      if (driver.poll().length > 0) return "a driver that did not start ended a request";
      return this.#recover(machine);
    }
    const ring = this.#ringView(machine);
    if (nextBelow(random, 2) === 0) {
      const warm = this.#submit(machine);
      this.#drive(machine, 2);
      const wrong = this.#judge(machine, warm, attack, count);
      if (wrong !== undefined) return `before the attack: ${wrong}`;
      ring.skip(warm.length);
    }
    const batch = this.#submit(machine);
    const chains: SeenChain[] = [];
    for (let chain = ring.next(); chain !== undefined; chain = ring.next()) chains.push(chain);
    const scene: Scene = { random, ring, device: sim.device, chains, sectors: SECTORS, lies: transport.lies };
    if (attack.strike !== undefined && chains.length > 0) attack.strike(scene);
    else sim.device.step();
    if (attack.scribble !== undefined) attack.scribble(scene);
    transport.lies = scene.lies;
    this.#drive(machine, ROUNDS);
    if (driver.broken !== undefined) count.broken++;
    const hasRestarted = batch.some((request) => request.result === undefined);
    if (hasRestarted) {
      transport.lies = {};
      count.cancelled += batch.filter((request) => request.result === undefined).length;
      if (driver.restart() !== 0) return "the driver does not start again";
      this.#collect(machine);
    }
    return this.#judge(machine, batch, attack, count) ?? this.#recover(machine);
  }

  #ringView({ sim, isPacked }: Machine): RingView {
    const { size, desc, driver, device } = sim.device.virtio.queues[0]!;
    return new RingView(sim.ram, { size, desc, driver, device }, isPacked);
  }

  /** Requests on ranges of their own; reads into buffers whose bytes are known. */
  #submit({ driver }: Machine): BlockRequest[] {
    const random = this.#random;
    const batch: BlockRequest[] = [];
    const span = Math.min(SPAN, driver.limits.sectorsMax);
    const many = span === 0 ? 0 : 1 + nextBelow(random, 6);
    for (let i = 0; i < many; i++) {
      const isRead = nextBelow(random, 2) === 0;
      const sectors = 1 + nextBelow(random, span);
      const data = new Uint8Array(sectors * SECTOR_SIZE).fill(isRead ? BEFORE : next32(random) & 0xff);
      const sector = (nextBelow(random, 8) * 6 + i) * SPAN;
      batch.push(blockRequest(isRead ? BlockOp.Read : BlockOp.Write, sector, data));
    }
    this.#ends.clear();
    const taken = driver.submit(batch);
    return batch.slice(0, taken);
  }

  /** How often each request of the case has ended. */
  readonly #ends = new Map<BlockRequest, number>();

  #collect({ driver }: Machine): void {
    for (const request of driver.poll()) this.#ends.set(request, (this.#ends.get(request) ?? 0) + 1);
  }

  #drive(machine: Machine, rounds: number): void {
    for (let round = 0; round < rounds; round++) {
      this.#collect(machine);
      machine.driver.wait(WAIT_NS);
      machine.driver.refresh();
    }
    this.#collect(machine);
  }

  #judge(
    { sim }: Machine,
    batch: readonly BlockRequest[],
    attack: DeviceAttack,
    count: ClassCount,
  ): string | undefined {
    for (const request of batch) {
      const ends = this.#ends.get(request) ?? 0;
      if (ends !== 1) return `a request ended ${ends} times`;
      if (request.result === 0) count.ok++;
      else count.failed++;
      const start = request.sector * SECTOR_SIZE;
      const data = request.data!;
      if (request.result !== 0) {
        if (request.op === BlockOp.Read && Buffer.compare(data, UNTOUCHED.subarray(0, data.length)) !== 0)
          return "a read that failed left bytes in its buffer";
      } else if (attack.forges !== true) {
        const medium = sim.disk.image.subarray(start, start + data.length);
        if (Buffer.compare(data, medium) !== 0) return `op ${request.op} ended well and was not carried out`;
      }
    }
    return undefined;
  }

  /** With the device honest again, a restart must give a working disk. */
  #recover(machine: Machine): string | undefined {
    const { driver, transport, sim } = machine;
    transport.lies = {};
    if (sim.device.configRead(0, 4) !== SECTORS) sim.device.resize(SECTORS);
    if (driver.restart() !== 0) return "the driver does not start again";
    const data = new Uint8Array(SECTOR_SIZE).fill(next32(this.#random) & 0xff);
    const read = blockRequest(BlockOp.Read, 7, new Uint8Array(SECTOR_SIZE));
    for (const request of [blockRequest(BlockOp.Write, 7, data), read]) {
      driver.submit([request]);
      // The first wait may be ended by an interrupt that is left from before.
      for (let round = 0; round < ROUNDS && request.result === undefined; round++) {
        driver.wait(WAIT_NS);
        driver.poll();
      }
      if (request.result !== 0) return "after a restart a request does not end well";
    }
    if (read.data![5] !== data[5]) return "after a restart a read is wrong";
    return sim.ram.areas === 3 ? undefined : "memory was lost or taken";
  }
}

/** Cases seed, seed + 1, ...; stops at the first violation only when asked to. */
export function hostileDevice(cases: number, seed: number, progress: (done: number) => void = () => {}): HostileReport {
  const run = new HostileDeviceRun();
  return report("driver", run, run.classes, cases, seed, progress);
}

const PROGRESS_EVERY = 4096;

export function report(
  side: "driver" | "device",
  run: { run(seed: number): string | undefined },
  classes: ReadonlyMap<string, object>,
  cases: number,
  seed: number,
  progress: (done: number) => void,
): HostileReport {
  const startMs = performance.now();
  let violations = 0;
  let firstViolation: string | null = null;
  let firstViolationSeed: number | null = null;
  for (let i = 0; i < cases; i++) {
    const wrong = run.run(seed + i);
    if (wrong !== undefined && violations++ === 0) {
      firstViolation = wrong;
      firstViolationSeed = seed + i;
    }
    if (i % PROGRESS_EVERY === 0) progress(i);
  }
  progress(cases);
  const seconds = (performance.now() - startMs) / 1e3;
  return {
    schema: 1,
    side,
    cases,
    seed,
    violations,
    firstViolation,
    firstViolationSeed,
    classes: Object.fromEntries(classes) as Record<string, Record<string, number>>,
    seconds,
    casesPerSecond: cases / seconds,
  };
}

/** The measurement as the QEMU worker runs it. Started by path from qemu_measure.ts. */
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { BlockOp, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockRequest } from "../../kernel/abi/block.ts";
import { assert } from "../../kernel/lib/assert.ts";
import { blockRequest } from "../../drivers/index.ts";
import type { QemuWorld } from "../qemu/world.ts";
import type { OpenedDevice } from "./devices.ts";
import { openOnQemu } from "./qemu_device.ts";
import { BLK_SHAPES, MEASURE_DISK_BYTES } from "./qemu_measure.ts";
import type { BlkFigures, BlkShape, MeasurePlan } from "./qemu_measure.ts";

/** Half of a full queue is the least that is worth a notification. */
const REFILL_SHARE = 4;

class Load {
  readonly #device: OpenedDevice["device"];
  readonly #shape: BlkShape;
  readonly #depth: number;
  readonly #idle: BlockRequest[] = [];
  readonly #startedMs = new Map<BlockRequest, number>();
  readonly #times: number[] = [];
  #next = 0;

  constructor(device: OpenedDevice["device"], shape: BlkShape) {
    this.#device = device;
    this.#shape = shape;
    this.#depth = shape.depth === 0 ? device.limits.queueDepth : Math.min(shape.depth, device.limits.queueDepth);
  }

  /** Keeps the depth for `ms`, then lets everything end. */
  run(ms: number): { count: number; seconds: number; times: number[] } {
    for (let i = 0; i < this.#depth; i++) this.#idle.push(this.#make());
    const start = performance.now();
    let now = start;
    let inFlight = 0;
    for (; now - start < ms || inFlight > 0; now = performance.now()) {
      if (now - start < ms && this.#idle.length * REFILL_SHARE >= this.#depth) inFlight += this.#offer(now);
      for (const request of this.#device.poll()) {
        assert(request.result === 0, "measure: a request failed");
        inFlight--;
        this.#times.push(performance.now() - this.#startedMs.get(request)!);
        this.#idle.push(request);
      }
    }
    return { count: this.#times.length, seconds: (now - start) / 1e3, times: this.#times.sort((a, b) => a - b) };
  }

  #offer(now: number): number {
    const batch = this.#idle.splice(0);
    for (const request of batch) this.#startedMs.set(request, now);
    const taken = this.#device.submit(batch);
    this.#idle.push(...batch.slice(taken));
    return taken;
  }

  #make(): BlockRequest {
    const { op, bytes } = this.#shape;
    const places = MEASURE_DISK_BYTES / bytes;
    // Strides that are prime to the number of places: neighbours are seldom in flight together.
    this.#next = (this.#next + 7919) % places;
    return blockRequest(op, (this.#next * bytes) / SECTOR_SIZE, new Uint8Array(bytes).fill(this.#next));
  }
}

/** Blocks a second by plain file calls in this thread. */
function copies(image: number, shape: BlkShape, ms: number): number {
  const block = new Uint8Array(shape.bytes).fill(1);
  const places = MEASURE_DISK_BYTES / shape.bytes;
  const start = performance.now();
  let count = 0;
  for (; performance.now() - start < ms; count++) {
    const at = ((count * 7919) % places) * shape.bytes;
    if (shape.op === BlockOp.Write) writeSync(image, block, 0, block.length, at);
    else readSync(image, block, 0, block.length, at);
  }
  return (1e3 * count) / (performance.now() - start);
}

function figures(world: QemuWorld, device: OpenedDevice["device"], shape: BlkShape, plan: MeasurePlan): BlkFigures {
  const before = world.commandsSent();
  const { count, seconds, times } = new Load(device, shape).run(plan.roundMs);
  const commands = world.commandsSent() - before;
  const image = openSync(world.image, "r+");
  const copiesPerSecond = copies(image, shape, plan.roundMs / 4);
  closeSync(image);
  return {
    iops: count / seconds,
    p50Us: 1e3 * times[times.length >> 1]!,
    p99Us: 1e3 * times[Math.floor(times.length * 0.99)]!,
    commandsPerRequest: commands / count,
    copiesPerSecond,
  };
}

export function run(world: QemuWorld, args: unknown, progress: (done: number) => void): unknown {
  const plan = args as MeasurePlan;
  const opened = openOnQemu(world, {});
  // The first touch of each page of disk and memory is not what is measured.
  for (const shape of BLK_SHAPES) new Load(opened.device, shape).run(plan.roundMs);
  const rounds = Array.from({ length: plan.rounds }, (_, round) => {
    progress(round);
    return BLK_SHAPES.map((shape) => figures(world, opened.device, shape, plan));
  });
  opened.close();
  return rounds;
}

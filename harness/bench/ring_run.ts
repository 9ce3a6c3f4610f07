/**
 * One run of the ring benchmark: driver side and device side of a split ring, each in a worker, over one shared buffer
 * that holds RAM and a disk. The device copies each write to the disk; all that a real request has is there: header,
 * data, status byte, used entry.
 *
 *   buffer: RAM | disk
 *   control words: KICK | IRQ (futexes, counted up) | STATE | ring addresses | interrupts
 */
import { DeviceChain, DeviceSplitRing, SimRam, SplitRing } from "../../drivers/index.ts";
import type { PhysAddr } from "../../kernel/abi/units.ts";
import { CHAIN_SEGMENTS_MAX, VirtioFeature } from "../../kernel/abi/virtio.ts";

export const RAM_BYTES = 8 << 20;
export const DISK_BYTES = 32 << 20;
export const BLOCK = 4096;

export const Word = { Kick: 0, Irq: 1, State: 2, Desc: 3, Driver: 4, Device: 5, Irqs: 6 } as const;
export const CONTROL_WORDS = 16;
const State = { Idle: 0, Ready: 1, Over: 2 } as const;

export interface RingConfig {
  readonly depth: number;
  readonly indirect: boolean;
  readonly eventIdx: boolean;
  /** Requests made visible at once. */
  readonly batch: number;
  /** Completions published, and waited for, at once. */
  readonly coalesce: number;
}

export interface RingResult {
  readonly seconds: number;
  readonly kicks: number;
  readonly irqs: number;
  /** Sampled latencies, microseconds. */
  readonly latenciesUs: readonly number[];
}

export interface Shared {
  readonly buffer: SharedArrayBuffer;
  readonly control: Int32Array;
}

const SPINS = 200;
const SLEEP_MS = 50;
const SAMPLE_EVERY = 64;
const SLOT_BYTES = 64;

const featuresOf = (config: RingConfig): bigint =>
  VirtioFeature.Version1 |
  (config.indirect ? VirtioFeature.IndirectDesc : 0n) |
  (config.eventIdx ? VirtioFeature.EventIdx : 0n);

/** Disk offset of the i-th write: the same sequence for the ring and for the plain copy. */
const offsetOf = (i: number): number => (Math.imul(i, 0x9e3779b1) >>> 0) % (DISK_BYTES / BLOCK);

function ring(word: number, control: Int32Array): void {
  Atomics.add(control, word, 1);
  Atomics.notify(control, word);
}

/** The limit: one worker copying blocks from the same buffers to the same places, and nothing else. */
export function copyOnly({ buffer }: Shared, blocks: number, buffers: number): number {
  const all = new Uint8Array(buffer);
  const start = performance.now();
  for (let i = 0; i < blocks; i++) {
    const from = (1 << 20) | ((i % buffers) * BLOCK);
    all.copyWithin(RAM_BYTES + offsetOf(i) * BLOCK, from, from + BLOCK);
  }
  return (performance.now() - start) / 1e3;
}

export function runDevice({ buffer, control }: Shared, config: RingConfig): void {
  while (Atomics.load(control, Word.State) !== State.Ready) Atomics.wait(control, Word.State, State.Idle, SLEEP_MS);
  const ram = new SimRam(buffer);
  const all = new Uint8Array(buffer);
  const words = new Uint32Array(buffer);
  const at = (word: number): PhysAddr => control[word] as PhysAddr;
  const memory = { dma: ram, bytes: RAM_BYTES };
  const queue = new DeviceSplitRing(
    memory,
    config.depth,
    at(Word.Desc),
    at(Word.Driver),
    at(Word.Device),
    featuresOf(config),
  );
  const chain = new DeviceChain();
  let irqs = 0;
  while (Atomics.load(control, Word.State) !== State.Over) {
    let unpublished = 0;
    let spins = SPINS;
    for (;;) {
      if (!queue.pop(chain)) {
        if (unpublished > 0) {
          if (queue.publish()) {
            irqs++;
            ring(Word.Irq, control);
          }
          unpublished = 0;
        }
        if (spins-- > 0) continue;
        break;
      }
      spins = SPINS;
      // Header, data, status: what the driver posts.
      const block = words[(chain.addr[0]! >>> 2) + 2]!;
      const from = chain.addr[1]!;
      all.copyWithin(RAM_BYTES + block * BLOCK, from, from + chain.bytes[1]!);
      all[chain.addr[2]!] = 0;
      queue.push(chain.id, chain.descs, 1, 1);
      if (++unpublished < config.coalesce) continue;
      unpublished = 0;
      if (queue.publish()) {
        irqs++;
        ring(Word.Irq, control);
      }
    }
    const seen = Atomics.load(control, Word.Kick);
    if (queue.enableNotify() && Atomics.load(control, Word.State) === State.Ready)
      Atomics.wait(control, Word.Kick, seen, SLEEP_MS);
  }
  if (queue.broken !== undefined) throw new Error(`the device says: ${queue.broken}`);
  Atomics.store(control, Word.Irqs, irqs);
}

export function runDriver({ buffer, control }: Shared, config: RingConfig, requests: number): RingResult {
  const ram = new SimRam(buffer);
  const queue = new SplitRing(ram, config.depth, featuresOf(config), 3);
  const slots = config.indirect ? config.depth : Math.floor(config.depth / 3);
  const headers = ram.alloc(slots * SLOT_BYTES, 64);
  const data = 1 << 20;
  const words = new Uint32Array(buffer);
  const all = new Uint8Array(buffer);
  control.fill(0);
  control[Word.Desc] = queue.desc;
  control[Word.Driver] = queue.driver;
  control[Word.Device] = queue.device;
  const chain = {
    addr: new Float64Array(CHAIN_SEGMENTS_MAX),
    bytes: new Uint32Array(CHAIN_SEGMENTS_MAX),
    out: 2,
    in: 1,
  };
  chain.bytes.set([16, BLOCK, 1]);
  const free = Int32Array.from({ length: slots }, (_, i) => i);
  let freeCount = slots;
  const bornMs = new Float64Array(slots);
  const latenciesUs: number[] = [];
  const batch = Math.min(config.batch, slots);
  const more = config.eventIdx ? Math.min(config.coalesce, slots) : 1;
  let sent = 0;
  let done = 0;
  let kicks = 0;
  let bad = 0;
  // Without the event index every completion interrupts: the flag stays off.
  if (!config.eventIdx) queue.enableIrq(1);
  Atomics.store(control, Word.State, State.Ready);
  Atomics.notify(control, Word.State);
  const start = performance.now();
  while (done < requests) {
    let added = 0;
    if (freeCount >= Math.min(batch, requests - sent)) {
      while (added < batch && sent < requests) {
        const slot = free[--freeCount]!;
        const header = headers + slot * SLOT_BYTES;
        words[header >> 2] = 1;
        words[(header >> 2) + 2] = offsetOf(sent);
        all[header + 16] = 0xff;
        chain.addr[0] = header;
        chain.addr[1] = data + slot * BLOCK;
        chain.addr[2] = header + 16;
        if (!queue.add(chain, slot)) {
          freeCount++;
          break;
        }
        bornMs[slot] = sent % SAMPLE_EVERY === 0 ? performance.now() : 0;
        sent++;
        added++;
      }
      if (queue.publish()) {
        kicks++;
        ring(Word.Kick, control);
      }
    }
    let slot = queue.take();
    for (let spins = added === 0 ? SPINS : 0; slot < 0 && spins > 0; spins--) slot = queue.take();
    if (slot < 0) {
      if (added > 0) continue;
      const seen = Atomics.load(control, Word.Irq);
      if (queue.enableIrq(Math.min(more, sent - done))) Atomics.wait(control, Word.Irq, seen, SLEEP_MS);
      continue;
    }
    for (; slot >= 0; slot = queue.take()) {
      if (all[headers + slot * SLOT_BYTES + 16] !== 0) bad++;
      if (bornMs[slot]! > 0) latenciesUs.push((performance.now() - bornMs[slot]!) * 1e3);
      free[freeCount++] = slot;
      done++;
    }
  }
  const seconds = (performance.now() - start) / 1e3;
  Atomics.store(control, Word.State, State.Over);
  ring(Word.Kick, control);
  if (bad > 0 || queue.broken !== undefined) throw new Error(`${bad} requests failed; ${queue.broken ?? "ring whole"}`);
  return { seconds, kicks, irqs: Atomics.load(control, Word.Irq), latenciesUs };
}

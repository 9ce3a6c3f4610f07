/**
 * A disk in a worker of its own, as its driver sees it: registers reached through a mailbox, interrupts that are the
 * storage worker's bell. The rings and all data lie in RAM, which both map.
 *
 *   register access    the driver's worker writes the request, rings, and waits for the answer: at probe only
 *   QueueNotify        a bit and the doorbell, nobody waits (as KVM's ioeventfd)
 *   interrupt          the device's worker sets bits of ISR and rings the storage worker's bell; reading and
 *                      acknowledging InterruptStatus needs no trip
 *
 * - DiskMailbox           the words; made by the main thread, mapped by both workers
 * - mailboxBus(box)       MmioBus of the driver's worker
 * - box.serve(window)     by the device's worker: what was asked for since
 */
import type { MmioBus, Width } from "../abi/bus.ts";
import { DISK_MMIO_BASE } from "../wire_disk.ts";
import { Mmio } from "../../drivers/index.ts";

/** What serves register accesses. */
export interface Registers {
  read(offset: number, width: Width): number;
  write(offset: number, width: Width, value: number): void;
}

const DOORBELL = 0;
const ASKED = 16;
const ANSWERED = 32;
const OP = 33;
const WIDTH = 34;
const KICKED = 48;
const ISR = 64;
const BEAT = 80;
const RESTS = 81;
const WORDS = 96;
/** Behind the words, as float64. */
const OFFSET = 0;
const VALUE = 1;
const READ = 0;
const WRITE = 1;
const PATIENCE_MS = 10_000;

export class DiskMailbox {
  readonly buffer: SharedArrayBuffer;
  readonly words: Int32Array;
  readonly #values: Float64Array;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(WORDS * 4 + 16)) {
    this.buffer = buffer;
    this.words = new Int32Array(buffer, 0, WORDS);
    this.#values = new Float64Array(buffer, WORDS * 4, 2);
  }

  ring(): void {
    Atomics.add(this.words, DOORBELL, 1);
    Atomics.notify(this.words, DOORBELL);
  }

  seen(): { readonly beat: number; readonly rests: boolean } {
    return { beat: Atomics.load(this.words, BEAT), rests: Atomics.load(this.words, RESTS) !== 0 };
  }

  // --- the driver's worker ---

  access(isWrite: boolean, offset: number, width: Width, value: number): number {
    const { words } = this;
    this.#values[OFFSET] = offset;
    this.#values[VALUE] = value;
    words[WIDTH] = width;
    words[OP] = isWrite ? WRITE : READ;
    const asked = Atomics.add(words, ASKED, 1) + 1;
    this.ring();
    for (let seen = Atomics.load(words, ANSWERED); seen !== asked; seen = Atomics.load(words, ANSWERED))
      if (Atomics.wait(words, ANSWERED, seen, PATIENCE_MS) === "timed-out")
        throw new Error("the device's worker does not answer");
    return this.#values[VALUE];
  }

  kick(queue: number): void {
    Atomics.or(this.words, KICKED, 1 << queue);
    this.ring();
  }

  get pending(): number {
    return Atomics.load(this.words, ISR);
  }

  acknowledge(bits: number): void {
    Atomics.and(this.words, ISR, ~bits);
  }

  // --- the device's worker ---

  get heard(): number {
    return Atomics.load(this.words, DOORBELL);
  }

  serve(registers: Registers): void {
    const { words } = this;
    const asked = Atomics.load(words, ASKED);
    if (asked !== Atomics.load(words, ANSWERED)) {
      const offset = this.#values[OFFSET]!;
      const width = words[WIDTH] as Width;
      if (words[OP] === WRITE) registers.write(offset, width, this.#values[VALUE]!);
      else this.#values[VALUE] = registers.read(offset, width);
      Atomics.store(words, ANSWERED, asked);
      Atomics.notify(words, ANSWERED);
    }
    for (let kicked = Atomics.exchange(words, KICKED, 0); kicked !== 0; kicked &= kicked - 1)
      registers.write(Mmio.QueueNotify, 4, 31 - Math.clz32(kicked & -kicked));
  }

  raise(bits: number): void {
    Atomics.or(this.words, ISR, bits);
  }

  beat(): void {
    Atomics.add(this.words, BEAT, 1);
  }

  sleep(heard: number, forMs: number): void {
    Atomics.store(this.words, RESTS, 1);
    Atomics.wait(this.words, DOORBELL, heard, forMs);
    Atomics.store(this.words, RESTS, 0);
  }
}

export function mailboxBus(box: DiskMailbox): MmioBus {
  return {
    read(width, addr) {
      const offset = addr - DISK_MMIO_BASE;
      return offset === Mmio.InterruptStatus ? box.pending : box.access(false, offset, width, 0);
    },
    write(width, addr, value) {
      const offset = addr - DISK_MMIO_BASE;
      if (offset === Mmio.QueueNotify) box.kick(value);
      else if (offset === Mmio.InterruptAck) box.acknowledge(value);
      else box.access(true, offset, width, value);
    },
  };
}

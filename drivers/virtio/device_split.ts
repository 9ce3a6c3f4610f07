/**
 * Split virtqueue, device side (VirtIO 1.2, 2.7). The driver is not trusted: index jumps, heads and next fields out of
 * range, loops, zero lengths, wrong order, tables of a wrong size and buffers outside memory break the ring, and the
 * device then needs a reset; nothing of a bad chain is carried out.
 */
import { VirtioFeature } from "../../kernel/abi/virtio.ts";
import { DescriptorReader, TableReader } from "./device_chain.ts";
import type { DeviceChain, DeviceRing, GuestMemory } from "./device_chain.ts";
import type { PhysAddr } from "../../kernel/abi/units.ts";
import { RingMemory } from "./ring_memory.ts";
import {
  AVAIL_F_NO_INTERRUPT,
  DESC_BYTES,
  DESC_F_INDIRECT,
  DESC_F_NEXT,
  DESC_F_WRITE,
  RING_ENTRIES,
  RING_IDX,
  USED_ENTRY_BYTES,
  USED_F_NO_NOTIFY,
  availBytes,
  passedEvent,
  usedBytes,
} from "./split_layout.ts";

const words = (bytes: number): number => Math.ceil(bytes / 4) * 4;
/** A table larger than this is no chain (2.7.5.3.1 allows the queue's size; QEMU's bound is its largest queue). */
const TABLE_ENTRIES_MAX = 1024;

export class DeviceSplitRing implements DeviceRing {
  broken: string | undefined;
  readonly #size: number;
  readonly #memory: GuestMemory;
  readonly #descs: RingMemory;
  readonly #avail: RingMemory;
  readonly #used: RingMemory;
  readonly #table: TableReader;
  readonly #desc = new DescriptorReader();
  readonly #eventIdx: boolean;
  readonly #indirect: boolean;
  #lastAvail = 0;
  #seenAvail = 0;
  #usedIdx = 0;
  #publishedUsed = 0;
  #noNotify = false;

  /** The three areas lie within memory: the device checks before it makes the ring. */
  constructor(memory: GuestMemory, size: number, desc: PhysAddr, avail: PhysAddr, used: PhysAddr, features: bigint) {
    this.#size = size;
    this.#memory = memory;
    this.#descs = new RingMemory(memory.dma, size * DESC_BYTES, 16, desc);
    this.#avail = new RingMemory(memory.dma, words(availBytes(size)), 2, avail);
    this.#used = new RingMemory(memory.dma, words(usedBytes(size)), 4, used);
    this.#table = new TableReader(memory);
    this.#eventIdx = (features & VirtioFeature.EventIdx) !== 0n;
    this.#indirect = (features & VirtioFeature.IndirectDesc) !== 0n;
  }

  #break(reason: string): false {
    this.broken = reason;
    return false;
  }

  pop(chain: DeviceChain): boolean {
    if (this.broken !== undefined) return false;
    if (this.#seenAvail === this.#lastAvail && !this.#look()) return false;
    const head = this.#avail.u16[(RING_ENTRIES >> 1) + (this.#lastAvail & (this.#size - 1))]!;
    if (head >= this.#size) return this.#break("an available head is out of range");
    chain.clear(head);
    const wrong = this.#gather(chain, head);
    if (wrong !== undefined) return this.#break(wrong);
    chain.descs = 1;
    this.#lastAvail = (this.#lastAvail + 1) & 0xffff;
    return true;
  }

  #look(): boolean {
    const seen = this.#avail.load16(RING_IDX);
    const fresh = (seen - this.#lastAvail) & 0xffff;
    if (fresh === 0) return false;
    if (fresh > this.#size) return this.#break("the available index jumped");
    const first = this.#lastAvail & (this.#size - 1);
    const straight = Math.min(fresh, this.#size - first);
    this.#avail.pull(RING_ENTRIES + 2 * first, 2 * straight);
    if (fresh > straight) this.#avail.pull(RING_ENTRIES, 2 * (fresh - straight));
    this.#descs.pull(0, this.#size * DESC_BYTES);
    this.#seenAvail = seen;
    return true;
  }

  /** Walks the chain from its head; its last descriptor may be a table (2.7.5.3.2), whose WRITE flag means nothing. */
  #gather(chain: DeviceChain, head: number): string | undefined {
    const desc = this.#desc;
    desc.read(this.#descs.u32, head * 4);
    let limit = this.#size;
    let isTable = false;
    for (let count = 1; ; count++) {
      const flags = desc.last & 0xffff;
      if ((flags & DESC_F_INDIRECT) !== 0) {
        if (isTable) return "an indirect descriptor within a table";
        const wrong = this.#openTable(flags);
        if (wrong !== undefined) return wrong;
        limit = desc.bytes / DESC_BYTES;
        isTable = true;
        this.#table.read(desc, 0);
        count = 0;
        continue;
      }
      const wrong = chain.add(this.#memory, desc.addr, desc.bytes, (flags & DESC_F_WRITE) !== 0);
      if (wrong !== undefined) return wrong;
      if ((flags & DESC_F_NEXT) === 0) return undefined;
      const next = desc.last >>> 16;
      if (next >= limit) return "a next field is out of range";
      if (count === limit) return "a chain that loops";
      if (isTable) this.#table.read(desc, next);
      else desc.read(this.#descs.u32, next * 4);
    }
  }

  #openTable(flags: number): string | undefined {
    const { addr, bytes } = this.#desc;
    const entries = bytes / DESC_BYTES;
    if (!this.#indirect) return "an indirect descriptor without the feature";
    if ((flags & DESC_F_NEXT) !== 0) return "an indirect descriptor with a next one";
    if (entries === 0 || !Number.isInteger(entries)) return "an indirect table of a wrong size";
    if (entries > TABLE_ENTRIES_MAX) return "an indirect table of too many entries";
    if (addr + bytes > this.#memory.bytes) return "an indirect table outside memory";
    this.#table.open(addr, bytes);
    return undefined;
  }

  /** The entry lies where the first chain's would be; the index moves past the whole batch. */
  push(id: number, _descs: number, bytes: number, chains: number): void {
    const at = RING_ENTRIES + USED_ENTRY_BYTES * (this.#usedIdx & (this.#size - 1));
    this.#used.u32[at >> 2] = id;
    this.#used.u32[(at >> 2) + 1] = bytes;
    this.#used.push(at, USED_ENTRY_BYTES);
    this.#usedIdx = (this.#usedIdx + chains) & 0xffff;
  }

  publish(): boolean {
    const from = this.#publishedUsed;
    const to = this.#usedIdx;
    if (from === to) return false;
    this.#used.publish16(RING_IDX, to);
    this.#publishedUsed = to;
    if (!this.#eventIdx) return (this.#avail.load16(0) & AVAIL_F_NO_INTERRUPT) === 0;
    return passedEvent(this.#avail.load16(RING_ENTRIES + 2 * this.#size), to, from);
  }

  enableNotify(): boolean {
    if (this.#eventIdx) this.#used.publish16(RING_ENTRIES + USED_ENTRY_BYTES * this.#size, this.#lastAvail);
    else if (this.#noNotify) {
      this.#noNotify = false;
      this.#used.publish16(0, 0);
    }
    return this.#avail.load16(RING_IDX) === this.#lastAvail;
  }

  disableNotify(): void {
    // With the event index the flag stays 0 (2.7.10.2): an event left behind the index asks for nothing.
    if (this.#eventIdx || this.#noNotify) return;
    this.#noNotify = true;
    this.#used.publish16(0, USED_F_NO_NOTIFY);
  }
}

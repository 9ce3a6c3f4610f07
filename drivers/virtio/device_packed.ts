/**
 * Packed virtqueue, device side (VirtIO 1.2, 2.8). As in the split ring the driver is not trusted; a bad chain breaks the
 * ring and nothing of it is carried out.
 */
import type { PhysAddr } from "../../kernel/abi/units.ts";
import { VirtioFeature } from "../../kernel/abi/virtio.ts";
import { DescriptorReader, TableReader } from "./device_chain.ts";
import type { DeviceChain, DeviceRing, GuestMemory } from "./device_chain.ts";
import {
  EVENT_DESC,
  EVENT_DISABLE,
  EVENT_ENABLE,
  EVENT_FLAGS,
  EVENT_STRUCT_BYTES,
  EVENT_WRAP,
  PACKED_FLAGS,
  PACKED_F_AVAIL,
  PACKED_F_USED,
  availFlags,
  passedWrapEvent,
  usedFlags,
} from "./packed_layout.ts";
import { RingMemory } from "./ring_memory.ts";
import { DESC_BYTES, DESC_F_INDIRECT, DESC_F_NEXT, DESC_F_WRITE } from "./split_layout.ts";

const TABLE_ENTRIES_MAX = 1024;

export class DevicePackedRing implements DeviceRing {
  broken: string | undefined;
  readonly #size: number;
  readonly #memory: GuestMemory;
  readonly #ring: RingMemory;
  readonly #driverEvent: RingMemory;
  readonly #deviceEvent: RingMemory;
  readonly #table: TableReader;
  readonly #desc = new DescriptorReader();
  readonly #eventIdx: boolean;
  readonly #indirect: boolean;
  #availAt = 0;
  #availWrap = 1;
  #usedAt = 0;
  #usedWrap = 1;
  /** First used descriptor not yet published and its flags; -1: none. */
  #heldAt = -1;
  #heldFlags = 0;
  #heldDescs = 0;
  #notify = true;

  constructor(memory: GuestMemory, size: number, desc: PhysAddr, driver: PhysAddr, device: PhysAddr, features: bigint) {
    this.#size = size;
    this.#memory = memory;
    this.#ring = new RingMemory(memory.dma, size * DESC_BYTES, 16, desc);
    this.#driverEvent = new RingMemory(memory.dma, EVENT_STRUCT_BYTES, 4, driver);
    this.#deviceEvent = new RingMemory(memory.dma, EVENT_STRUCT_BYTES, 4, device);
    this.#table = new TableReader(memory);
    this.#eventIdx = (features & VirtioFeature.EventIdx) !== 0n;
    this.#indirect = (features & VirtioFeature.IndirectDesc) !== 0n;
  }

  #break(reason: string): false {
    this.broken = reason;
    return false;
  }

  #isAvailable(): boolean {
    const flags = this.#ring.load16(this.#availAt * DESC_BYTES + PACKED_FLAGS);
    return (flags & (PACKED_F_AVAIL | PACKED_F_USED)) === availFlags(this.#availWrap);
  }

  pop(chain: DeviceChain): boolean {
    if (this.broken !== undefined || !this.#isAvailable()) return false;
    chain.clear(0);
    const wrong = this.#gather(chain);
    if (wrong !== undefined) return this.#break(wrong);
    this.#availAt += chain.descs;
    if (this.#availAt >= this.#size) {
      this.#availAt -= this.#size;
      this.#availWrap ^= 1;
    }
    return true;
  }

  /** The chain's descriptors follow each other in the ring; the last one's id names the chain (2.8.6). */
  #gather(chain: DeviceChain): string | undefined {
    const desc = this.#desc;
    for (let at = this.#availAt; ; at = at + 1 === this.#size ? 0 : at + 1) {
      this.#ring.pull(at * DESC_BYTES, DESC_BYTES);
      desc.read(this.#ring.u32, at * 4);
      const flags = desc.last >>> 16;
      chain.descs++;
      chain.id = desc.last & 0xffff;
      let wrong: string | undefined;
      if ((flags & DESC_F_INDIRECT) === 0)
        wrong = chain.add(this.#memory, desc.addr, desc.bytes, (flags & DESC_F_WRITE) !== 0);
      else if (chain.descs > 1 || (flags & DESC_F_NEXT) !== 0) wrong = "an indirect descriptor within a chain";
      else wrong = this.#gatherTable(chain);
      if (wrong !== undefined) return wrong;
      if ((flags & DESC_F_NEXT) === 0) break;
      if (chain.descs === this.#size) return "a chain that loops";
    }
    return chain.id < this.#size ? undefined : "a buffer id is out of range";
  }

  #gatherTable(chain: DeviceChain): string | undefined {
    const { addr, bytes } = this.#desc;
    const entries = bytes / DESC_BYTES;
    if (!this.#indirect) return "an indirect descriptor without the feature";
    if (entries === 0 || !Number.isInteger(entries)) return "an indirect table of a wrong size";
    if (entries > TABLE_ENTRIES_MAX) return "an indirect table of too many entries";
    if (addr + bytes > this.#memory.bytes) return "an indirect table outside memory";
    this.#table.open(addr, bytes);
    for (let entry = 0; entry < entries; entry++) {
      this.#table.read(this.#desc, entry);
      const flags = this.#desc.last >>> 16;
      const wrong = chain.add(this.#memory, this.#desc.addr, this.#desc.bytes, (flags & DESC_F_WRITE) !== 0);
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  }

  push(id: number, descs: number, bytes: number): void {
    const at = this.#usedAt * DESC_BYTES;
    const word = at >> 2;
    const flags = usedFlags(this.#usedWrap);
    this.#ring.u32[word + 2] = bytes;
    if (this.#heldAt < 0) {
      this.#heldAt = this.#usedAt;
      this.#heldFlags = flags;
      // The flags stay those of an available descriptor until publish().
      this.#ring.u32[word + 3] = id | (availFlags(this.#usedWrap) << 16);
    } else this.#ring.u32[word + 3] = id | (flags << 16);
    this.#ring.push(at + 8, 8);
    this.#heldDescs += descs;
    this.#usedAt += descs;
    if (this.#usedAt >= this.#size) {
      this.#usedAt -= this.#size;
      this.#usedWrap ^= 1;
    }
  }

  publish(): boolean {
    if (this.#heldAt < 0) return false;
    this.#ring.publish16(this.#heldAt * DESC_BYTES + PACKED_FLAGS, this.#heldFlags);
    const count = this.#heldDescs;
    this.#heldAt = -1;
    this.#heldDescs = 0;
    const flags = this.#driverEvent.load16(EVENT_FLAGS) & 3;
    if (flags === EVENT_DISABLE) return false;
    if (flags !== EVENT_DESC || !this.#eventIdx) return true;
    return passedWrapEvent(this.#driverEvent.load16(0), this.#usedAt, this.#usedWrap, count, this.#size);
  }

  enableNotify(): boolean {
    if (this.#eventIdx) {
      this.#deviceEvent.publish16(0, this.#availAt | (this.#availWrap === 1 ? EVENT_WRAP : 0));
      this.#deviceEvent.publish16(EVENT_FLAGS, EVENT_DESC);
    } else if (!this.#notify) this.#deviceEvent.publish16(EVENT_FLAGS, EVENT_ENABLE);
    this.#notify = true;
    return !this.#isAvailable();
  }

  disableNotify(): void {
    if (!this.#notify) return;
    this.#notify = false;
    this.#deviceEvent.publish16(EVENT_FLAGS, EVENT_DISABLE);
  }
}

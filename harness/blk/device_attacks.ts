/**
 * The ways a virtio-blk device can be hostile, by name. Each acts at one point of a case: before the driver starts
 * (`lie`), or while requests are in flight and the honest device has not looked at them yet (`strike`), or after it has
 * used them and before the driver looks (`scribble`).
 *
 * `forges`: the attack can make a request end well that the device never carried out; nobody can see that from the ring,
 * so its data is not compared. Everywhere else a request that ends well must have been carried out.
 */
import { BlkConfigOffset } from "./blk_offsets.ts";
import { next32, nextBelow } from "../../kernel/lib/prng.ts";
import type { Lies } from "./hostile_transport.ts";
import { RingView } from "./ring_view.ts";
import type { SeenChain } from "./ring_view.ts";
import type { VirtioBlkDevice } from "../../drivers/index.ts";

export interface Scene {
  readonly random: Int32Array;
  readonly ring: RingView;
  readonly device: VirtioBlkDevice;
  /** Chains that are available and not used, as seen before anything was touched. */
  readonly chains: readonly SeenChain[];
  readonly sectors: number;
  lies: Lies;
}

export interface DeviceAttack {
  readonly name: string;
  readonly forges?: boolean;
  readonly format?: "split" | "packed";
  lie?(random: Int32Array): Lies;
  strike?(scene: Scene): void;
  scribble?(scene: Scene): void;
}

const pick = <T>(random: Int32Array, from: readonly T[]): T => from[nextBelow(random, from.length)]!;
const oneChain = (scene: Scene): SeenChain => pick(scene.random, scene.chains);

/** An id that no chain in flight has. */
function freeId(scene: Scene): number {
  const taken = new Set(scene.chains.map((chain) => chain.id));
  for (let id = nextBelow(scene.random, scene.ring.ring.size); ; id = (id + 1) % scene.ring.ring.size)
    if (!taken.has(id) || taken.size === scene.ring.ring.size) return id;
}

function setStatus(scene: Scene, chain: SeenChain, status: number): void {
  scene.ring.memory.setUint8(RingView.statusAt(chain), status);
}

function randomBytes(scene: Scene, at: number, bytes: number, count: number): void {
  for (let i = 0; i < count; i++)
    scene.ring.memory.setUint8(at + nextBelow(scene.random, bytes), next32(scene.random) & 0xff);
}

const config = (offset: number, value: number): Lies => ({ config: new Map([[offset, value]]) });

export const DEVICE_ATTACKS: readonly DeviceAttack[] = [
  { name: "used id is not outstanding", strike: (s) => s.ring.forge(freeId(s), 1, 1) },
  {
    name: "used id is out of range",
    strike: (s) => s.ring.forge(s.ring.ring.size + nextBelow(s.random, 0xffff - s.ring.ring.size), 1, 1),
  },
  {
    name: "used id is enormous",
    format: "split",
    strike: (s) => s.ring.forge(2 ** 32 - 1 - nextBelow(s.random, 100), 1, 1),
  },
  {
    name: "used twice",
    strike: (s) => {
      const chain = oneChain(s);
      s.ring.forge(chain.id, 1, chain.descs);
      s.ring.forge(chain.id, 1, chain.descs);
    },
  },
  {
    name: "used length beyond what was posted",
    strike: (s) => {
      const chain = oneChain(s);
      setStatus(s, chain, 0);
      s.ring.forge(chain.id, RingView.writableBytes(chain) + 1 + nextBelow(s.random, 2 ** 30), chain.descs);
    },
  },
  {
    name: "read used with a short length and a good status",
    strike: (s) => {
      for (const chain of s.chains) {
        const writable = RingView.writableBytes(chain);
        if (writable < 2) continue;
        setStatus(s, chain, 0);
        s.ring.forge(chain.id, nextBelow(s.random, writable), chain.descs);
        return;
      }
    },
  },
  {
    name: "used index jumps ahead",
    format: "split",
    strike: (s) => {
      s.ring.usedIdx = (s.ring.usedIdx + s.chains.length + 1 + nextBelow(s.random, 30_000)) & 0xffff;
    },
  },
  {
    name: "used index goes back",
    format: "split",
    strike: (s) => {
      s.ring.usedIdx = (s.ring.usedIdx - 1 - nextBelow(s.random, 30_000)) & 0xffff;
    },
  },
  {
    name: "used index moves, entries are old",
    format: "split",
    strike: (s) => {
      s.ring.usedIdx = (s.ring.usedIdx + 1 + nextBelow(s.random, s.chains.length)) & 0xffff;
    },
  },
  {
    name: "status never written",
    strike: (s) => {
      for (const chain of s.chains) s.ring.forge(chain.id, RingView.writableBytes(chain), chain.descs);
    },
  },
  {
    name: "status that means nothing",
    strike: (s) => {
      const chain = oneChain(s);
      setStatus(s, chain, 3 + nextBelow(s.random, 252));
      s.ring.forge(chain.id, RingView.writableBytes(chain), chain.descs);
    },
  },
  {
    name: "ends well, never carried out",
    forges: true,
    strike: (s) => {
      for (const chain of s.chains) {
        setStatus(s, chain, 0);
        s.ring.forge(chain.id, RingView.writableBytes(chain), chain.descs);
      }
    },
  },
  {
    name: "packed flags are noise",
    format: "packed",
    forges: true,
    strike: (s) => {
      for (let i = 0; i < s.ring.ring.size; i++)
        if (nextBelow(s.random, 2) === 0)
          s.ring.memory.setUint16(s.ring.ring.desc + 16 * i + 14, next32(s.random) & 0xffff, true);
    },
  },
  { name: "completions never come", strike: (s) => s.device.dropQueue(0) },
  { name: "interrupt storm", strike: (s) => void (s.lies = { irqStorm: true }) },
  { name: "configuration change storm", strike: (s) => void (s.lies = { configStorm: true }) },
  {
    name: "configuration generation flaps in flight",
    strike: (s) => void (s.lies = { flapping: true, configStorm: true }),
  },
  { name: "NEEDS_RESET in flight", strike: (s) => s.device.virtio.needsReset("hostile") },
  { name: "status reads all ones", strike: (s) => void (s.lies = { status: 0xff, configStorm: true }) },
  { name: "capacity shrinks in flight", strike: (s) => s.device.resize(nextBelow(s.random, s.sectors)) },
  {
    name: "capacity becomes enormous in flight",
    strike: (s) => void (s.lies = { ...config(BlkConfigOffset.capacityHigh, 0xffffffff), configStorm: true }),
  },
  {
    name: "descriptor table scribbled over",
    scribble: (s) => {
      // In the packed ring the table is also the used ring: what is forged there has its own cases.
      if (!s.ring.isPacked) randomBytes(s, s.ring.ring.desc, 16 * s.ring.ring.size, 64);
    },
  },
  {
    name: "available ring scribbled over",
    format: "split",
    scribble: (s) => randomBytes(s, s.ring.ring.driver, 4 + 2 * s.ring.ring.size, 32),
  },
  {
    name: "tables, headers and data scribbled over after use",
    forges: true,
    scribble: (s) => {
      for (const { segments } of s.chains)
        for (const { addr, bytes } of segments.slice(0, -1)) randomBytes(s, addr, bytes, 8);
    },
  },
  {
    name: "event word and flags of the used side are noise",
    scribble: (s) => {
      const { device, size } = s.ring.ring;
      if (s.ring.isPacked) randomBytes(s, device, 4, 4);
      else {
        s.ring.memory.setUint16(device, next32(s.random) & 0xffff, true);
        s.ring.memory.setUint16(device + 4 + 8 * size, next32(s.random) & 0xffff, true);
      }
    },
  },
  {
    name: "used ring is noise",
    format: "split",
    forges: true,
    strike: (s) => randomBytes(s, s.ring.ring.device, 6 + 8 * s.ring.ring.size, 40),
  },
  {
    name: "whole ring is noise",
    forges: true,
    strike: (s) => {
      randomBytes(s, s.ring.ring.desc, 16 * s.ring.ring.size, 64);
      randomBytes(s, s.ring.ring.driver, 4, 4);
      randomBytes(s, s.ring.ring.device, 4, 4);
    },
  },
  { name: "generation flaps at probe", lie: () => ({ flapping: true }) },
  { name: "offers every feature", lie: () => ({ features: 2n ** 64n - 1n }) },
  { name: "does not offer version 1", lie: () => ({ features: 0xffffffffn }) },
  { name: "refuses the features", lie: () => ({ refuseFeatures: true }) },
  { name: "never resets", lie: () => ({ neverResets: true }) },
  { name: "refuses the queue", lie: () => ({ refuseQueue: true }) },
  {
    name: "queue of a strange size",
    lie: (random) => ({ queueMax: pick(random, [0, 1, 2, 3, 5, 33, 40_000, 65_535]) }),
  },
  {
    name: "block size makes no sense",
    lie: (random) => config(BlkConfigOffset.blockSize, pick(random, [0, 1, 511, 513, 8192, 0xffffffff])),
  },
  { name: "no segments", lie: () => config(BlkConfigOffset.segMax, 0) },
  { name: "enormous segments", lie: () => config(BlkConfigOffset.segMax, 0xffffffff) },
  {
    name: "strange number of queues",
    lie: (random) => config(BlkConfigOffset.queues, pick(random, [0, 2, 1000, 65_535])),
  },
  { name: "enormous capacity at probe", lie: () => config(BlkConfigOffset.capacityHigh, 0xffffffff) },
  { name: "empty disk at probe", lie: () => config(BlkConfigOffset.capacityLow, 0) },
  {
    name: "write-cache byte is noise",
    lie: (random) => config(BlkConfigOffset.writeback, nextBelow(random, 256)),
  },
];

/** Driver and device sides of both rings against each other, at their borders: sizes, wrap, events, batches. */
import { describe, expect, it } from "vitest";
import { SimRam } from "../../drivers/index.ts";
import { DeviceChain } from "../../drivers/virtio/device_chain.ts";
import type { DeviceRing } from "../../drivers/virtio/device_chain.ts";
import { DevicePackedRing } from "../../drivers/virtio/device_packed.ts";
import { DeviceSplitRing } from "../../drivers/virtio/device_split.ts";
import { PackedRing } from "../../drivers/virtio/ring_packed.ts";
import { SplitRing } from "../../drivers/virtio/ring_split.ts";
import { passedEvent } from "../../drivers/virtio/split_layout.ts";
import { CHAIN_SEGMENTS_MAX, VirtioFeature } from "../../kernel/abi/virtio.ts";
import type { Chain } from "../../kernel/abi/virtio.ts";
import { KernelPanic } from "../../kernel/lib/assert.ts";
import { nextBelow, prng } from "../../kernel/lib/prng.ts";

const RAM = 1 << 20;
const DATA = 1 << 19;

interface Pair {
  readonly driver: SplitRing | PackedRing;
  readonly device: DeviceRing;
}

function pair(isPacked: boolean, size: number, features: bigint, mapped = true): Pair {
  const ram = new SimRam(RAM, { mapped });
  const memory = { dma: ram, bytes: RAM };
  const Driver = isPacked ? PackedRing : SplitRing;
  const Device = isPacked ? DevicePackedRing : DeviceSplitRing;
  const driver = new Driver(ram, size, features, 16);
  return { driver, device: new Device(memory, size, driver.desc, driver.driver, driver.device, features) };
}

function chainOf(out: number, into: number, tag: number): Chain {
  const addr = new Float64Array(CHAIN_SEGMENTS_MAX);
  const bytes = new Uint32Array(CHAIN_SEGMENTS_MAX);
  for (let i = 0; i < out + into; i++) {
    addr[i] = DATA + tag * 256 + i * 16;
    bytes[i] = 1 + ((tag + i) % 16);
  }
  return { addr, bytes, out, in: into };
}

const FEATURES: readonly bigint[] = [
  0n,
  VirtioFeature.IndirectDesc,
  VirtioFeature.EventIdx,
  VirtioFeature.InOrder,
  VirtioFeature.IndirectDesc | VirtioFeature.EventIdx,
  VirtioFeature.IndirectDesc | VirtioFeature.EventIdx | VirtioFeature.InOrder,
];

describe.each([
  ["split", false],
  ["packed", true],
] as const)("%s ring", (_name, isPacked) => {
  it("carries chains both ways as a plain list does, over many laps, notified and interrupted when needed", () => {
    for (const features of FEATURES)
      for (const mapped of [true, false]) for (let seed = 1; seed <= 3; seed++) run(seed, features, mapped);
  });

  function run(seed: number, features: bigint, mapped: boolean): void {
    const random = prng(seed);
    const size = isPacked ? 3 + nextBelow(random, 14) : 2 ** (1 + nextBelow(random, 4));
    const isInOrder = (features & VirtioFeature.InOrder) !== 0n;
    const { driver, device } = pair(isPacked, size, features, mapped);
    const inFlight = new Map<number, { out: number; in: number; tag: number; bytes: number }>();
    const atDevice: { chain: DeviceChain; token: number }[] = [];
    const made: number[] = [];
    const used: number[] = [];
    let needsKick = false;
    let needsIrq = false;
    let isAsleep = true;
    let driverSleeps = false;
    device.enableNotify();
    for (let step = 0; step < 600; step++) {
      const action = nextBelow(random, 4);
      if (action === 0) {
        for (let i = nextBelow(random, 4); i >= 0; i--) {
          let token = 0;
          while (inFlight.has(token)) token++;
          const out = 1 + nextBelow(random, Math.min(3, size - 1));
          const into = Math.min(nextBelow(random, 3), size - out);
          const tag = nextBelow(random, 1000);
          if (token >= size || !driver.add(chainOf(out, into, tag), token)) break;
          inFlight.set(token, { out, in: into, tag, bytes: 0 });
          made.push(token);
        }
        if (driver.publish()) needsKick = true;
      } else if (action === 1) {
        if (isAsleep && !needsKick) continue;
        needsKick = false;
        isAsleep = false;
        for (;;) {
          const chain = new DeviceChain();
          if (!device.pop(chain)) break;
          const token = made.shift()!;
          const sent = inFlight.get(token)!;
          const expected = chainOf(sent.out, sent.in, sent.tag);
          expect(chain.out * 100 + chain.in).toBe(sent.out * 100 + sent.in);
          for (let j = 0; j < sent.out + sent.in; j++)
            if (chain.addr[j] !== expected.addr[j] || chain.bytes[j] !== expected.bytes[j])
              expect.fail(`seed ${seed} step ${step}: segment ${j} differs`);
          sent.bytes = isInOrder ? chain.inBytes : nextBelow(random, chain.inBytes + 1);
          atDevice.push({ chain, token });
        }
        expect(device.broken).toBeUndefined();
        isAsleep = device.enableNotify();
      } else if (action === 2) {
        const count = nextBelow(random, atDevice.length + 1);
        if (isInOrder && count > 0) {
          const batch = atDevice.splice(0, count);
          const descs = batch.reduce((sum, { chain }) => sum + chain.descs, 0);
          const last = batch.at(-1)!;
          device.push(last.chain.id, descs, inFlight.get(last.token)!.bytes, count);
          used.push(...batch.map(({ token }) => token));
        } else
          for (let i = 0; i < count; i++) {
            const [one] = atDevice.splice(nextBelow(random, atDevice.length), 1);
            device.push(one!.chain.id, one!.chain.descs, inFlight.get(one!.token)!.bytes, 1);
            used.push(one!.token);
          }
        if (device.publish()) needsIrq = true;
      } else {
        if (driverSleeps && !needsIrq) continue;
        needsIrq = false;
        for (let token = driver.take(); token >= 0; token = driver.take()) {
          expect(token).toBe(used.shift());
          expect(driver.usedBytes).toBe(inFlight.get(token)!.bytes);
          inFlight.delete(token);
        }
        expect(driver.broken).toBeUndefined();
        expect(used).toEqual([]);
        driverSleeps = driver.enableIrq(1);
      }
      driver.check();
      // Nobody sleeps over work: what is there was signalled, or will be looked for.
      if (isAsleep && made.length > 0) expect(needsKick, `seed ${seed} step ${step}: a lost kick`).toBe(true);
      if (driverSleeps && used.length > 0) expect(needsIrq, `seed ${seed} step ${step}: a lost interrupt`).toBe(true);
    }
    expect(driver.inFlight).toBe(inFlight.size);
  }

  it("add() refuses what does not fit, and what was refused changes nothing", () => {
    const { driver } = pair(isPacked, 4, 0n);
    expect(driver.add(chainOf(2, 1, 0), 0)).toBe(true);
    expect(driver.add(chainOf(1, 1, 1), 1)).toBe(false);
    expect(driver.add(chainOf(1, 0, 1), 1)).toBe(true);
    expect(driver.add(chainOf(1, 0, 1), 2)).toBe(false);
    driver.check();
  });

  it("take() panics when chains were added and not published", () => {
    const { driver } = pair(isPacked, 4, 0n);
    driver.add(chainOf(1, 0, 0), 0);
    expect(() => driver.take()).toThrow(KernelPanic);
  });

  it("with the event index a batch costs one kick and a coalesced batch one interrupt", () => {
    const { driver, device } = pair(isPacked, 32, VirtioFeature.EventIdx | VirtioFeature.IndirectDesc);
    device.enableNotify();
    let kicks = 0;
    let irqs = 0;
    for (let round = 0; round < 50; round++) {
      for (let i = 0; i < 16; i++) driver.add(chainOf(1, 1, i), i);
      if (driver.publish()) kicks++;
      driver.enableIrq(16);
      const chain = new DeviceChain();
      for (let i = 0; i < 16; i++) {
        expect(device.pop(chain)).toBe(true);
        device.push(chain.id, chain.descs, 0, 1);
        if (device.publish()) irqs++;
      }
      device.enableNotify();
      let taken = 0;
      while (driver.take() >= 0) taken++;
      expect(taken).toBe(16);
    }
    expect([kicks, irqs]).toEqual([50, 50]);
  });
});

it("passedEvent() says whether an index on its way passed the event, at every wrap", () => {
  for (const from of [0, 1, 0x7fff, 0xfffe, 0xffff])
    for (let moved = 1; moved < 6; moved++)
      for (let ahead = -2; ahead < 8; ahead++) {
        const event = (from + ahead) & 0xffff;
        expect(passedEvent(event, (from + moved) & 0xffff, from)).toBe(ahead >= 0 && ahead < moved);
      }
});

/**
 * The test set of the block drivers (devices/cases.ts) on our own devices. The same cases run on QEMU's in
 * devices_qemu.test.ts: what differs is who opens the device.
 */
import { describe, expect, it } from "vitest";
import { SATA_SSD, SimBus, blockRequest, probeVirtioBlk } from "../../drivers/index.ts";
import { simVirtio } from "../../harness/blk/sim_devices.ts";
import { BlockOp, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import { CANARY, MANY, QUEUES, SECTORS, casesOf } from "./devices/cases.ts";
import { SIM_ROWS } from "./devices/sim_worlds.ts";

describe.each(SIM_ROWS)("$name", ({ kind, unmapped, world }) => {
  it.each([...(unmapped ? [] : [MANY]), ...casesOf(kind)])("$name", (one) => one.run(world));
  it(CANARY.name, () => expect(() => CANARY.run(world)).toThrow("imageEqual: false"));
});

it("wait() sees an interrupt of the last queue as soon as one of the first", () => {
  const took = Array.from({ length: QUEUES }, (_, queue) => {
    const bus = new SimBus();
    const { ram, transport } = simVirtio("pci", { sectors: SECTORS, service: SATA_SSD }, {}, bus);
    const driver = probeVirtioBlk(ram, transport, { queues: QUEUES, queueSize: 16 });
    if (typeof driver === "number") throw new Error(`the driver does not start: ${driver}`);
    // Something slow is in flight on every queue; the one that is asked ends first.
    const slow = blockRequest(BlockOp.Flush, 0, undefined);
    const quick = blockRequest(BlockOp.Read, 0, new Uint8Array(SECTOR_SIZE));
    for (let other = 0; other < QUEUES; other++) driver.submitTo(other, [other === queue ? quick : { ...slow }]);
    const startNs = bus.nowNs;
    expect(driver.wait(1e9)).toBe(true);
    expect(driver.poll()).toEqual([quick]);
    return bus.nowNs - startNs;
  });
  expect(Math.max(...took)).toBeLessThan(2 * Math.min(...took));
});

/**
 * The hostile driver on our device and on QEMU's, as the QEMU worker runs it. Started by path from qemu_device.ts.
 *
 * QEMU works on a notification in its own time and says nothing when it is done with an empty queue: whoever waits looks
 * at the used index and the status, and takes it that nothing comes when both have not moved for a while.
 */
import type { PhysAddr } from "../../kernel/abi/units.ts";
import { VirtioStatus } from "../../kernel/abi/virtio.ts";
import { panic } from "../../kernel/lib/assert.ts";
import type { QemuWorld } from "../qemu/world.ts";
import { HOSTILE_SECTORS, hostileDriver } from "./hostile_driver.ts";
import type { Target } from "./hostile_driver.ts";
import { transportOn } from "./qemu_device.ts";

/** QEMU answers a request on an image in memory within some 100 us, when the host lets it. */
const NOTHING_COMES_MS = 5;
const PATIENT_MS = 1_000;
/** Questions to QEMU after the first sign of an answer, some 12 us each. */
const TURNS_AFTER = 8;
/** Of the used ring (VirtIO 1.2, 2.7.8). */
const USED_IDX = 2;

function target(world: QemuWorld): Target {
  const transport = transportOn(world, 1);
  if (typeof transport === "number") return panic("QEMU's device does not answer, error", transport);
  return {
    dma: world.dma,
    transport,
    sectors: HOSTILE_SECTORS,
    settle: (usedAddr, isPatient) => {
      const end = performance.now() + (isPatient ? PATIENT_MS : NOTHING_COMES_MS);
      while (performance.now() < end) {
        if ((transport.status() & VirtioStatus.NeedsReset) !== 0) return;
        if (world.dma.load16((usedAddr + USED_IDX) as PhysAddr) === 0) continue;
        // A read that was pointed at the ring moves the index before the request has ended.
        for (let turn = 0; turn < TURNS_AFTER; turn++) transport.status();
        return;
      }
    },
  };
}

export function run(world: QemuWorld, args: unknown, progress: (done: number) => void): unknown {
  const { cases, seed } = args as { cases: number; seed: number };
  return hostileDriver(cases, seed, progress, target(world));
}

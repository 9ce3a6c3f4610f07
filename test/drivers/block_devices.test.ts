/** Every BlockDevice of the house keeps the contract; drivers on devices do so in devices_sim.test.ts and devices_qemu.test.ts. */
import {
  BlockQueue,
  ELEVATORS,
  HDD,
  NVME_SSD,
  SATA_SSD,
  SimBus,
  SimDisk,
  probeVirtioBlk,
} from "../../drivers/index.ts";
import type { SimDiskOptions } from "../../drivers/index.ts";
import { simVirtio } from "../../harness/blk/sim_devices.ts";
import { nanos } from "../../kernel/abi/units.ts";
import { blockDeviceContract } from "../contract/block_device.ts";
import type { Opened } from "../contract/block_device_cases.ts";

const SECTORS = 4096;

function openDisk(options: Partial<SimDiskOptions>): Opened {
  let now = 0;
  const disk = new SimDisk({ sectors: SECTORS, now: () => nanos(now), ...options });
  return {
    device: disk,
    idle: () => {
      if (disk.nextAtNs !== Infinity) now = Math.max(now, disk.nextAtNs);
    },
    afterPowerCut: () => disk.crash(() => false),
  };
}

blockDeviceContract("memory disk", () => openDisk({}));
blockDeviceContract("memory disk, 4096-byte blocks, queue of 2", () =>
  openDisk({ logicalBlockSize: 4096, queueDepth: 2, atomicBytes: 4096 }),
);
for (const [name, service] of Object.entries({ HDD, SATA_SSD, NVME_SSD }))
  blockDeviceContract(`disk with the times of ${name}`, () => openDisk({ service, atomicBytes: 512 }));

blockDeviceContract("virtio-blk on a disk that takes time, in order, packed", () => {
  const bus = new SimBus();
  const { ram, transport, disk } = simVirtio("pci", { sectors: SECTORS, service: SATA_SSD }, {}, bus);
  const device = probeVirtioBlk(ram, transport, { queueSize: 16, packed: true, inOrder: true });
  if (typeof device === "number") throw new Error(`the driver does not start: ${device}`);
  return { device, idle: () => device.wait(1e9), afterPowerCut: () => disk.crash(() => false) };
});

for (const elevator of ELEVATORS)
  blockDeviceContract(`block queue with ${elevator.name}`, () => {
    let now = 0;
    const disk = new SimDisk({ sectors: SECTORS, now: () => nanos(now), service: SATA_SSD, atomicBytes: 512 });
    const device = new BlockQueue(disk, { elevator, now: () => nanos(now) });
    const idle = (): void => {
      const next = Math.min(disk.nextAtNs, device.wakeAtNs);
      if (next !== Infinity) now = Math.max(now, next);
    };
    return { device, idle, afterPowerCut: () => disk.crash(() => false) };
  });

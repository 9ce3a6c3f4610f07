/** The face of the drivers: what the kernel and the harness may use. */
export { blockRequest, checkRequest } from "./block/request.ts";
export { VIRTIO_BLK_DEFAULTS, VirtioBlk, probeVirtioBlk } from "./virtio/blk.ts";
export type { VirtioBlkOptions } from "./virtio/blk.ts";
export { mmioTransport } from "./virtio/transport_mmio.ts";
export { pciTransport } from "./virtio/transport_pci.ts";
export { pciCaps, pciEnableMsix, pciMapBars } from "./pci/pci.ts";
export type { BarWindow } from "./pci/pci.ts";
export { SimBus } from "./sim/bus.ts";
export { SimRam } from "./sim/ram.ts";
export { SimDisk } from "./sim/disk.ts";
export type { SimDiskOptions } from "./sim/disk.ts";
export { FAULT_KINDS, FaultPlan } from "./sim/faults.ts";
export type { FaultKind, FaultRule } from "./sim/faults.ts";
export { HDD, NVME_SSD, SATA_SSD } from "./sim/disk_service.ts";
export { VirtioBlkDevice } from "./sim/virtio_blk.ts";
export { VirtioMmioWindow } from "./sim/virtio_mmio.ts";
export { attachVirtioPci } from "./sim/virtio_pci.ts";
export type { VirtioBlkDeviceOptions } from "./sim/virtio_blk.ts";

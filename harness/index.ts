/** The harness's face: what fuzz targets may name. */
export { UserError } from "./cli/exit.ts";
export { FtraceParser } from "./trace/ftrace_read.ts";
export { ftraceText } from "./trace/ftrace_write.ts";
export { SparseDisk } from "./disk/sparse.ts";
export { exportOf as nbdExport } from "./nbd/server.ts";
export { Session as NbdSession } from "./nbd/session.ts";
export type { Export as NbdExport, NbdRequest } from "./nbd/session.ts";
export * as NBD from "./nbd/wire.ts";
export { checkElevator } from "./blk/elevator_check.ts";
export { DEVICE_ATTACKS } from "./blk/device_attacks.ts";
export { DRIVER_ATTACKS, End as DeviceEnd } from "./blk/driver_attacks.ts";
export { HostileDeviceRun } from "./blk/hostile_device.ts";
export { HostileDriverRun } from "./blk/hostile_driver.ts";
export { DamagedImage, KINDS as DAMAGE_KINDS } from "./ext4/damage/damage.ts";
export { ABSENT_NAME } from "./ext4/damage/hostile.ts";
export { SMALL_IMAGES } from "./ext4/damage/small_images.ts";
export type { SmallImage } from "./ext4/damage/small_images.ts";

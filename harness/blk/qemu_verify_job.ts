/** The verify job as the QEMU worker runs it. Started by path from qemu_device.ts. */
import type { QemuWorld } from "../qemu/world.ts";
import { openOnQemu } from "./qemu_device.ts";
import { verify } from "./verify.ts";
import type { VerifyJob } from "./verify.ts";

export function run(world: QemuWorld, args: unknown, progress: (done: number) => void): unknown {
  const job = args as VerifyJob;
  const opened = openOnQemu(world, job.driver);
  const report = verify(opened, job, progress);
  opened.close();
  return report;
}

/** The load of bench blk on a QEMU device, as its worker runs it. Started by path from qemu_device.ts. */
import type { QemuWorld } from "../qemu/world.ts";
import { measureLoads } from "./load.ts";
import type { LoadPlan } from "./load.ts";
import { openOnQemu } from "./qemu_device.ts";

export function run(world: QemuWorld, args: unknown, progress: (done: number) => void): unknown {
  const opened = openOnQemu(world, {});
  let steps = 0;
  const figures = measureLoads([{ name: world.name, device: opened.device }], args as LoadPlan, () =>
    progress(++steps),
  );
  opened.close();
  return figures;
}

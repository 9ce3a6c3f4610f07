/**
 * What writing to /proc/sys/vm does: compact, drop.
 *
 * - vmActs(system, ...)         in a lockstep machine, with the writer's own CPU time
 * - dropObjects(tree, parts)    names and inodes that nobody uses; returns how many they and the frames given back were
 */
import { CALL_COSTS } from "./call_cost.ts";
import { dropRows } from "./fs/ext4/rows.ts";
import type { VmParts } from "./fs/pseudo/sys_nodes.ts";
import type { MachineParts } from "./machine_view.ts";
import type { Tree } from "./wire_files.ts";
import type { System } from "./system.ts";
import { Wait } from "./wait.ts";
import { ORDER_MAX } from "../mm/index.ts";

/** An order that no block has: a pass for it goes to the end of the zone. */
const NEVER = ORDER_MAX + 1;

export function vmActs(
  system: System,
  { memory, slabs, compaction, ext4 }: Pick<MachineParts, "memory" | "slabs" | "compaction" | "ext4">,
  compacts: boolean,
): Pick<VmParts, "compact" | "dropped" | "shrinkSlabs"> {
  const { executor } = system;
  const dropped = (pages: number): void => executor.charge(pages * CALL_COSTS.scanPage);
  const compact = (): void => {
    let moved = 0;
    for (let zone = 0; zone < memory!.mm.zones.length; zone++) moved += compaction!.run(executor.cpu(), zone, NEVER);
    executor.charge(moved * CALL_COSTS.movePage);
    if (moved > 0) executor.wakeAll(Wait.Memory);
  };
  return {
    dropped,
    ...(compaction === undefined || !compacts ? {} : { compact }),
    ...(slabs === undefined ? {} : { shrinkSlabs: () => dropped(dropObjects(system.tree!, { slabs, ext4 })) }),
  };
}

export function dropObjects({ vfs }: Tree, { slabs, ext4 }: Pick<MachineParts, "slabs" | "ext4">): number {
  const names = vfs.state.dcache.forgetAll();
  const inodes = ext4 === undefined ? 0 : dropRows(ext4.fs);
  return names + inodes + slabs!.settle();
}

/** What a task that writes to /proc/sys/vm does with its own CPU time in a lockstep machine: compact, drop. */
import { CALL_COSTS } from "./call_cost.ts";
import type { VmParts } from "./fs/pseudo/sys_nodes.ts";
import type { System } from "./system.ts";
import { Wait } from "./wait.ts";
import { ORDER_MAX } from "../mm/index.ts";
import type { Compaction } from "../mm/index.ts";

/** An order that no block has: a pass for it goes to the end of the zone. */
const NEVER = ORDER_MAX + 1;

export function vmActs(
  { executor }: System,
  zones: number,
  compaction: Compaction | undefined,
): Pick<VmParts, "compact" | "dropped"> {
  const compact = (): void => {
    let moved = 0;
    for (let zone = 0; zone < zones; zone++) moved += compaction!.run(executor.cpu(), zone, NEVER);
    executor.charge(moved * CALL_COSTS.movePage);
    if (moved > 0) executor.wakeAll(Wait.Memory);
  };
  return {
    dropped: (pages) => executor.charge(pages * CALL_COSTS.scanPage),
    ...(compaction === undefined ? {} : { compact }),
  };
}

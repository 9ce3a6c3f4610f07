/**
 * A scheduling policy by name or by the URL of its module, for worker threads: functions cannot be sent to them.
 *
 * - loadPolicyFactory(policy)   one that comes with the house, or the `policy` that a module exports
 */
import type { PolicyFactory } from "./abi/sched.ts";
import { cfs, eevdf, fifo, rr } from "../sched/index.ts";

const BUILT_IN: Readonly<Record<string, PolicyFactory>> = { fifo, rr, cfs, eevdf };

export async function loadPolicyFactory(name: string): Promise<PolicyFactory> {
  const builtIn = BUILT_IN[name];
  if (builtIn !== undefined) return builtIn;
  const { policy } = (await import(name)) as { policy?: unknown };
  if (typeof policy !== "function") throw new Error('it exports no function "policy"');
  return policy as PolicyFactory;
}

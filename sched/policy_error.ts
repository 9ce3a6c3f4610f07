/** A policy's mistakes: what it may not return at the start, and what ends in its ejection later (eject.ts). */
import { EjectReason } from "../kernel/abi/events.ts";
import type { SchedPolicy } from "../kernel/abi/sched.ts";

/** Operations that a policy may leave out. */
const OPERATIONS = [
  "init",
  "exit",
  "initTask",
  "exitTask",
  "enable",
  "disable",
  "selectCpu",
  "runnable",
  "dequeue",
  "dispatch",
  "running",
  "tick",
  "stopping",
  "quiescent",
  "setWeight",
] as const satisfies readonly (keyof SchedPolicy)[];

/** Thrown through the policy's own frames, caught by the core. */
export class PolicyError extends Error {
  override readonly name = "PolicyError";
  readonly reason: number;
  constructor(message: string, reason: number) {
    super(message);
    this.reason = reason;
  }
}

/** What the policy asked for cannot be. */
export function fail(message: string): never {
  throw new PolicyError(message, EjectReason.BadDispatch);
}

/** What a policy's function returned, if it is a policy. */
export function wellFormed(policy: SchedPolicy): SchedPolicy {
  const given: unknown = policy;
  if (typeof given !== "object" || given === null)
    throw new Error("the function returns no policy, an object { name, enqueue, ... }");
  if (typeof policy.name !== "string") throw new Error('the policy has no "name"');
  if (typeof policy.enqueue !== "function") throw new Error('the policy has no function "enqueue"');
  for (const operation of OPERATIONS)
    if (policy[operation] !== undefined && typeof policy[operation] !== "function")
      throw new Error(`the policy's "${operation}" is not a function`);
  const { timeoutMs } = policy;
  if (timeoutMs !== undefined && !(timeoutMs > 0))
    throw new Error(`the policy's timeoutMs is ${timeoutMs}, not above 0`);
  return policy;
}

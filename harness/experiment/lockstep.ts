/**
 * One lockstep run of a workload, for commands, demonstrations, tests and sweeps: the same in all of them.
 *
 * - runLockstep(options)   boots, runs to the end of the workload or for so long, and says what is known then
 *
 * An error that a user's policy makes while the machine comes up is the user's: one line.
 */
import { Ev } from "../../kernel/abi/events.ts";
import { boot } from "../../kernel/worlds.ts";
import type { EventLog, Feature, LockstepWorld } from "../../kernel/worlds.ts";
import type { Costs, Workload } from "../../sched/index.ts";
import { UserError } from "../cli/exit.ts";
import { MARK_END, MARK_START } from "../trace/window.ts";
import type { ChosenPolicy } from "./policies.ts";

export interface LockstepOptions {
  readonly policy: ChosenPolicy;
  readonly workload: Workload;
  readonly cpus: number;
  readonly costs: Costs;
  readonly seed: number;
  /** Virtual time to run; left out: until every task has exited. */
  readonly untilNs?: number;
  readonly features: readonly Feature[];
  readonly exactSlices?: boolean;
  /** Write the marks by which `trace stats` finds the workload and its window. */
  readonly marks?: boolean;
  /** Called now and then with the virtual time reached; returning false stops the run there. */
  readonly onProgress?: (nowNs: number) => boolean;
}

export interface LockstepRun {
  readonly world: LockstepWorld;
  readonly log: EventLog | undefined;
  readonly hash: string | undefined;
  readonly endNs: number;
  /** Why the policy was thrown out; undefined while it ruled to the end. */
  readonly ejected: string | undefined;
  /** False when onProgress stopped it. */
  readonly complete: boolean;
}

/** Events between two looks at the clock and at Ctrl-C. */
const CHUNK = 200_000;
/** A workload that has not ended after a day of virtual time never will. */
const FOREVER_NS = 86_400e9;

export async function runLockstep(options: LockstepOptions): Promise<LockstepRun> {
  const { policy, workload, cpus, costs, seed, exactSlices } = options;
  const features: Feature[] = [...options.features, ...(policy.feature === undefined ? [] : [policy.feature])];
  const booted = await boot({
    features,
    seed,
    cpus,
    workload,
    costs,
    ...(policy.factory === undefined ? {} : { policy: policy.factory }),
    ...(exactSlices === undefined ? {} : { exactSlices }),
  }).catch((error: unknown) => {
    if (policy.file === undefined || (error instanceof Error && error.name === "KernelPanic")) throw error;
    throw new UserError(`--policy ${policy.file}: ${error instanceof Error ? error.message : String(error)}`);
  });
  const { world, machine } = booted;
  const untilNs = options.untilNs ?? FOREVER_NS;
  if (options.marks === true) mark(machine.log, 0, MARK_START);
  let complete = true;
  while (world.run(untilNs, CHUNK) && machine.now() < untilNs) {
    if (options.onProgress?.(machine.now()) === false) {
      complete = false;
      break;
    }
    await new Promise(setImmediate);
  }
  if (options.marks === true) mark(machine.log, machine.now(), MARK_END);
  if (machine.log !== undefined) {
    machine.log.originNs = 0;
    machine.log.endNs = machine.now();
  }
  return {
    world,
    log: machine.log,
    hash: machine.hash?.hex(),
    endNs: machine.now(),
    ejected: world.sched.ejected() ? world.sched.ejectMessage() : undefined,
    complete,
  };
}

/** A mark of the workload's first task. */
function mark(log: EventLog | undefined, at: number, text: string): void {
  log?.append(at, Ev.Mark, 0, log.markNumber(text), 1, 0, 0);
}

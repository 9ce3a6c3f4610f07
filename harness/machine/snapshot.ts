/**
 * Snapshots of a lockstep machine: its options and how many events it had handled. A machine is a pure function of its
 * options, so a snapshot is restored by running a new one there again, and it says so when that did not lead to the same
 * point (another version, another disk file, another policy file). A fork is a restore that then goes another way.
 *
 * - snapshotOf(machine)     plain data: JSON
 * - restore(snapshot)       a machine at that point; UserError when it is another
 */
import { UserError } from "../cli/exit.ts";
import { openMachine } from "./machine.ts";
import type { MachineOptions, OpenMachine } from "./machine.ts";

export interface Snapshot {
  readonly schema: 1;
  readonly options: MachineOptions;
  readonly events: number;
  readonly timeNs: number;
  /** Of the events up to here; null when the machine has no hash. */
  readonly eventLogHash: string | null;
}

export const snapshotOf = ({ options, booted }: OpenMachine): Snapshot => ({
  schema: 1,
  options,
  events: booted.system.steps(),
  timeNs: booted.machine.time[0]!,
  eventLogHash: booted.machine.hash?.hex() ?? null,
});

export async function restore(snapshot: Snapshot): Promise<OpenMachine> {
  const again = await openMachine(snapshot.options);
  const left = snapshot.events - again.booted.system.steps();
  if (left > 0) again.run(Infinity, left);
  const reached = snapshotOf(again);
  // The clock of a machine that was run up to a time stands there, after its last event.
  if (reached.eventLogHash !== snapshot.eventLogHash)
    throw new UserError("the snapshot is of another machine: the same options led to other events");
  again.booted.machine.time[0] = snapshot.timeNs;
  return again;
}

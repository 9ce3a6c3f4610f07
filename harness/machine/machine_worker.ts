/** The worker of harness/machine/fleet.ts: one booted machine a task, from start to end. */
import type { MachineJob, MachineOutcome } from "./fleet.ts";
import { runMachine } from "./run.ts";

export default function machineJob(job: MachineJob): Promise<MachineOutcome> {
  return runMachine(job);
}

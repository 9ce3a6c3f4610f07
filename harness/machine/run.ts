/** A booted machine from start to end in one go: for fleets, experiments and tests. */
import type { MachineJob, MachineOutcome } from "./fleet.ts";
import { judge } from "./judge.ts";
import { openMachine } from "./machine.ts";
import { reportOf } from "./report.ts";

export async function runMachine({ options, seconds }: MachineJob): Promise<MachineOutcome> {
  const machine = await openMachine(options);
  machine.run(seconds * 1e9);
  const report = reportOf(machine);
  machine.stop();
  return { report, verdict: judge(machine) };
}

/**
 * The whole machine in virtual time, workload `mixed` on 4 CPUs: how many simulated seconds and events a real second
 * holds, and how long it takes to the first task's first step. The peer is the same scheduler without memory, disk and
 * files: runs and sleeps of as many tasks.
 */
import { boot } from "../../kernel/index.ts";
import { closedWorkload, COSTS } from "../../sched/index.ts";
import { MACHINE_DEFAULTS, openMachine } from "../machine/machine.ts";
import type { Bench, BenchOptions, BenchTable } from "./bench.ts";
import { median } from "./median.ts";

const ROUNDS = 9;
const ROUNDS_QUICK = 3;
const SECONDS = 2;
const SECONDS_QUICK = 0.3;
const PEER_ROUNDS = 2_000;

interface Round {
  readonly bootMs: number;
  readonly eventsPerSecond: number;
  readonly speed: number;
}

async function machineRound(seconds: number): Promise<Round> {
  const machine = await openMachine({ ...MACHINE_DEFAULTS, disk: "new:64M", memoryBytes: 128 * 2 ** 20 });
  const beganMs = performance.now();
  const before = machine.booted.system.steps();
  machine.run(seconds * 1e9);
  const took = (performance.now() - beganMs) / 1000;
  return {
    bootMs: machine.bootMs,
    eventsPerSecond: (machine.booted.system.steps() - before) / took,
    speed: seconds / took,
  };
}

async function peerRound(): Promise<number> {
  const { world } = await boot({
    features: ["EVENT_HASH", "SCHED_STATS", "SCHED_EEVDF"],
    seed: 1,
    cpus: 4,
    costs: COSTS.hardware,
    workload: closedWorkload({
      seed: 1,
      tasks: 16,
      rounds: PEER_ROUNDS,
      burstNs: { kind: "exponential", mean: 2e5 },
      sleepNs: { kind: "exponential", mean: 1e6 },
    }),
  });
  const beganMs = performance.now();
  world.run(Infinity);
  return world.steps() / ((performance.now() - beganMs) / 1000);
}

async function run({ quick, progress }: BenchOptions): Promise<BenchTable> {
  const rounds = quick ? ROUNDS_QUICK : ROUNDS;
  const seconds = quick ? SECONDS_QUICK : SECONDS;
  const machines: Round[] = [];
  const peers: number[] = [];
  for (let round = 0; round < rounds; round++) {
    progress(`round ${round + 1} of ${rounds}`);
    machines.push(await machineRound(seconds));
    peers.push(await peerRound());
  }
  const of = (pick: (round: Round) => number): number => median(machines.map(pick));
  const peer = median(peers);
  return {
    schema: 1,
    name: "boot",
    rows: [
      { what: "simulated seconds in a real one, mixed on 4 CPUs", value: of((r) => r.speed), againstPeer: null },
      {
        what: "events in a second",
        value: of((r) => r.eventsPerSecond),
        againstPeer: of((r) => r.eventsPerSecond) / peer,
      },
      { what: "events in a second, scheduler alone", value: peer, againstPeer: 1 },
      { what: "boot to the first task, ms", value: of((r) => r.bootMs), againstPeer: null },
    ],
    notes: [`medians of ${rounds} rounds of ${seconds} s of virtual time; 128 MiB, a fresh disk of 64 MiB`],
  };
}

export const bench: Bench = {
  name: "boot",
  help: "the whole machine: simulated seconds and events in a real one",
  run,
};

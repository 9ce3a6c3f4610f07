/**
 * One booted lockstep machine for commands, tests and fleets, as plain options: opened, run, looked at, stopped. The same
 * options give the same events; so a snapshot is the options and how many events were handled, and it is restored by
 * running there again (snapshot.ts).
 *
 * - openMachine(options)     boots; a disk that cannot be mounted is a UserError
 * - machine.run(untilNs)     virtual time
 * - machine.stop()           orderly; throws when the machine cannot be stopped cleanly
 */
import type { UserStart } from "../../kernel/abi/program.ts";
import { bootMachine, MACHINE_FEATURES } from "../../kernel/index.ts";
import type { BootedMachine, Feature } from "../../kernel/index.ts";
import { HDD, NVME_SSD, SATA_SSD, ELEVATORS } from "../../drivers/index.ts";
import type { ServiceModel } from "../../drivers/index.ts";
import { COSTS } from "../../sched/index.ts";
import type { CostsName } from "../../sched/index.ts";
import { EVICT_POLICIES } from "../../mm/index.ts";
import { UserError } from "../cli/exit.ts";
import { loadPolicy } from "../experiment/policies.ts";
import { openDisk } from "./disk_image.ts";
import { loadWorkload } from "./workloads.ts";

export const DISK_MODELS = { nvme: NVME_SSD, ssd: SATA_SSD, hdd: HDD } as const satisfies Record<string, ServiceModel>;
export type DiskModel = keyof typeof DISK_MODELS;

export interface MachineOptions {
  readonly seed: number;
  readonly cpus: number;
  readonly memoryBytes: number;
  /** `new:256M` or a path. */
  readonly disk: string;
  readonly diskModel: DiskModel;
  readonly workload: string;
  readonly policy: string;
  readonly elevator: string;
  readonly evict: string;
  readonly costs: CostsName;
  /** Features beside, or instead of, the usual ones. */
  readonly features?: readonly Feature[];
  /** Keep every event, for a trace. */
  readonly log?: boolean;
}

export const MACHINE_DEFAULTS: MachineOptions = {
  seed: 1,
  cpus: 4,
  memoryBytes: 256 * 2 ** 20,
  disk: "new:256M",
  diskModel: "nvme",
  workload: "mixed",
  policy: "eevdf",
  elevator: "mq-deadline",
  evict: "mglru",
  costs: "hardware",
};

export interface OpenMachine {
  readonly options: MachineOptions;
  readonly booted: BootedMachine;
  /** The disk, as reads see it. */
  readonly image: Uint8Array;
  /** What it was booted from when that was not `options.disk`. */
  readonly image0: Uint8Array | undefined;
  /** Lines that tasks wrote to /dev/kmsg, in order. */
  readonly console: readonly string[];
  readonly starts: readonly UserStart[];
  readonly bootMs: number;
  run(untilNs: number, steps?: number): boolean;
  stop(): void;
}

/** `given`: a disk instead of the one that the options name. */
export async function openMachine(options: MachineOptions, given?: Uint8Array): Promise<OpenMachine> {
  const workload = await loadWorkload(options.workload);
  const starts = workload.tasks({ cpus: options.cpus, memoryBytes: options.memoryBytes });
  return openWith(options, starts, given);
}

/** The same with tasks of the caller's, whatever workload the options name. */
export async function openWith(
  options: MachineOptions,
  starts: readonly UserStart[],
  given?: Uint8Array,
): Promise<OpenMachine> {
  const policy = await loadPolicy(options.policy);
  const elevator = named("elevator", options.elevator, ELEVATORS);
  const evict = named("evict", options.evict, EVICT_POLICIES);
  const image = given ?? openDisk(options.disk, options.seed);
  const image0 = given?.slice();
  const lines: string[] = [];
  const features: Feature[] = [...(options.features ?? MACHINE_FEATURES)];
  if (policy.feature !== undefined) features.push(policy.feature);
  if (options.log === true) features.push("EVENT_LOG");
  const begunMs = performance.now();
  const booted = await bootMachine({
    features,
    seed: options.seed,
    cpus: options.cpus,
    costs: COSTS[options.costs],
    starts,
    memoryBytes: options.memoryBytes,
    service: DISK_MODELS[options.diskModel],
    elevator,
    evict,
    console: (text) => void lines.push(text),
    ...(features.includes("BLOCK") ? { image } : {}),
    ...(policy.factory === undefined ? {} : { policy: policy.factory }),
  });
  if ("reason" in booted) throw new UserError(`--disk ${options.disk} cannot be mounted: ${booted.reason}`);
  const bootMs = performance.now() - begunMs;
  return {
    options,
    booted,
    image,
    image0,
    console: lines,
    starts,
    bootMs,
    run: (untilNs, steps) => booted.system.run(untilNs, steps),
    stop() {
      const stopped = booted.system.stop();
      if (stopped !== 0) throw new Error(`the machine does not stop: error ${stopped}`);
      const left = Object.entries(booted.slabs?.inUse() ?? {});
      const objects = left.map(([cache, count]) => `${count} of ${cache}`).join(", ");
      if (left.length > 0) throw new Error(`the machine stopped, and objects are nobody's: ${objects}`);
    },
  };
}

function named<T extends { readonly name: string }>(option: string, name: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice.name === name);
  if (found === undefined)
    throw new UserError(`--${option} ${name} is none of: ${choices.map((choice) => choice.name).join(", ")}`);
  return found;
}

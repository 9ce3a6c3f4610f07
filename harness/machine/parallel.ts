/**
 * One booted parallel machine for commands and tests, as plain options (machine.ts has the lockstep one).
 *
 * - openParallel(options)    boots; a disk that cannot be mounted is a UserError
 */
import { existsSync } from "node:fs";
import { enableCompileCache } from "node:module";
import { dirname, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { bootParallelMachine } from "../../kernel/index.ts";
import type { ParallelMachine } from "../../kernel/index.ts";
import { modulePath } from "../../kernel/lib/module_path.ts";
import { UserError } from "../cli/exit.ts";
import { loadPolicy } from "../experiment/policies.ts";
import { openDisk } from "./disk_image.ts";
import { DISK_MODELS } from "./machine.ts";
import type { DiskModel, MachineOptions } from "./machine.ts";
import { loadWorkload } from "./workloads.ts";

export interface ParallelOptions extends Omit<MachineOptions, "diskModel"> {
  /** instant: requests take no time of their own. */
  readonly diskModel: DiskModel | "instant";
  /** The disk is this file: read, and written where sectors become durable. */
  readonly store?: string;
  /** Another module than image_store.ts, for canaries. */
  readonly storeModule?: string;
  readonly console?: (text: string) => void;
  readonly traceRecords?: number;
  readonly loseWakes?: number;
  readonly stuckMs?: number;
}

export interface OpenParallel {
  readonly machine: ParallelMachine;
  /** The disk, as reads see it; undefined with a store. */
  readonly image: Uint8Array | undefined;
  /** Lines that tasks wrote to /dev/kmsg, in order. */
  readonly console: readonly string[];
  /** CPU time of all threads until tasks could run, ms. */
  readonly bootCpuMs: number;
}

export async function openParallel(options: ParallelOptions): Promise<OpenParallel> {
  const { store, cpus, memoryBytes, seed, elevator, evict, features } = options;
  const policy = await loadPolicy(options.policy);
  const lines: string[] = [];
  const image = store === undefined ? sharedDisk(options) : undefined;
  const { directory: cache } = enableCompileCache();
  const before = process.cpuUsage();
  const machine = await bootParallelMachine({
    cpus,
    memoryBytes,
    seed,
    elevator,
    evict,
    workload: await workloadModule(options.workload),
    clock: modulePath("../host_clock.ts", import.meta.url).href,
    policy: policy.file === undefined ? options.policy : pathToFileURL(resolve(policy.file)).href,
    // Workers find what this thread has compiled: each adds a directory of Node's version by itself.
    ...(cache === undefined ? {} : { compileCache: dirname(cache) }),
    ...(options.diskModel === "instant" ? {} : { service: DISK_MODELS[options.diskModel] }),
    console: (text) => {
      lines.push(text);
      options.console?.(text);
    },
    ...(features === undefined ? {} : { features }),
    ...(image === undefined ? {} : { image }),
    ...(store === undefined
      ? {}
      : {
          store: { module: options.storeModule ?? modulePath("./image_store.ts", import.meta.url).href, path: store },
          lines: { module: modulePath("./image_store.ts", import.meta.url).href, path: linesOf(store) },
        }),
    ...(options.traceRecords === undefined ? {} : { traceRecords: options.traceRecords }),
    ...(options.loseWakes === undefined ? {} : { loseWakes: options.loseWakes }),
    ...(options.stuckMs === undefined ? {} : { stuckMs: options.stuckMs }),
  });
  if ("reason" in machine) throw new UserError(`--disk ${store ?? options.disk} cannot be mounted: ${machine.reason}`);
  const { user, system } = process.cpuUsage(before);
  return { machine, image, console: lines, bootCpuMs: (user + system) / 1e3 };
}

/** Beside an image file: what tasks told /dev/kmsg. */
export const linesOf = (store: string): string => `${store}.kmsg`;

/** All of it in shared memory: the disk's worker writes it, we look at it afterwards. */
function sharedDisk({ disk, seed }: ParallelOptions): Uint8Array {
  const image = openDisk(disk, seed);
  if (image.buffer instanceof SharedArrayBuffer) return image;
  const shared = new Uint8Array(new SharedArrayBuffer(image.length));
  shared.set(image);
  return shared;
}

/** Where workers find a workload: the house's by its name, a user's file by its path. */
async function workloadModule(text: string): Promise<{ module: string; name: string }> {
  const [file, name = "workload"] = text.split("#") as [string, string?];
  if (existsSync(file)) return { module: pathToFileURL(resolve(file)).href, name };
  const { name: known } = await loadWorkload(text);
  return { module: modulePath("../../userspace/index.ts", import.meta.url).href, name: known };
}

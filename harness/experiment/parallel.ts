/**
 * Runs the parallel world for a command: policies by name or path, the host's clock, and failures as what a command may
 * throw.
 *
 * - runParallel(options)
 */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { modulePath } from "../../kernel/lib/module_path.ts";
import { panic } from "../../kernel/lib/assert.ts";
import { ParallelFailure, ParallelWorld } from "../../kernel/worlds.ts";
import type { ParallelConfig, ParallelResult } from "../../kernel/worlds.ts";
import { EXIT, UserError } from "../cli/exit.ts";
import type { ChosenPolicy } from "./policies.ts";

export interface ParallelOptions extends Omit<ParallelConfig, "policy" | "clock"> {
  readonly policy: ChosenPolicy;
  /** Stops it like any other end: what was traced is kept. */
  readonly stop?: AbortSignal;
  readonly onProgress?: (seconds: number, switches: number) => void;
}

export async function runParallel(options: ParallelOptions): Promise<ParallelResult> {
  const { policy, stop, onProgress, ...config } = options;
  const world = new ParallelWorld({
    ...config,
    policy: policy.file === undefined ? policy.name : pathToFileURL(resolve(policy.file)).href,
    clock: modulePath("../host_clock.ts", import.meta.url).href,
  });
  try {
    return await world.run(stop, onProgress);
  } catch (error) {
    if (!(error instanceof ParallelFailure)) throw error;
    if (error.kind === "panic") panic(error.message);
    throw new UserError(error.message, error.kind === "policy" ? EXIT.usage : EXIT.invariant);
  }
}

/** What the workers of a parallel machine tell the main thread. */
import { KernelPanic } from "../lib/assert.ts";
import type { Figures } from "../observe/figures.ts";
import { PHASE_TEXT } from "../smp.ts";
import type { Phase } from "../smp.ts";
import type { MachineAtRest } from "./check.ts";
import type { StorageCounts } from "./storage_loop.ts";

export type WorkerAnswer =
  /** CPU 0: tasks may run. */
  | { readonly kind: "ready"; readonly atNs: number }
  /** Storage: the disk cannot be mounted. */
  | { readonly kind: "refused"; readonly errno: number; readonly reason: string }
  /** Storage: what a task wrote to /dev/kmsg. */
  | { readonly kind: "line"; readonly text: string }
  | {
      readonly kind: "cpu";
      readonly endNs: number;
      /** Wakes found missing, and mended. */
      readonly lost: number;
      readonly ejected: string;
      readonly atRest: MachineAtRest | undefined;
    }
  | {
      readonly kind: "storage";
      readonly counts: StorageCounts;
      /** When the machine was told to stop. */
      readonly figures: Figures | undefined;
      /** Of the unmount: 0 or an errno. */
      readonly unmounted: number;
      readonly descriptors: number;
      readonly vfsTasks: number;
      readonly cachedPages: number;
      /** Frames that it keeps for its buffers to the end. */
      readonly reserved: number;
    }
  | { readonly kind: "disk" }
  | WorkerFailure;

export interface WorkerFailure {
  readonly kind: "failed";
  readonly panic: boolean;
  readonly while: string;
  readonly task: number;
  readonly message: string;
  readonly stack?: string;
}

export const failureOf = (thrown: unknown, doing: Phase | string, task: number): WorkerFailure => ({
  kind: "failed",
  panic: thrown instanceof KernelPanic,
  while: typeof doing === "string" ? doing : PHASE_TEXT[doing]!,
  task,
  message: thrown instanceof Error ? thrown.message : String(thrown),
  ...(thrown instanceof Error && thrown.stack !== undefined ? { stack: thrown.stack } : {}),
});

/**
 * Power cuts of the parallel machine: a soak in a process of its own that is killed (SIGKILL) at a random moment. What was
 * durable lies in the image file, what was promised in a file beside it; then the image is recovered and judged.
 *
 * - powerCut(options, seed)    one cut: what it found
 * - recoverImage(bytes)        as a mount would recover it; Refusal
 */
import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { BlockImage, ext4Layout, imageBuffer, isRefusal, readSuper, recover } from "../../kernel/index.ts";
import type { Refusal } from "../../kernel/index.ts";
import { modulePath } from "../../kernel/lib/module_path.ts";
import { nextBelow, prng } from "../../kernel/lib/prng.ts";
import { openDisk } from "./disk_image.ts";
import { linesOf } from "./parallel.ts";
import { judgeImage } from "./judge.ts";
import type { Verdict } from "./judge.ts";

export interface PowerCutOptions {
  readonly workload: string;
  readonly cpus: number;
  readonly disk: string;
  readonly memory: string;
  /** The image file: made anew for each cut. */
  readonly store: string;
  readonly storeModule?: string;
  /** The cut comes up to so long after the boot. */
  readonly withinMs: number;
}

export interface PowerCut {
  readonly seed: number;
  /** Since the machine ran, ms. */
  readonly atMs: number;
  readonly lines: readonly string[];
  readonly verdict: Verdict;
}

/** 2026-01-01. */
const NOW_SEC = 1_767_225_600;

export function recoverImage(bytes: Uint8Array): Uint8Array | Refusal {
  const buffer = imageBuffer(bytes.length);
  buffer.set(bytes);
  const sb = readSuper(new DataView(buffer.buffer), ext4Layout.SUPER_OFFSET, bytes.length);
  if (isRefusal(sb)) return sb;
  const image = new BlockImage(buffer, sb.blockSize, sb.blocksCount);
  const done = recover(image, sb, { policy: "kernel", now: NOW_SEC });
  if (isRefusal(done)) return done;
  image.settle();
  return buffer.subarray(0, bytes.length);
}

export async function powerCut(options: PowerCutOptions, seed: number): Promise<PowerCut> {
  const chance = prng(seed);
  const { store, workload, cpus, disk, memory, withinMs } = options;
  writeFileSync(store, openDisk(disk, seed));
  const args = ["--workload", workload, "--cpus", `${cpus}`, "--memory", memory, "--seed", `${seed}`, "--store", store];
  if (options.storeModule !== undefined) args.push("--store-module", options.storeModule);
  const soak = fileURLToPath(modulePath("./soak.ts", import.meta.url));
  const child = spawn(process.execPath, [soak, ...args, "--seconds", "600"], { stdio: ["ignore", "ignore", "pipe"] });
  let errors = "";
  const ended = new Promise<void>((resolve) => void child.on("close", () => resolve()));
  const booted = new Promise<void>((resolve) => {
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      errors += text;
      if (errors.includes("booted")) resolve();
    });
  });
  await Promise.race([booted, ended]);
  const atMs = nextBelow(chance, withinMs);
  await Promise.race([new Promise((resolve) => void setTimeout(resolve, atMs)), ended]);
  if (child.exitCode !== null) throw new Error(`the machine ended by itself: ${errors}`);
  child.kill("SIGKILL");
  await ended;
  // What was told in part was not told.
  const told = existsSync(linesOf(store)) ? readFileSync(linesOf(store), "utf8") : "";
  const lines = told.split(/(?<=\n)/).filter((line) => line.endsWith("\n"));
  const recovered = recoverImage(readFileSync(store));
  if (isRefusal(recovered))
    return { seed, atMs, lines, verdict: { damage: 1, promises: 0, broken: [recovered.reason] } };
  writeFileSync(`${store}.recovered`, recovered);
  return { seed, atMs, lines, verdict: judgeImage(recovered, lines) };
}

/** Starts the command as a user does, through the launcher, in a folder of its own. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { onTestFinished } from "vitest";

export const LAUNCHER = resolve("harness/launcher.js");

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A folder that is gone after the test. */
export function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), "orrery-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export interface Start {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Sent when this many milliseconds have passed. */
  readonly interruptMs?: number;
}

export async function orrery(words: readonly string[], { cwd, env, interruptMs }: Start = {}): Promise<Ended> {
  const child = spawn(process.execPath, [LAUNCHER, ...words], {
    cwd: cwd ?? scratch(),
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const timer = interruptMs === undefined ? undefined : setTimeout(() => child.kill("SIGINT"), interruptMs);
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((done) =>
    child.on("close", (code, signal) => done([code, signal])),
  );
  clearTimeout(timer);
  return { code, signal, stdout, stderr };
}

/** The text as lines, without the empty one at its end. */
export const linesOf = (text: string): string[] => text.split("\n").filter((line) => line !== "");

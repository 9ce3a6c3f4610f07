/**
 * One QEMU process: started, watched, ended. Its standard error is kept for the message if it ends on its own.
 *
 * - startQemu(args)      the process runs; a QEMU that refuses its arguments shows as `ended`
 * - qemu.ended           resolves once, with one line that says how it ended
 * - qemu.kill()          SIGKILL, at once and for good; also done when this process or thread ends, however it does
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { EXIT, UserError } from "../cli/exit.ts";
import { atEnd } from "./open_things.ts";
import { findTool, needTool } from "./packages.ts";

const STDERR_BYTES_MAX = 4096;

/** The QEMU of the user's choice, or the one on PATH. */
export function qemuPath(): string {
  const chosen = process.env["ORRERY_QEMU"];
  if (chosen === undefined) return needTool("qemu-system-x86_64", "start QEMU");
  if (existsSync(chosen)) return chosen;
  throw new UserError(`cannot start QEMU: ORRERY_QEMU names "${chosen}", which is not there; unset it`, EXIT.tool);
}

export interface Qemu {
  readonly pid: number;
  readonly ended: Promise<string>;
  isRunning(): boolean;
  readonly kill: () => void;
}

/**
 * Who is killed by SIGKILL, or is a worker that gets terminated, undoes nothing: the kernel ends QEMU then, when the
 * thread that started it is gone. setpriv is of util-linux, which every Debian has; without it the next run cleans up.
 */
function dyingWithUs(program: string, args: readonly string[]): [program: string, words: string[]] {
  const setpriv = findTool("setpriv");
  return setpriv === undefined ? [program, [...args]] : [setpriv, ["--pdeathsig", "KILL", "--", program, ...args]];
}

export function startQemu(args: readonly string[]): Qemu {
  const [program, words] = dyingWithUs(qemuPath(), args);
  const child = spawn(program, words, { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8");
  child.stderr.on("data", (text: string) => {
    said = (said + text).slice(-STDERR_BYTES_MAX);
  });
  let running = true;
  const done = atEnd(() => child.kill("SIGKILL"));
  const ended = new Promise<string>((resolve) => {
    const end = (how: string): void => {
      if (!running) return;
      running = false;
      done();
      const why = said.trim().replaceAll(/\s*\n\s*/g, "; ");
      resolve(why === "" ? how : `${how}: ${why}`);
    };
    child.on("error", (error) => end(`QEMU could not be started (${error.message})`));
    // "close" comes after standard error was read to its end.
    child.on("close", (code, signal) =>
      end(signal === null ? `QEMU ended with code ${code}` : `QEMU ended by ${signal}`),
    );
  });
  return { pid: child.pid ?? 0, ended, isRunning: () => running, kill: done };
}

#!/usr/bin/env node
/**
 * The command `orrery`. Plain JavaScript of 2018, since any Node may read it first. Runs the command in this process
 * when this Node is new enough, else in the Node that npm installed beside the package; without one it says so in one
 * line and ends with 2. Arguments, standard streams, signals and the exit code pass through unchanged.
 *
 * In a checkout the command is harness/main.ts as it stands; a published package holds dist/harness/main.js, because
 * Node strips no types below node_modules.
 */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { installedNode, isNewEnough, NODE_MIN } from "./node.js";

/** Set for the second start: an installed Node that is itself too old must not start a third. */
const AGAIN = "ORRERY_LAUNCHED";
/** @type {NodeJS.Signals[]} */
const PASSED = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR2"];
const root = join(dirname(fileURLToPath(import.meta.url)), "..");

if (isNewEnough(process.versions.node)) void runHere();
else void runThere();

async function runHere() {
  const source = join(root, "harness", "main.ts");
  const built = join(root, "dist", "harness", "main.js");
  const main = existsSync(source) ? source : built;
  if (!existsSync(main)) fail(`orrery: ${built} is missing: the package is incomplete; install it again`);
  const module = await import("node:module");
  module.enableCompileCache();
  await import(pathToFileURL(main).href);
}

async function runThere() {
  const node = process.env[AGAIN] === undefined ? installedNode(root) : undefined;
  if (node === undefined) {
    const have = `orrery: needs Node ${NODE_MIN} or newer and this is ${process.versions.node}`;
    const checkout = existsSync(join(root, "package-lock.json"));
    fail(`${have}: ${checkout ? `run "npm ci" in ${root}` : 'try "npx -p node@24 -p orrery-os orrery"'}`);
  }
  const { spawn } = await import("node:child_process");
  const env = { ...process.env, [AGAIN]: "1" };
  const child = spawn(node, process.argv.slice(1), { stdio: "inherit", env });
  child.on("error", (error) => fail(`orrery: cannot start ${node}: ${error.message}`));
  for (const signal of PASSED) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(Number(code));
    // The command died by a signal: so do we, that the shell sees the same.
    for (const name of PASSED) process.removeAllListeners(name);
    process.kill(process.pid, signal);
  });
}

/**
 * @param {string} line
 * @returns {never}
 */
function fail(line) {
  process.stderr.write(`${line}\n`);
  return process.exit(2);
}

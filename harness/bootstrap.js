/**
 * `npm start`, `npm test` and `npm run bench` on a machine that has Node 18 or newer and nothing else: installs the
 * locked packages (a Node 24 among them) when they are missing or the lock file has changed, then runs the command in a
 * Node that can. Plain JavaScript of 2018, Node's own modules only.
 *
 *   node harness/bootstrap.js demo|test|bench [arguments of the command]
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { installedNode, isNewEnough, NODE_MIN } from "./node.js";
import { installTools, TESTED } from "./tools.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const [mode = "demo", ...words] = process.argv.slice(2);
/** Written by npm after a whole installation: what node_modules holds. */
const INSTALLED = join(root, "node_modules", ".package-lock.json");

installPackages();
const node = nodeForUs();
if (mode === "test") {
  installTools(TESTED, say);
  pass(...npm(["run", "check", "--"].concat(words)));
} else {
  const chosen = mode === "bench" && words.length === 0 ? ["all"] : words;
  pass(node, [join(root, "harness", "launcher.js"), mode].concat(chosen));
}

function installPackages() {
  const wanted = packagesIn(join(root, "package-lock.json"));
  const why = reasonToInstall(wanted);
  if (why === undefined) return;
  say(`orrery: ${why}: installing the locked packages with npm ci (about 20 s, once)`);
  // A Node that is new enough needs no second one, which comes by an install script.
  const [program, rest] = npm(isNewEnough(process.versions.node) ? ["ci", "--ignore-scripts"] : ["ci"]);
  // `npm --silent start` must not silence the reason of a failure.
  const env = { ...process.env, npm_config_loglevel: "error" };
  const { status, signal, error } = spawnSync(program, rest, {
    cwd: root,
    stdio: ["ignore", "ignore", "inherit"],
    env,
  });
  if (error !== undefined) stop(`orrery: cannot start npm (${error.message}): install npm 10 or newer`);
  if (signal !== null) process.exit(signal === "SIGINT" ? 130 : 2);
  if (status !== 0)
    stop(`orrery: npm ci failed (exit code ${status}): npm says why above; mend it and run the same command again`);
}

/**
 * Undefined when node_modules holds what the lock file wants. Packages for other platforms are optional and left out.
 * @param {Map<string, Package>} wanted
 */
function reasonToInstall(wanted) {
  if (!existsSync(INSTALLED)) return "first start";
  const have = packagesIn(INSTALLED);
  for (const [path, one] of wanted) {
    const there = have.get(path);
    if (there === undefined ? one.optional !== true : there.version !== one.version)
      return "package-lock.json has changed";
  }
  if (!isNewEnough(process.versions.node) && installedNode(root) === undefined) return "its Node is missing";
  return undefined;
}

/** @typedef {{ version: string, optional?: boolean }} Package */

/**
 * @param {string} lock
 * @returns {Map<string, Package>}
 */
function packagesIn(lock) {
  const { packages } = JSON.parse(readFileSync(lock, "utf8"));
  return new Map(/** @type {[string, Package][]} */ (Object.entries(packages)).filter(([path]) => path !== ""));
}

function nodeForUs() {
  if (isNewEnough(process.versions.node)) return process.execPath;
  const installed = installedNode(root);
  if (installed !== undefined) return installed;
  return stop(`orrery: npm installed no Node (are install scripts off?): "npm rebuild node", or use Node ${NODE_MIN}`);
}

/**
 * npm itself, as the one that started us when there is one.
 * @param {string[]} rest
 * @returns {[program: string, rest: string[]]}
 */
function npm(rest) {
  const path = process.env["npm_execpath"];
  return path !== undefined && path.endsWith(".js") ? [process.execPath, [path].concat(rest)] : ["npm", rest];
}

/**
 * Runs a command in our place: its streams, signals and exit code are ours.
 * @param {string} program
 * @param {string[]} rest
 */
function pass(program, rest) {
  const child = spawn(program, rest, { cwd: root, stdio: "inherit" });
  child.on("error", (error) => stop(`orrery: cannot start ${program}: ${error.message}`));
  // A terminal sends Ctrl-C to the child as well; other signals reach only us.
  process.on("SIGINT", () => {});
  for (const signal of /** @type {NodeJS.Signals[]} */ (["SIGTERM", "SIGHUP"]))
    process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => process.exit(signal === "SIGINT" ? 130 : code === null ? 1 : code));
}

/** @param {string} line */
function say(line) {
  process.stderr.write(`${line}\n`);
}

/**
 * @param {string} line
 * @returns {never}
 */
function stop(line) {
  say(line);
  return process.exit(2);
}

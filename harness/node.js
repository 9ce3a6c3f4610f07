/** Which Node runs us: the least version, and where npm puts the one that comes with the package. Plain JavaScript. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";

/** Types are stripped natively from here on. */
export const NODE_MIN = "24.12";

/** @param {string} version */
export function isNewEnough(version) {
  const have = version.split(".").map(Number);
  const want = NODE_MIN.split(".").map(Number);
  const major = Number(have[0]) - Number(want[0]);
  return major > 0 || (major === 0 && Number(have[1]) >= Number(want[1]));
}

/**
 * The Node of the package `node`, in a checkout's node_modules or beside us in someone else's; undefined without one.
 * @param {string} root
 * @returns {string | undefined}
 */
export function installedNode(root) {
  const program = process.platform === "win32" ? "node.exe" : "node";
  for (let folder = root; ; folder = dirname(folder)) {
    const node = join(folder, "node_modules", "node", "bin", program);
    if (existsSync(node)) return node;
    if (folder === dirname(folder)) return undefined;
  }
}

/** Which sources made a run: the git revision of the checkout, and the hash of the locked dependencies. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface GitState {
  readonly revision: string;
  /** Tracked files differ from the revision. */
  readonly dirty: boolean;
}

/** Null outside a checkout, or without git. */
export function gitState(root: string): GitState | null {
  if (!existsSync(join(root, ".git"))) return null;
  const git = (...words: string[]): string =>
    execFileSync("git", ["-C", root, ...words], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  try {
    return { revision: git("rev-parse", "HEAD"), dirty: git("status", "--porcelain", "--untracked-files=no") !== "" };
  } catch {
    return null;
  }
}

/** SHA-256 of package-lock.json; null in a published package, which npm ships without it. */
export function lockHash(root: string): string | null {
  const lock = join(root, "package-lock.json");
  return existsSync(lock) ? createHash("sha256").update(readFileSync(lock)).digest("hex") : null;
}

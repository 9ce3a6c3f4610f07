/** Where this package lies and what it is: the same answers from sources in a checkout and from dist in node_modules. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { panic } from "../../kernel/lib/assert.ts";

function findRoot(): string {
  for (let folder = import.meta.dirname; folder !== dirname(folder); folder = dirname(folder))
    if (existsSync(join(folder, "package.json"))) return folder;
  return panic("findRoot: no package.json above the command");
}

export const packageRoot = findRoot();

/** Read when asked: most commands never need it. */
export function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as { version: string };
  return version;
}

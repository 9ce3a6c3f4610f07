/**
 * Output that the documents show is output that the command prints. A block is marked by the comment above it:
 *
 *   <!-- output: orrery fuzz --help -->
 *   ```
 *   ...
 *   ```
 *
 * - staleBlocks(text, print)   commands whose block differs from what `print` gives
 * - node test/docs.ts          writes all blocks of README.md, CONTRIBUTING.md and docs/ anew
 */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";

const BLOCK = /(<!-- output: orrery (.*?) -->\n```\n)(.*?)(```\n)/gs;

export function refreshed(text: string, print: (words: string) => string): string {
  return text.replaceAll(BLOCK, (_all, head: string, words: string, _old: string, tail: string) => {
    return `${head}${print(words).trimEnd()}\n${tail}`;
  });
}

export function staleBlocks(text: string, print: (words: string) => string): string[] {
  return [...text.matchAll(BLOCK)]
    .filter(([, , words, old]) => print(words!).trimEnd() !== old!.trimEnd())
    .map((m) => m[2]!);
}

export const documents = (): string[] => [
  "README.md",
  "CONTRIBUTING.md",
  ...readdirSync("docs", { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".md"))
    .map((file) => `docs/${file}`),
];

export function printed(words: string): string {
  const command = [process.execPath, "harness/launcher.js", ...words.split(" ")];
  return spawnSync(command[0]!, command.slice(1), { encoding: "utf8", env: { ...process.env, NO_COLOR: "1" } }).stdout;
}

if (import.meta.main)
  for (const file of documents()) writeFileSync(file, refreshed(readFileSync(file, "utf8"), printed));

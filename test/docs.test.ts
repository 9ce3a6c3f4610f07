import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { documents, printed, refreshed, staleBlocks } from "./docs.ts";

const print = (words: string): string => `new ${words}\n`;

it.each(documents())("%s shows what the commands print (npm run docs writes it anew)", (file) => {
  expect(staleBlocks(readFileSync(file, "utf8"), printed)).toEqual([]);
});

it.each(documents())("%s links only to files that are there", (file) => {
  const links = [...readFileSync(file, "utf8").matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)].map((match) => match[1]!);
  expect(links.filter((link) => !existsSync(join(dirname(file), link)))).toEqual([]);
});

it("staleBlocks() sees a block that is not what is printed, and refreshed() mends it (canary)", () => {
  const text = "a\n<!-- output: orrery version -->\n```\nold\n```\nb\n";
  expect(staleBlocks(text, print)).toEqual(["version"]);
  expect(refreshed(text, print)).toBe("a\n<!-- output: orrery version -->\n```\nnew version\n```\nb\n");
  expect(staleBlocks(refreshed(text, print), print)).toEqual([]);
});

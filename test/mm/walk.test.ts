import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { walkPage } from "../../harness/mm/walk_page.ts";

it("docs/flows.md shows the walk as the code prints it", async () => {
  const shown = /<!-- output: orrery walk page -->\n```\n([^]*?)\n```/.exec(readFileSync("docs/flows.md", "utf8"))?.[1];
  expect((await walkPage()).join("\n")).toBe(shown);
});

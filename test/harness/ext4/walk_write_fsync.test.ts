import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { walkWriteFsync } from "../../../harness/ext4/walk_write_fsync.ts";

const lines = await walkWriteFsync();
const placeOf = (what: RegExp): number => lines.findIndex((line) => what.test(line));

it("docs/flows.md shows the walk as the code prints it", () => {
  const flows = readFileSync("docs/flows.md", "utf8");
  const shown = /<!-- output: orrery walk write-fsync -->\n```\n([^]*?)\n```/.exec(flows)?.[1];
  expect(lines.join("\n")).toBe(shown);
});

it("comes in the order that durability asks for", () => {
  const order = [
    /^pwrite/,
    /ext4_da_reserve/,
    /^fsync/,
    /ext4_allocate_blocks/,
    /WRITE .*: data/,
    /WRITE .*: journal: descriptor of transaction 3/,
    /FLUSH/,
    /WRITE FUA .*: journal: commit of transaction 3/,
    /s later/,
    /WRITE .*: inode table/,
    /WRITE FUA .*: journal: superblock/,
  ].map(placeOf);
  expect(order).not.toContain(-1);
  expect(order).toEqual(order.toSorted((one, other) => one - other));
});

it("writes nothing before fsync asks for it", () => {
  expect(lines.slice(0, placeOf(/^fsync/)).filter((line) => /WRITE|FLUSH/.test(line))).toEqual([]);
});

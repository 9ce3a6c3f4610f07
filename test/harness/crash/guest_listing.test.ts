/** The tree as a guest's shell tells it. */
import { expect, it } from "vitest";
import { LISTING_RULE, listingOf, sameEntry } from "../../../harness/crash/guest_listing.ts";

const MD5 = "d41d8cd98f00b204e9800998ecf8427e";
const TEXT = [
  "41ed|64|17|.",
  "81a4|65|5|./A/f 1",
  "81a4|66|5|./A/f2",
  "a1ff|67|2|'./s1' -> 'A/f 1'",
  LISTING_RULE,
  `${MD5}  ./A/f 1`,
  "md5sum: can't open './A/f2': Input/output error",
].join("\n");

it("listingOf() tells type, size, content and target, and what could not be read", () => {
  const { tree, unread } = listingOf(TEXT);
  expect([...tree.values()]).toEqual([
    { path: ".", mode: 0o40755, inode: 64, size: 0, content: "" },
    { path: "A/f 1", mode: 0o100644, inode: 65, size: 5, content: MD5 },
    { path: "A/f2", mode: 0o100644, inode: 66, size: 5, content: "unread" },
    { path: "s1", mode: 0o120777, inode: 67, size: 0, content: "A/f 1" },
  ]);
  expect(unread).toEqual(["md5sum: can't open './A/f2': Input/output error"]);
});

it("sameEntry() looks at type, size and content, and at no inode number", () => {
  const entry = listingOf(TEXT).tree.get("A/f 1")!;
  expect(sameEntry(entry, { ...entry, inode: 9 })).toBe(true);
  for (const other of [{ mode: 0o100600 }, { size: 6 }, { content: "" }])
    expect(sameEntry(entry, { ...entry, ...other })).toBe(false);
  expect(sameEntry(entry, undefined)).toBe(false);
});

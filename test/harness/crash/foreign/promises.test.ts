/** What is owed after each marker, from what a guest saw. */
import { expect, it } from "vitest";
import { brokenPromise, owedBy } from "../../../../harness/crash/foreign/promises.ts";
import { LISTING_RULE, listingOf } from "../../../../harness/crash/guest_listing.ts";

const MD5_DIGITS = 32;
/** path -> content, written as its inode and a letter: "65a". */
function told(files: Readonly<Record<string, string>>): string {
  const lines = Object.entries(files);
  const names = lines.map(([path, content]) => `81a4|${content.slice(0, 2)}|5|./${path}`);
  const sums = lines.map(([path, content]) => `${content.slice(2).repeat(MD5_DIGITS)}  ./${path}`);
  return [...names, LISTING_RULE, ...sums].join("\n");
}
const step = (command: string, marker?: string) => (marker === undefined ? { command } : { command, marker });
const pathsOwed = (owed: ReturnType<typeof owedBy>): string[] =>
  owed.map((entries) =>
    entries.firm
      .map(({ path }) => path)
      .sort()
      .join(" "),
  );

const FIRM = { fsyncPromises: true, syncFlushes: true };

/** A run of seven steps, cut in the midst of the last one. */
const COMMANDS = [
  step("echo > /mnt/f1; echo > /mnt/f12; echo > /mnt/A/g"),
  step("sync", "sync1"),
  step("echo >> /mnt/f12"),
  step("echo > /mnt/f3"),
  step("sync /mnt/f3", "fsyncf3"),
  step("ln /mnt/f1 /mnt/h"),
  step("rm -r /mnt/A"),
];
const FIRST = { f1: "65a", f12: "66a", "A/g": "67a" };
const SEEN = [
  { step: 2, text: told(FIRST) },
  { step: 5, text: told({ ...FIRST, f12: "66b", f3: "68a" }) },
  { step: 6, text: told({ ...FIRST, f12: "66b", f3: "68a", h: "65a" }) },
];
const RUN = { commands: COMMANDS, cutStep: 6, seen: SEEN };

it("a sync owes the tree, an fsync its file, and a name that a step touches is owed no more", () => {
  // Before the mount, before the sync, behind it (f12 is being changed), behind the fsync (f1 and A are).
  expect(pathsOwed(owedBy(RUN, FIRM))).toEqual(["", "", "A/g f1", "f3"]);
});

it("where fsync promises no name, it owes nothing new", () => {
  expect(pathsOwed(owedBy(RUN, { ...FIRM, fsyncPromises: false }))).toEqual(["", "", "A/g f1", ""]);
});

it("where a sync does not flush, what it wrote is owed firmly from the next fsync on", () => {
  const owed = owedBy(RUN, { fsyncPromises: false, syncFlushes: false });
  expect(pathsOwed(owed)).toEqual(["", "", "", ""]);
  expect(owed.map(({ unflushed }) => unflushed.length)).toEqual([0, 0, 2, 0]);
  const untouched = {
    ...RUN,
    cutStep: 4,
    commands: COMMANDS.slice(0, 5),
    seen: [SEEN[0]!, SEEN[1]!, { ...SEEN[1]!, step: 5 }],
  };
  const later = owedBy(untouched, { fsyncPromises: false, syncFlushes: false });
  expect(pathsOwed(later)).toEqual(["", "", "", "A/g f1"]);
});

it("a file that is changed by another of its names is owed no more", () => {
  const seen = [
    { step: 1, text: told({ f1: "65a", h: "65a", g: "66a" }) },
    { step: 1, text: told({ f1: "65a", h: "65a", g: "66a" }) },
  ];
  const commands = [step("sync", "sync0"), step("echo >> /mnt/h")];
  expect(pathsOwed(owedBy({ commands, cutStep: 1, seen }, FIRM))).toEqual(["", "", "g"]);
});

it("a change that no step names is seen in the tree of the next marker", () => {
  const commands = [step("sync", "sync0"), step("rm /mnt/*1"), step("sync", "sync2"), step("true")];
  const seen = [
    { step: 1, text: told({ f1: "65a", g: "66a" }) },
    { step: 3, text: told({ g: "66a" }) },
    { step: 3, text: told({ g: "66a" }) },
  ];
  expect(pathsOwed(owedBy({ commands, cutStep: 3, seen }, FIRM))).toEqual(["", "", "g", "g"]);
});

it("brokenPromise() names what is not there, and what is there otherwise", () => {
  const owed = [...listingOf(told({ f1: "65a" })).tree.values()];
  const tree = (files: Record<string, string>) => listingOf(told(files)).tree;
  expect(brokenPromise(owed, tree({ f1: "99a", more: "66a" }))).toBeUndefined();
  expect(brokenPromise(owed, tree({ f2: "65a" }))).toEqual({ class: "lost", why: "f1: it is not there" });
  expect(brokenPromise(owed, tree({ f1: "65b" }))).toEqual({ class: "content", why: "f1 has another content" });
});

import { expect, it } from "vitest";
import { emitShrunk } from "../../../harness/cli/crash_shrunk.ts";

const SHRUNK = {
  id: "0123456789ab-e0-p3x1.2",
  small: "0123456789ab-e0-p3x1",
  tried: 4,
  verdict: { class: "lost", why: "f: no such file or directory" },
  timeline: [
    { write: 0, offset: 0, bytes: 512, what: "superblock", fate: "there" },
    { write: 1, offset: 512, bytes: 512, what: "data", fate: "lost" },
  ],
} as const;
const OPTIONS = { base: "b.img", log: "l.log", policy: "kernel", format: "table" } as const;

const printed = (fs?: string): string => {
  let text = "";
  emitShrunk({ ...SHRUNK, ...(fs === undefined ? {} : { fs }) }, OPTIONS, (part) => (text += part));
  return text;
};

it("shows what was lost, in words where the format is ours, and the command with the file system where it is not", () => {
  expect(printed()).toContain("data");
  expect(printed()).toContain("orrery crash show 0123456789ab-e0-p3x1 --base b.img --log l.log");
  expect(printed()).not.toContain("superblock");
  expect(printed("xfs")).not.toContain("data");
  expect(printed("xfs")).toContain("orrery crash show 0123456789ab-e0-p3x1 --fs xfs --base b.img --log l.log");
});

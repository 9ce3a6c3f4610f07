/** ACE's workloads: the published counts, and that each can be carried out on a plain model of the files. */
import { describe, expect, it } from "vitest";
import { aceSpace } from "../../../harness/crash/ace.ts";
import type { AceCall, AceWorkload } from "../../../harness/crash/ace.ts";

const parent = (path: string): string => (path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "/");

/** What a call needs, asked of the plainest model there is; undefined when all is well. */
function wrong({ calls }: AceWorkload): string | undefined {
  const nodes = new Map<string, { readonly type: "f" | "d" }>([["/", { type: "d" }]]);
  const inside = (dir: string): string[] => [...nodes.keys()].filter((path) => path.startsWith(`${dir}/`));
  const step = ({ op, path, to }: AceCall): string | undefined => {
    const here = nodes.get(path);
    if (op === "creat" || op === "mkdir") {
      if (here !== undefined) return `${op} ${path} exists`;
      if (nodes.get(parent(path))?.type !== "d") return `${op} ${path} has no parent`;
      nodes.set(path, { type: op === "creat" ? "f" : "d" });
      return undefined;
    }
    if (here === undefined) return `${op} ${path} is not there`;
    if (op === "rmdir") {
      if (inside(path).length > 0) return `rmdir ${path} is not empty`;
      nodes.delete(path);
    } else if (op === "unlink" || op === "remove") nodes.delete(path);
    else if (op === "link") {
      if (nodes.has(to!)) return `link to ${to!}, which exists`;
      nodes.set(to!, here);
    } else if (op === "rename") {
      // Two names of one file stay.
      if (nodes.get(to!) === here) return undefined;
      if (here.type === "d" && inside(to!).length > 0) return `rename over ${to!}, which is not empty`;
      for (const path2 of inside(path)) {
        nodes.set(to! + path2.slice(path.length), nodes.get(path2)!);
        nodes.delete(path2);
      }
      nodes.delete(path);
      nodes.set(to!, here);
    } else if (op !== "sync" && op !== "fsync" && here.type !== "f") return `${op} ${path} is a directory`;
    return undefined;
  };
  for (const call of calls) {
    const what = step(call);
    if (what !== undefined) return what;
  }
  return undefined;
}

describe("aceSpace", () => {
  it("has the published counts", () => {
    expect(aceSpace(1).count).toBe(328);
    expect(aceSpace(1, true).count).toBe(336);
    expect(aceSpace(2).count).toBe(241_720);
    expect(aceSpace(2, true).count).toBe(254_032);
  });

  it("310 of the 328 differ: the others leave out the point that tells them apart", () => {
    const space = aceSpace(1);
    const all = Array.from({ length: space.count }, (_, n) => space.at(n));
    expect(new Set(all.map(({ text }) => text)).size).toBe(310);
    expect(new Set(all.map(({ calls }) => JSON.stringify(calls))).size).toBe(310);
  });

  it.each([
    [1, 1],
    [2, 97],
  ])("every workload of seq-%i can be carried out (each %i-th is tried)", (length, step) => {
    const space = aceSpace(length, true);
    for (let n = 0; n < space.count; n += step) expect(wrong(space.at(n)), space.at(n).text).toBeUndefined();
  });

  it("ends each workload with a persistence point", () => {
    const space = aceSpace(2);
    for (let n = 0; n < space.count; n += 501) {
      const last = space.at(n).calls.at(-1)!;
      expect(["fsync", "sync", "fdatasync", "mmapwrite"]).toContain(last.op);
    }
  });
});

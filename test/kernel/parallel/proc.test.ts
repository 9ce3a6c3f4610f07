/** /proc and /sys of the parallel machine: the files of the lockstep machine, with figures that are its own. */
import { describe, expect, it } from "vitest";
import { MACHINE_DEFAULTS, openWith } from "../../../harness/machine/machine.ts";
import type { MachineOptions } from "../../../harness/machine/machine.ts";
import { openParallel } from "../../../harness/machine/parallel.ts";
import { looks, SHOWN } from "./programs.ts";

const OPTIONS: MachineOptions = {
  ...MACHINE_DEFAULTS,
  cpus: 2,
  memoryBytes: 64 * 2 ** 20,
  disk: "new:32M",
  workload: `${new URL("programs.ts", import.meta.url).pathname}#looks`,
};

/** By path, what the program told of it. */
const byPath = (lines: readonly string[]): ReadonlyMap<string, string> =>
  new Map(lines.map((line) => [line.slice(0, line.indexOf("\n")), line.slice(line.indexOf("\n") + 1)]));
/** What is left of a text without its figures and states. */
const form = (text: string): string =>
  text
    .replaceAll(/\d+/g, "0")
    .replaceAll(/\b[RSDX](?: \([a-z ]+\)|\b)/g, "?")
    .replaceAll(/[ \t]+/g, " ");
const number = (text: string, pattern: RegExp): number => Number(pattern.exec(text)?.[1]);

async function lockstep(): Promise<ReadonlyMap<string, string>> {
  const machine = await openWith(OPTIONS, looks.tasks(OPTIONS));
  machine.run(300e6);
  machine.stop();
  return byPath(machine.console);
}

async function parallel(): Promise<ReadonlyMap<string, string>> {
  const { machine, console: lines } = await openParallel(OPTIONS);
  while (lines.length < SHOWN.length) await machine.run(0.1);
  const { problems } = await machine.stop();
  expect(problems).toEqual([]);
  return byPath(lines);
}

describe("/proc of a parallel machine", () => {
  it("has the lockstep machine's files in the same form, and says how its own time and memory are used", async () => {
    const [mine, theirs] = [await parallel(), await lockstep()];
    expect([...mine.keys()]).toEqual(SHOWN);
    for (const path of SHOWN.filter((shown) => !shown.endsWith("wchan")))
      expect(form(mine.get(path)!)).toBe(form(theirs.get(path)!));
    const [meminfo, stat, io] = ["meminfo", "stat", "PID/io"].map((path) => mine.get(`/proc/${path}`)!);
    const free = number(meminfo!, /MemFree: +(\d+)/);
    expect(free).toBeGreaterThan(0);
    expect(free).toBeLessThan(number(meminfo!, /MemTotal: +(\d+)/));
    expect(number(stat!, /ctxt (\d+)/)).toBeGreaterThan(0);
    expect(mine.get("/proc/mounts")).toContain(" / ext4 ");
    expect(mine.get("/proc/PID/stat")).toMatch(/^1 \(looker\) [RSD] 0 /);
    // Two rounds and what it has read of the last.
    expect(number(io!, /syscr: (\d+)/)).toBe(3 * SHOWN.length - (SHOWN.length - SHOWN.indexOf("/proc/PID/io")));
    expect(number(io!, /syscw: (\d+)/)).toBe(SHOWN.indexOf("/proc/PID/io"));
  }, 120_000);
});

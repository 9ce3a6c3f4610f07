import { expect, it } from "vitest";
import { judge } from "../../../harness/machine/judge.ts";
import { live } from "../../../harness/machine/live.ts";
import { MACHINE_DEFAULTS, openMachine } from "../../../harness/machine/machine.ts";
import type { OpenMachine } from "../../../harness/machine/machine.ts";
import { View } from "../../../harness/machine/view.ts";

const TINY = {
  ...MACHINE_DEFAULTS,
  cpus: 2,
  memoryBytes: 64 * 2 ** 20,
  disk: "new:16M",
  workload: new URL("./tiny_load.ts", import.meta.url).pathname,
};

it("View shows CPUs, memory, journal, disk and tasks within the columns", async () => {
  const machine = await openMachine(TINY);
  const view = new View(machine);
  machine.run(machine.booted.machine.time[0]! + 20e6);
  const lines = view.lines(80);
  for (const word of ["cpu0", "cpu1", "frames", "memory", "cache", "jbd2", "disk", "writer"])
    expect(lines.some((line) => line.includes(word))).toBe(true);
  expect(lines.every((line) => line.length <= 80)).toBe(true);
});

interface Watched {
  readonly drawn: string;
  readonly machine: OpenMachine;
  readonly events: number;
}

/** Keys pressed frame by frame; what was drawn, and the machine that is there at the end, shut down. */
async function watch(script: readonly string[]): Promise<Watched> {
  const left = [...script];
  let drawn = "";
  let nowMs = 0;
  const machine = await live(await openMachine(TINY), {
    untilNs: 30e9,
    terminal: { columns: 100, write: (text) => void (drawn += text) },
    keys: { take: () => left.shift() ?? "q", close: () => undefined },
    stop: new AbortController().signal,
    sleep: () => Promise.resolve(),
    // Each look at the clock takes half a frame: a slice of virtual time a frame.
    nowMs: () => (nowMs += 50),
  });
  const events = machine.booted.system.steps();
  machine.stop();
  return { drawn, machine, events };
}

it("keys: pause stands still, a step is one event, a step back undoes it, q shuts the machine down", async () => {
  const stood = await watch(["", "p", ""]);
  expect((await watch(["", "p", "", "", ""])).events).toBe(stood.events);
  expect((await watch(["", "p", "s", ""])).events).toBe(stood.events + 1);
  const back = await watch(["", "p", "s", "b", ""]);
  expect(back.events).toBe(stood.events);
  expect(back.drawn).toContain("step back");
});

/** s_feature_incompat of the superblock has needs_recovery. */
const needsRecovery = (image: Uint8Array): boolean => (image[1024 + 0x60]! & 4) !== 0;

it("c pulls the plug: another machine boots from what was durable, recovers it, and goes on", async () => {
  const whole = await watch(["", "", "", "", "", ""]);
  const { drawn, machine, events } = await watch(["", "", "", "c", "", ""]);
  expect(drawn).toContain("the plug was pulled once");
  expect(whole.machine.image0).toBe(undefined);
  expect(needsRecovery(machine.image0!)).toBe(true);
  expect(events).toBeLessThan(whole.events);
  expect(judge(machine)).toEqual({ damage: 0, promises: 0, broken: [] });
  expect(needsRecovery(machine.image)).toBe(false);
});

import { expect, it } from "vitest";
import { live } from "../../../harness/machine/live.ts";
import { MACHINE_DEFAULTS, openMachine } from "../../../harness/machine/machine.ts";
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

/** Keys pressed frame by frame; what was drawn. */
async function watch(
  script: readonly string[],
): Promise<{ readonly drawn: string; readonly events: number; readonly ns: number }> {
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
  machine.stop();
  return { drawn, events: machine.booted.system.steps(), ns: machine.booted.machine.time[0]! };
}

it("keys: pause stands still, a step is one event, a step back undoes it, q shuts the machine down", async () => {
  const ran = await watch(["", "p", "", ""]);
  const stood = await watch(["", "p", ""]);
  expect(stood.events).toBe(ran.events);
  const back = await watch(["", "p", "s", "b", ""]);
  expect(back.events).toBe(ran.events);
  expect(back.drawn).toContain("step back");
});

it("c pulls the plug: the next machine recovers from what was durable, and goes on", async () => {
  const { drawn } = await watch(["", "", "", "c", "", ""]);
  expect(drawn).toContain("the plug was pulled once");
});

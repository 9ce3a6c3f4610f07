import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NS_PER_MS, NS_PER_SEC, nanos } from "../../kernel/abi/units.ts";
import { Psi, PsiResource, PsiTask, decay, fixedPower } from "../../mm/psi.ts";

function clocked(cpus: number) {
  const clock = { now: 0 };
  const machine = { now: () => nanos(clock.now), chance: () => false, below: () => 0, trace: () => undefined };
  return { clock, psi: new Psi(machine, cpus), machine };
}
const PERIOD = 2.004 * NS_PER_SEC;

describe("Psi", () => {
  it("decay() rounds up while rising and reaches a constant load", () => {
    let load = 0;
    for (let step = 0; step < 3000; step++) load = decay(load, 2034, 100 * 2048);
    expect(load).toBe(100 * 2048);
    for (let step = 0; step < 3000; step++) load = decay(load, 2034, 0);
    expect(load).toBe(0);
  });

  it("fixedPower() of one step is the factor itself", () => {
    expect(fixedPower(1677, 0)).toBe(2048);
    expect(fixedPower(1677, 1)).toBe(1677);
    expect(fixedPower(1677, 2)).toBe(Math.floor((1677 * 1677 + 1024) / 2048));
  });

  it("a CPU whose only task stalls for memory half of the time: some and full 50 %", () => {
    const { clock, psi } = clocked(1);
    psi.change(0, PsiTask.Running, 1);
    psi.change(0, PsiTask.OnCpu, 1);
    for (let ms = 0; ms < 120_240; ms += 10) {
      clock.now = ms * NS_PER_MS;
      if ((ms / 10) % 2 === 0) psi.memstallEnter(0);
      else psi.memstallLeave(0);
      psi.sample();
    }
    for (const full of [false, true]) {
      const [avg10, avg60] = psi.averages(PsiResource.Memory, full);
      expect(avg10 / 2048).toBeGreaterThan(49);
      expect(avg10 / 2048).toBeLessThan(51);
      expect(avg60 / 2048).toBeGreaterThan(42);
      expect(psi.totalUs(PsiResource.Memory, full) / 1e6).toBeCloseTo(60.1, 0);
    }
    expect(psi.text(PsiResource.Memory)).toMatch(
      /^some avg10=\d+\.\d\d avg60=\d+\.\d\d avg300=\d+\.\d\d total=\d+\nfull /,
    );
    expect(psi.averages(PsiResource.Cpu, false)).toEqual([0, 0, 0]);
  });

  it("full needs that nobody makes progress; CPUs are weighted by their non-idle time", () => {
    const { clock, psi } = clocked(2);
    // CPU 0: one task stalls, another runs. CPU 1 is idle and must not dilute it.
    psi.change(0, PsiTask.Running, 2);
    psi.change(0, PsiTask.OnCpu, 1);
    psi.memstallEnter(0);
    for (let tick = 1; tick <= 60; tick++) {
      clock.now = tick * PERIOD;
      psi.sample();
    }
    expect(psi.averages(PsiResource.Memory, false)[0]).toBe(100 * 2048);
    expect(psi.averages(PsiResource.Memory, true)).toEqual([0, 0, 0]);
    expect(psi.averages(PsiResource.Cpu, false)[0]).toBe(100 * 2048);
  });

  it("missed periods decay as zeros", () => {
    const { clock, psi } = clocked(1);
    psi.change(0, PsiTask.IoWait, 1);
    clock.now = PERIOD;
    psi.sample();
    psi.change(0, PsiTask.IoWait, -1);
    const first = psi.averages(PsiResource.Io, true)[0];
    expect(first).toBe(decay(0, 1677, 100 * 2048));
    clock.now = PERIOD * 6;
    psi.sample();
    expect(psi.averages(PsiResource.Io, true)[0]).toBe(decay(decay(first, fixedPower(1677, 4), 0), 1677, 0));
    expect(psi.next()).toBe(PERIOD * 7);
  });

  it("totals equal the obvious sum over one CPU, and state survives a copy of its buffer", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(3000), fc.boolean()), { minLength: 1, maxLength: 60 }), (steps) => {
        const { clock, psi, machine } = clocked(1);
        let stalled = false;
        let sum = 0;
        for (const [ms, wish] of steps) {
          clock.now += ms * NS_PER_MS;
          if (stalled) sum += ms * NS_PER_MS;
          if (wish !== stalled) psi.change(0, PsiTask.IoWait, wish ? 1 : -1);
          stalled = wish;
        }
        // The weight is in whole ticks: less than one tick of stall counts as none.
        const copy = new Psi(machine, 1, psi.buffer.slice(0));
        copy.sample();
        expect(copy.totalUs(PsiResource.Io, false)).toBe(sum < 4 * NS_PER_MS ? 0 : sum / 1000);
      }),
      { seed: 5 },
    );
  });
});

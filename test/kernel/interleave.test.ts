/**
 * The parallel world's protocols between CPUs, in every interleaving, each beside variants with a known mistake that
 * must be found. Steps follow kernel/task.ts, kernel/cpu_loop.ts, kernel/smp.ts and sched/ word for word; the
 * lock's own hand-over is in test/mm/interleave.test.ts.
 */
import { describe, expect, it } from "vitest";
import type { Exploration, Memory, Step, Thread } from "../mm/interleave.ts";
import { acquire, compareExchange, exchange, explore, load, release, store } from "../mm/interleave.ts";

/** A read-modify-write by a function of what was there, which it returns. */
const update = (word: string, to: (seen: number) => number): Step => ({
  word,
  write: true,
  run: (memory) => {
    const seen = memory[word] ?? 0;
    memory[word] = to(seen);
    return seen;
  },
});
/** Atomics.wait on a word that others notify: looks and falls asleep as one; then nothing until the word is notified. */
const sleepWhile = (word: string, value: number): Step => ({
  word,
  write: true,
  run: (memory) => (memory[`${word} asleep`] = (memory[word] ?? 0) === value ? 1 : 0),
});
const awake = (word: string): Step => ({
  word,
  write: false,
  blocked: (memory) => memory[`${word} asleep`] === 1,
  run: () => 0,
});
const notify = (word: string): Step => ({
  word,
  write: true,
  run: (memory) => (memory[`${word} asleep`] = 0),
});

const messageOf = ({ bug }: Exploration): string | undefined => bug?.message;

describe("block against wake (task.ts: wakes)", () => {
  const GOING = -1;
  const ASLEEP = -2;
  const SLEEPING = 1;
  type Bug = "none" | "look then note" | "nobody settles" | "asleep at once";

  /** A task's Wait and its CPU's switch away; `woken` counts how often it was made runnable again. */
  function* waiter(bug: Bug): Thread {
    if (bug === "look then note") {
      if ((yield load("wakes")) > 0) {
        yield update("wakes", (n) => n - 1);
        return;
      }
      yield store("wakes", ASLEEP);
    } else if ((yield compareExchange("wakes", 0, bug === "asleep at once" ? ASLEEP : GOING)) !== 0) {
      yield update("wakes", (n) => n - 1);
      return;
    }
    yield store("state", SLEEPING);
    if (bug === "asleep at once" || bug === "look then note") return;
    if ((yield compareExchange("wakes", GOING, ASLEEP)) !== GOING && bug === "none") yield* wakeUp();
  }
  function* wakeUp(): Thread {
    const state = yield exchange("state", 0);
    yield update(state === SLEEPING ? "woken" : "refused", (n) => n + 1);
  }
  function* waker(bug: Bug): Thread {
    for (;;) {
      const seen = yield load("wakes");
      const then = seen < 0 ? 0 : seen + 1;
      if (bug === "look then note" && seen >= 0) yield store("wakes", then);
      else if ((yield compareExchange("wakes", seen, then)) !== seen) continue;
      if (seen === ASLEEP) yield* wakeUp();
      return;
    }
  }
  const model = (bug: Bug, wakers: number): Exploration =>
    explore(
      () => ({ memory: {}, threads: [waiter(bug), ...Array.from({ length: wakers }, () => waker(bug))] }),
      (memory) => {
        if ((memory["refused"] ?? 0) > 0) return "a task was woken that did not sleep yet";
        if (memory["state"] === SLEEPING) return "it sleeps for ever";
        const kept = memory["wakes"] ?? 0;
        return kept === wakers - 1 ? undefined : `${wakers} wakes sent, one taken, ${kept} kept`;
      },
    );

  it("loses no wake and refuses none, with one and two wakers", () => {
    for (const wakers of [1, 2]) expect(messageOf(model("none", wakers))).toBeUndefined();
  });
  it("mistakes are found: a look before the note, nobody who settles, a waker that meets a task on its way", () => {
    expect(messageOf(model("look then note", 1))).toMatch(/for ever|woken that did not|wakes sent/);
    expect(messageOf(model("nobody settles", 1))).toBe("it sleeps for ever");
    expect(messageOf(model("asleep at once", 1))).toBe("a task was woken that did not sleep yet");
  });
});

describe("idle against kick (cpu_loop.ts: #idle, smp.ts: idle, kick)", () => {
  type Bug = "none" | "one look" | "waits without a look" | "kicks before the word";

  /** A CPU that finds nothing and goes to sleep; it ends when it has taken the work. */
  function* idler(bug: Bug): Thread {
    for (;;) {
      for (let look = 0; look < (bug === "one look" ? 1 : 2); look++) {
        yield exchange("resched", 0);
        if ((yield load("work")) === 1) {
          yield store("work", 0);
          return;
        }
        yield update("idle", () => 1);
      }
      yield store("waiting", 1);
      if (bug === "waits without a look") yield store("resched", 0);
      yield sleepWhile("resched", 0);
      yield awake("resched");
      yield store("waiting", 0);
    }
  }
  function* kicker(bug: Bug): Thread {
    yield store("work", 1);
    // Nobody idles: whoever comes to idle later looks once more.
    if ((yield update("idle", (seen) => seen)) === 0) return;
    if ((yield exchange("idle", 0)) === 0) return;
    if (bug === "kicks before the word" && (yield load("waiting")) === 1) yield notify("resched");
    yield update("resched", () => 1);
    if (bug !== "kicks before the word" && (yield load("waiting")) === 1) yield notify("resched");
  }
  const model = (bug: Bug): Exploration =>
    explore(
      () => ({ memory: {}, threads: [idler(bug), kicker(bug)] }),
      (memory) => (memory["work"] === 0 ? undefined : "work was left"),
    );

  it("never sleeps beside work", () => {
    expect(messageOf(model("none"))).toBeUndefined();
  });
  it("mistakes are found: one look, a word cleared before the wait, a kick before its word", () => {
    expect(messageOf(model("one look"))).toBe("deadlock");
    expect(messageOf(model("waits without a look"))).toBe("deadlock");
    expect(messageOf(model("kicks before the word"))).toBe("deadlock");
  });
});

describe("a shared queue's taker against a renice (dsq.ts: takeFor, moves.ts: moveTo, renice.ts: reweigh)", () => {
  const NO_DSQ = 0;
  const SHARED = 5;
  const TAKEN = -1;
  const QUEUED = 1;
  const RUNNING = 2;
  type Bug = "none" | "no mark" | "looks twice";

  /** CPU 1 takes the task that waits on the shared queue and belongs to CPU 0's lock, and runs it. */
  function* taker(bug: Bug): Thread {
    yield acquire("lock 1");
    yield acquire("queue lock");
    const here = yield load("on queue");
    if (here === 1) {
      yield store("on queue", 0);
      yield store("dsq", bug === "no mark" ? NO_DSQ : TAKEN);
    }
    yield release("queue lock");
    if (here === 1) {
      yield store("cpu", 1);
      yield store("dsq", NO_DSQ);
      yield store("state", RUNNING);
      yield update("runs", (n) => n + 1);
    }
    yield release("lock 1");
  }
  function* renicer(bug: Bug): Thread {
    for (;;) {
      const home = yield load("cpu");
      yield acquire(`lock ${home}`);
      if ((yield load("cpu")) === home && (yield* reweigh(home, bug)) === 1) {
        yield release(`lock ${home}`);
        return;
      }
      yield release(`lock ${home}`);
      // It comes again at once, any number of times; what matters is what it finds when the taker has gone on.
      yield { ...load("dsq"), blocked: (memory) => memory["dsq"] === TAKEN };
    }
  }
  function* reweigh(home: number, bug: Bug): Generator<Step, number, number> {
    const dsq = yield load("dsq");
    const state = yield load("state");
    if ((yield load("cpu")) !== home || dsq === TAKEN) return 0;
    if (state === QUEUED) {
      const now = bug === "looks twice" ? yield load("dsq") : dsq;
      if (now !== NO_DSQ) {
        yield acquire("queue lock");
        const there = (yield load("dsq")) === now && now === SHARED;
        if (there) {
          yield store("on queue", 0);
          yield store("dsq", NO_DSQ);
        }
        yield release("queue lock");
        if (!there) return 0;
      }
      // On no queue: the policy's own to take off. Then back to where the policy puts it.
      yield acquire("queue lock");
      yield store("on queue", 1);
      yield store("dsq", SHARED);
      yield release("queue lock");
    }
    yield store("weight", 1);
    return 1;
  }
  const model = (bug: Bug, takers: number): Exploration =>
    explore(
      () => ({
        memory: { dsq: SHARED, "on queue": 1, state: QUEUED },
        threads: [renicer(bug), ...Array.from({ length: takers }, () => taker(bug))],
      }),
      (memory) => {
        const places = (memory["on queue"] ?? 0) + (memory["runs"] ?? 0);
        if (places !== 1) return places > 1 ? "it runs and waits at once" : "it is lost";
        return memory["weight"] === 1 ? undefined : "its weight was not changed";
      },
    );

  it("leaves the task in one place", () => {
    expect(messageOf(model("none", 1))).toBeUndefined();
  });
  it("mistakes are found: a taker that leaves no mark, a renicer that looks twice (found by the stress first)", () => {
    expect(messageOf(model("no mark", 1))).toBe("it runs and waits at once");
    expect(messageOf(model("looks twice", 1))).toBe("it runs and waits at once");
  });
});

/** A CPU that kicks the other and idles. */
function* kickThenIdle(): Thread {
  yield store("resched 1", 1);
  yield update("idle", (n) => n + 1);
}

describe("nothing will ever happen again (smp.ts: isQuiet)", () => {
  type Bug = "none" | "no generation" | "leaves before it is gone";

  /** CPU 0 works, wakes CPU 1, and idles; CPU 1 idles, is woken, works, idles. Each sleep is one step here. */
  function* second(bug: Bug): Thread {
    yield { ...load("resched 1"), blocked: (memory: Memory) => memory["resched 1"] !== 1 };
    if (bug === "leaves before it is gone") yield update("left", (n) => n + 1);
    yield update("idle", (n) => n - 1);
    if (bug !== "leaves before it is gone") yield update("left", (n) => n + 1);
    yield exchange("resched 1", 0);
    yield store("worked", 1);
    yield update("idle", (n) => n + 1);
  }
  function* supervisor(bug: Bug): Thread {
    const left = bug === "no generation" ? 0 : yield load("left");
    if ((yield load("idle")) !== 2) return;
    if ((yield load("resched 1")) !== 0) return;
    if (bug !== "no generation" && (yield load("left")) !== left) return;
    if ((yield load("worked")) === 0) yield store("wrong", 1);
  }
  const model = (bug: Bug): Exploration =>
    explore(
      () => ({ memory: { idle: 1 }, threads: [kickThenIdle(), second(bug), supervisor(bug)] }),
      (memory) => (memory["wrong"] === 1 ? "it was called quiet while a CPU had work" : undefined),
    );

  it("is only said when it is true", () => {
    expect(messageOf(model("none"))).toBeUndefined();
  });
  it("mistakes are found: no count of those who left, a count that is raised too early (found here first)", () => {
    expect(messageOf(model("no generation"))).toBe("it was called quiet while a CPU had work");
    expect(messageOf(model("leaves before it is gone"))).toBe("it was called quiet while a CPU had work");
  });
});

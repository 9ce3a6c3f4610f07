/**
 * The allocator's protocols between CPUs, in every interleaving, each beside a variant with a known mistake that must
 * be found. Steps follow kernel/lib/lock.ts, mm/pcp.ts, mm/slub.ts word for word.
 */
import { describe, expect, it } from "vitest";
import {
  type Memory,
  type Step,
  type Thread,
  acquire,
  compareExchange,
  exchange,
  explore,
  load,
  release,
  store,
} from "./interleave.ts";

const FREE = 0;
const HELD = 1;
const CONTENDED = 2;

/** Atomics.wait: sleeps while the word has the value and nobody notifies. `asleep` is the kernel's wait queue. */
const sleepOn = (word: string, value: number, me: string): Step => ({
  word,
  write: true,
  run: (memory) => (memory[me] = memory[word] === value ? 1 : 0),
});
const woken = (me: string): Step => ({
  word: "lock",
  write: true,
  blocked: (memory) => memory[me] === 1,
  run: () => 0,
});
const notifyOne = (sleepers: readonly string[]): Step => ({
  word: "lock",
  write: true,
  run: (memory) => {
    const first = sleepers.find((sleeper) => memory[sleeper] === 1);
    if (first !== undefined) memory[first] = 0;
    return 0;
  },
});

type LockBug = "none" | "forgets sleepers" | "takes as held" | "check then store";

function* lockThread(name: string, all: readonly string[], bug: LockBug): Thread {
  const me = `asleep ${name}`;
  if (bug === "check then store") {
    for (;;) {
      if ((yield load("lock")) === FREE) break;
      yield sleepOn("lock", HELD, me);
      yield woken(me);
    }
    yield store("lock", HELD);
  } else if ((yield compareExchange("lock", FREE, HELD)) !== FREE) {
    while ((yield exchange("lock", bug === "takes as held" ? HELD : CONTENDED)) !== FREE) {
      yield sleepOn("lock", bug === "takes as held" ? HELD : CONTENDED, me);
      yield woken(me);
    }
  }
  // The section: a plain read, change, write of a word the lock guards.
  const seen = yield load("guarded");
  yield store("guarded", seen + 1);
  const old = yield exchange("lock", FREE);
  if (bug === "forgets sleepers" ? false : old === CONTENDED) yield notifyOne(all.map((other) => `asleep ${other}`));
}

const lockModel = (bug: LockBug, threads: number) =>
  explore(
    () => {
      const names = Array.from({ length: threads }, (_, index) => String(index));
      return { memory: {}, threads: names.map((name) => lockThread(name, names, bug)) };
    },
    (memory) => (memory["guarded"] === threads ? undefined : "two were in the section at once"),
  );

describe("lock hand-over (futex lock)", () => {
  it("is exclusive and loses no wake-up, for two and three threads", () => {
    expect(lockModel("none", 2).bug).toBeUndefined();
    expect(lockModel("none", 3).bug).toBeUndefined();
  });
  it("mistakes are found: unlock that forgets sleepers, a sleeper that takes it as uncontended, check then store", () => {
    expect(lockModel("forgets sleepers", 2).bug?.message).toBe("deadlock");
    expect(lockModel("takes as held", 3).bug?.message).toBe("deadlock");
    expect(lockModel("check then store", 2).bug?.message).toMatch(/two were in|deadlock/);
  });
});

/** Pages by where they are: count words for a CPU's list, the zone's list, and what threads hold. */
const conserve =
  (pages: number, ...words: string[]) =>
  (memory: Memory): string | undefined => {
    const sum = words.reduce((all, word) => all + (memory[word] ?? 0), 0);
    return sum === pages ? undefined : `${sum} pages of ${pages}`;
  };

/** Owner of the lists: takes a page, refilling one from the zone, and serves a request when it does. */
function* pcpOwner(): Thread {
  for (let round = 0; round < 2; round++) {
    const count = yield load("cpu0");
    if (count > 0) yield store("cpu0", count - 1);
    else {
      if ((yield load("request")) === 1) yield* pcpDrain();
      yield acquire("zone lock");
      const free = yield load("zone");
      if (free > 0) yield store("zone", free - 1);
      yield release("zone lock");
      if (free === 0) continue;
    }
    const held = yield load("held0");
    yield store("held0", held + 1);
  }
  if ((yield load("request")) === 1) yield* pcpDrain();
}

function* pcpDrain(): Generator<Step, void, number> {
  yield store("request", 0);
  const count = yield load("cpu0");
  yield acquire("zone lock");
  const free = yield load("zone");
  yield store("zone", free + count);
  yield release("zone lock");
  yield store("cpu0", 0);
}

const drainModel = (remote: boolean) =>
  explore(
    () => ({
      memory: { cpu0: 1, zone: 2 },
      threads: [
        pcpOwner(),
        (function* (): Thread {
          if (remote) yield* pcpDrain();
          else yield store("request", 1);
        })(),
      ],
    }),
    conserve(3, "cpu0", "zone", "held0"),
  );

describe("draining another CPU's lists", () => {
  it("by request: no page is lost", () => {
    expect(drainModel(false).bug).toBeUndefined();
  });
  it("done by the other CPU itself, pages are lost: found", () => {
    expect(drainModel(true).bug?.message).toMatch(/pages of 3/);
  });
});

/** Two CPUs refill from a zone list: head and next words. */
function* refill(cpu: number, locked: boolean): Thread {
  if (locked) yield acquire("zone lock");
  const head = yield load("head");
  if (head !== 0) {
    const after = yield load(`next${head}`);
    yield store("head", after);
    const taken = yield load(`taken${head}`);
    yield store(`taken${head}`, taken + 1);
    yield store(`cpu${cpu}`, head);
  }
  if (locked) yield release("zone lock");
}

const refillModel = (locked: boolean) =>
  explore(
    () => ({
      memory: { head: 1, next1: 2, next2: 0 },
      threads: [refill(0, locked), refill(1, locked), refill(2, locked)],
    }),
    (memory) => (memory["taken1"] === 1 && memory["taken2"] === 1 ? undefined : "a block was given out twice or never"),
  );

describe("refilling per-CPU lists from the zone", () => {
  it("under the zone lock each block goes to one CPU", () => {
    expect(refillModel(true).bug).toBeUndefined();
  });
  it("without it a block goes to two: found", () => {
    expect(refillModel(false).bug?.message).toMatch(/twice/);
  });
});

/** CPU 0 takes a slab's whole free list; CPU 1 gives back an object of that slab (freed remotely) in a flush. */
function* slabTake(stale: boolean): Thread {
  let head = 0;
  if (stale) head = yield load("slab free");
  yield acquire("cache lock");
  if (!stale) head = yield load("slab free");
  yield store("slab free", 0);
  yield release("cache lock");
  yield store("cpu0 list", head);
}
function* slabGive(): Thread {
  yield acquire("cache lock");
  const head = yield load("slab free");
  yield store("link3", head);
  yield store("slab free", 3);
  yield release("cache lock");
}

const remoteFreeModel = (stale: boolean) =>
  explore(
    () => ({ memory: { "slab free": 1, link1: 2, link2: 0 }, threads: [slabTake(stale), slabGive()] }),
    (memory) => {
      const seen: number[] = [];
      for (const list of ["slab free", "cpu0 list"])
        for (let object = memory[list] ?? 0; object !== 0; object = memory[`link${object}`] ?? 0) seen.push(object);
      return seen.toSorted((a, b) => a - b).join() === "1,2,3" ? undefined : `objects on lists: ${seen.join()}`;
    },
  );

describe("slab: an object freed on another CPU", () => {
  it("is on exactly one list afterwards", () => {
    expect(remoteFreeModel(false).bug).toBeUndefined();
  });
  it("a list read before the lock loses it: found", () => {
    expect(remoteFreeModel(true).bug?.message).toBe("objects on lists: 1,2");
  });
});

/** The cache is empty: both CPUs get pages without the lock, then put their slab on the partial list. */
function* newSlab(slab: number, guarded: boolean): Thread {
  if (guarded) yield acquire("cache lock");
  const first = yield load("partial");
  if (guarded) yield release("cache lock");
  if (first !== 0) return;
  // Here the page allocator runs, and may even free objects of this cache: so without the lock.
  yield store(`pages${slab}`, 1);
  if (guarded) yield acquire("cache lock");
  const head = yield load("partial");
  yield store(`next${slab}`, head);
  yield store("partial", slab);
  if (guarded) yield release("cache lock");
}

const newSlabModel = (guarded: boolean) =>
  explore(
    () => ({ memory: { partial: 0 }, threads: [newSlab(1, guarded), newSlab(2, guarded)] }),
    (memory) => {
      const listed: number[] = [];
      for (let slab = memory["partial"] ?? 0; slab !== 0; slab = memory[`next${slab}`] ?? 0) listed.push(slab);
      const made = (memory["pages1"] ?? 0) + (memory["pages2"] ?? 0);
      return listed.length === made ? undefined : "a slab with pages is on no list";
    },
  );

describe("slab: two CPUs make a new slab at once", () => {
  it("no slab is lost", () => {
    expect(newSlabModel(true).bug).toBeUndefined();
  });
  it("listed without the lock, one is: found", () => {
    expect(newSlabModel(false).bug?.message).toMatch(/no list/);
  });
});

/** The watermark is a guess read plainly; what decides is the list under the lock. */
function* lastPage(decides: boolean): Thread {
  if ((yield load("free")) <= 0) return;
  if (decides) {
    yield acquire("zone lock");
    const free = yield load("free");
    if (free > 0) yield store("free", free - 1);
    yield release("zone lock");
    if (free <= 0) return;
  } else {
    const free = yield load("free");
    yield store("free", free - 1);
  }
  const given = yield load("given");
  yield store("given", given + 1);
}

const lastPageModel = (decides: boolean) =>
  explore(
    () => ({ memory: { free: 1, given: 0 }, threads: [lastPage(decides), lastPage(decides)] }),
    // `given` is each thread's own count in one word: a lost update only makes it smaller.
    (memory) => (memory["free"]! >= 0 && memory["given"]! <= 1 ? undefined : "the last page was given twice"),
  );

describe("two CPUs want the last page", () => {
  it("one gets it", () => {
    expect(lastPageModel(true).bug).toBeUndefined();
  });
  it("if the plain read decides, both do: found", () => {
    expect(lastPageModel(false).bug?.message).toMatch(/twice/);
  });
});

const index = (head: number): number => head & 0xff;

const treiber = (tagged: boolean) => {
  function* pop(): Generator<Step, number, number> {
    for (;;) {
      const head = yield load("head");
      if (index(head) === 0) return 0;
      const after = yield load(`n${index(head)}`);
      const tag = tagged ? (head & ~0xff) + 0x100 : 0;
      if ((yield compareExchange("head", head, tag | after)) === head) return index(head);
    }
  }
  function* push(item: number): Generator<Step, void, number> {
    for (;;) {
      const head = yield load("head");
      yield store(`n${item}`, index(head));
      const tag = tagged ? (head & ~0xff) + 0x100 : 0;
      if ((yield compareExchange("head", head, tag | item)) === head) return;
    }
  }
  return explore(
    () => ({
      memory: { head: 1, n1: 2, n2: 3, n3: 0 },
      threads: [
        (function* (): Thread {
          yield store("a", yield* pop());
        })(),
        (function* (): Thread {
          const first = yield* pop();
          yield store("b", yield* pop());
          if (first !== 0) yield* push(first);
        })(),
      ],
    }),
    (memory) => {
      const seen = [memory["a"]!, memory["b"]!].filter((item) => item !== 0);
      for (let item = index(memory["head"]!), hops = 0; item !== 0 && hops < 5; item = memory[`n${item}`]!, hops++)
        seen.push(item);
      return seen.toSorted((a, b) => a - b).join() === "1,2,3" ? undefined : "an item is lost or doubled";
    },
  );
};

describe("explore()", () => {
  it("finds the ABA mistake of an untagged stack and clears the tagged one", () => {
    expect(treiber(false).bug?.message).toMatch(/lost or doubled/);
    const clear = treiber(true);
    expect(clear.bug).toBeUndefined();
    expect(clear.schedules).toBeGreaterThan(10);
  });
});

/** A policy that errs or stalls is thrown out with a message and an event, and cfs does the rest of the work. */
import { describe, expect, it } from "vitest";
import { Ev, EjectReason } from "../../kernel/abi/events.ts";
import { DSQ_GLOBAL, DSQ_LOCAL, DSQ_LOCAL_ON, SLICE_DFL } from "../../kernel/abi/sched.ts";
import type { PolicyFactory, SchedKernel, SchedPolicy } from "../../kernel/abi/sched.ts";
import { boot } from "../../kernel/worlds.ts";
import { COSTS, checkSched, closedWorkload } from "../../sched/index.ts";

/** A right policy, but for what is given. */
const but =
  (wrong: (k: SchedKernel) => Partial<SchedPolicy>): PolicyFactory =>
  (k) => ({
    name: "wrong",
    enqueue: (p, flags) => k.dsqInsert(p, DSQ_GLOBAL, SLICE_DFL, flags),
    ...wrong(k),
  });
const throws = (): never => {
  throw new TypeError("x is not a function");
};
/** Does it only when it is asked for the n-th time. */
const later = (n: number, doIt: () => void): (() => void) => {
  let calls = 0;
  return () => (++calls === n ? doIt() : undefined);
};

const { Error: erred, Stall: stalled, BadDispatch: badly } = EjectReason;
const CASES: readonly (readonly [title: string, policy: PolicyFactory, message: RegExp, reason: number])[] = [
  ["never dispatches", but(() => ({ enqueue: () => {} })), /^task \d+ waited \d+ ms to run$/, stalled],
  [
    "stalls one task",
    but((k) => ({ enqueue: (p, flags) => (p === 3 ? undefined : k.dsqInsert(p, DSQ_GLOBAL, SLICE_DFL, flags)) })),
    /^task 3 waited \d+ ms to run$/,
    stalled,
  ],
  [
    "has a time-out of its own",
    but(() => ({ timeoutMs: 1500, enqueue: () => {} })),
    /^task \d+ waited (1[5-9]|2[0-5])\d\d ms to run$/,
    stalled,
  ],
  ["throws in selectCpu", but(() => ({ selectCpu: throws })), /^selectCpu: x is not a function$/, erred],
  ["throws in runnable", but(() => ({ runnable: throws })), /^enqueue: x is not a function$/, erred],
  ["throws in enqueue", but(() => ({ enqueue: throws })), /^enqueue: x is not a function$/, erred],
  ["throws in dispatch", but(() => ({ dispatch: throws })), /^dispatch: x is not a function$/, erred],
  ["throws in running", but(() => ({ running: throws })), /^running: x is not a function$/, erred],
  ["throws in tick", but(() => ({ tick: throws })), /^tick: x is not a function$/, erred],
  ["throws in stopping", but(() => ({ stopping: throws })), /^dispatch: x is not a function$/, erred],
  ["throws in quiescent", but(() => ({ quiescent: throws })), /^dispatch: x is not a function$/, erred],
  ["throws in disable", but(() => ({ disable: throws })), /^exitTask: x is not a function$/, erred],
  ["throws in exitTask", but(() => ({ exitTask: throws })), /^exitTask: x is not a function$/, erred],
  ["throws late", but(() => ({ running: later(30, throws) })), /^running: x is not a function$/, erred],
  ["calls error()", but((k) => ({ tick: () => k.error("out of ideas") })), /^out of ideas$/, erred],
  [
    "inserts into a queue that is not there",
    but((k) => ({ enqueue: (p) => k.dsqInsert(p, 77, SLICE_DFL, 0) })),
    /^dsqInsert: there is no dispatch queue 77$/,
    badly,
  ],
  [
    "inserts on a CPU that is not there",
    but((k) => ({ enqueue: (p) => k.dsqInsert(p, DSQ_LOCAL_ON | 9, SLICE_DFL, 0) })),
    /^dsqInsert: there is no CPU 9$/,
    badly,
  ],
  [
    "inserts a task twice",
    but((k) => ({
      enqueue: (p) => {
        k.dsqInsert(p, DSQ_GLOBAL, SLICE_DFL, 0);
        k.dsqInsert(p, DSQ_LOCAL, SLICE_DFL, 0);
      },
    })),
    /^dsqInsert: task \d+ is on a dispatch queue already$/,
    badly,
  ],
  [
    "inserts the running task",
    but((k) => ({ tick: (p) => k.dsqInsert(p, DSQ_GLOBAL, SLICE_DFL, 0) })),
    /^dsqInsert: task \d+ does not wait to run$/,
    badly,
  ],
  [
    "inserts a task that is none",
    but((k) => ({ dispatch: () => k.dsqInsert(Number.NaN, DSQ_GLOBAL, SLICE_DFL, 0) })),
    /^dsqInsert: there is no task NaN$/,
    badly,
  ],
  [
    "gives a slice of NaN",
    but((k) => ({ enqueue: (p) => k.dsqInsert(p, DSQ_GLOBAL, Number.NaN, 0) })),
    /^dsqInsert: the slice of task \d+ is NaN$/,
    badly,
  ],
  [
    "orders by a vtime of NaN",
    but((k) => {
      const queue = k.createDsq();
      return { enqueue: (p) => k.dsqInsertVtime(p, queue, SLICE_DFL, Number.NaN, 0) };
    }),
    /^dsqInsertVtime: the vtime of task \d+ is NaN$/,
    badly,
  ],
  [
    "mixes the two kinds in one queue",
    but((k) => {
      const queue = k.createDsq();
      return {
        enqueue: (p, flags) =>
          p % 2 === 0 ? k.dsqInsert(p, queue, SLICE_DFL, flags) : k.dsqInsertVtime(p, queue, SLICE_DFL, 0, flags),
      };
    }),
    /the queue holds tasks/,
    badly,
  ],
  [
    "dispatches for ever",
    but((k) => {
      const queue = k.createDsq();
      return {
        dispatch: (cpu) => {
          while (!k.dsqMoveToLocal(queue, cpu));
        },
      };
    }),
    /^the policy called its helpers 1000000 times without end$/,
    badly,
  ],
  [
    "moves from a local queue",
    but((k) => ({ dispatch: (cpu) => void k.dsqMoveToLocal(cpu, cpu) })),
    /^dsqMoveToLocal: there is no dispatch queue 0$/,
    badly,
  ],
  ["chooses half a CPU", but(() => ({ selectCpu: () => 0.5 })), /^selectCpu: there is no CPU 0.5$/, badly],
  ["chooses a CPU beyond", but((k) => ({ selectCpu: () => k.cpus })), /^selectCpu: there is no CPU 2$/, badly],
  ["kicks a CPU beyond", but((k) => ({ running: () => k.kickCpu(-3, 0) })), /^kickCpu: there is no CPU -3$/, badly],
  ["makes a queue late", but((k) => ({ running: () => void k.createDsq() })), /^createDsq: only while/, badly],
];

describe("a policy that", () => {
  it.each(CASES)("%s is ejected, and cfs finishes all work", async (_title, policy, message, reason) => {
    const workload = closedWorkload({
      seed: 3,
      tasks: 8,
      rounds: 6,
      burstNs: { kind: "exponential", mean: 8e6 },
      sleepNs: { kind: "exponential", mean: 3e6 },
    });
    const { world, machine } = await boot({
      features: ["EVENT_LOG", "SCHED_CUSTOM"],
      seed: 1,
      cpus: 2,
      workload,
      costs: COSTS.none,
      policy,
    });
    const { sched } = world;
    while (world.run(200e9, 1) && machine.now() < 200e9 && !world.programs.allExited) checkSched(sched);
    expect(world.programs.allExited).toBe(true);
    expect(sched.ejected()).toBe(true);
    expect(sched.ejectMessage()).toMatch(message);
    expect(sched.policy().name).toBe("cfs");
    const log = machine.log!;
    const ejections = Array.from({ length: log.count }, (_, row) => row).filter(
      (row) => log.typeAt(row) === Ev.SchedEject,
    );
    expect(ejections.map((row) => log.aAt(row))).toEqual([reason]);
    if (reason === EjectReason.Stall) expect(log.cAt(ejections[0]!)).toBeGreaterThan(1_000);
  });
});

const start = (policy: PolicyFactory) =>
  boot({
    features: ["SCHED_CUSTOM"],
    seed: 1,
    cpus: 1,
    workload: { tasks: [] },
    costs: COSTS.none,
    policy,
  });

describe("a policy is refused while the machine comes up when", () => {
  const refused: readonly (readonly [string, unknown, RegExp])[] = [
    ["its function returns nothing", () => undefined, /returns no policy/],
    ["it has no name", () => ({ enqueue: () => {} }), /no "name"/],
    ["it has no enqueue", () => ({ name: "x" }), /no function "enqueue"/],
    ["an operation is no function", () => ({ name: "x", enqueue: () => {}, tick: 3 }), /"tick" is not a function/],
    ["its time-out is none", () => ({ name: "x", enqueue: () => {}, timeoutMs: Number.NaN }), /timeoutMs is NaN/],
    ["its init throws", () => ({ name: "x", enqueue: () => {}, init: throws }), /x is not a function/],
    ["it wants too much memory", (k: SchedKernel) => void k.words(1e9), /asks for 4000000000 bytes/],
    [
      "it makes too many queues",
      (k: SchedKernel) => {
        for (;;) k.createDsq();
      },
      /at most 1024 dispatch queues/,
    ],
  ];
  it.each(refused)("%s", async (_title, policy, message) => {
    await expect(start(policy as PolicyFactory)).rejects.toThrow(message);
    await expect(start(policy as PolicyFactory)).rejects.not.toHaveProperty("name", "KernelPanic");
  });
});

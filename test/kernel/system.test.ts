/** The lockstep machine as a whole: the same again from the same seed, every set of features, memory that runs out. */
import { describe, expect, it } from "vitest";
import { ENOMEM, ENOSYS } from "../../kernel/abi/errno.ts";
import { AT_FDCWD, O_CREAT, O_RDWR } from "../../kernel/abi/fcntl.ts";
import { Nr } from "../../kernel/abi/syscall_nr.ts";
import { MACHINE_STEPS } from "../../kernel/boot.ts";
import { BlockImage, Checker, ext4Layout, FEATURES, imageBuffer, isRefusal, readSuper } from "../../kernel/index.ts";
import type { Feature } from "../../kernel/index.ts";
import { nextBelow, prng } from "../../kernel/lib/prng.ts";
import { roundRobin } from "../../sched/index.ts";
import { call, compute, expectAtRest, int32, runOne, runToEnd, scripted, start, text } from "./machine_rig.ts";
import type { Body, Started } from "./machine_rig.ts";

const ALL = Object.keys(FEATURES) as Feature[];
const SETS = 20;
const SEED = 20_261_128;

/** With all that they need. */
function withNeeds(features: readonly Feature[]): Feature[] {
  const on = new Set(features);
  for (const feature of on) for (const need of FEATURES[feature].needs as readonly Feature[]) on.add(need);
  return [...on];
}

function expectClean({ image }: Started): void {
  if (image === undefined) return;
  const buffer = imageBuffer(image.length);
  buffer.set(image);
  const sb = readSuper(new DataView(buffer.buffer), ext4Layout.SUPER_OFFSET, image.length);
  if (isRefusal(sb)) throw new Error(sb.reason);
  expect(new Checker().run(new BlockImage(buffer, sb.blockSize, sb.blocksCount), sb).damage).toEqual([]);
}

/** A file, a pipe, a child, some memory: a little of everything that a machine may have. */
const everything = (on: ReadonlySet<Feature>): Body =>
  function* (t) {
    const fd = yield* call(Nr.openat, AT_FDCWD, text(t, `/f${t.pid}`), O_RDWR | O_CREAT, 0o644);
    expect(fd).toBe(0);
    for (let n = 0; n < 8; n++) expect(yield* call(Nr.write, fd, 4096, 9000)).toBe(9000);
    expect(yield* call(Nr.fsync, fd)).toBe(0);
    expect(yield* call(Nr.pipe2, 64, 0)).toBe(0);
    const pid = yield* call(Nr.clone, 17);
    expect(yield* call(Nr.read, int32(t, 64), 8192, 100)).toBe(3);
    expect(yield* call(Nr.wait4, pid, 0, 0)).toBe(pid);
    yield* compute(100_000 + t.below(50_000));
    const mapped = yield* call(Nr.mmap, 0, 50 * 4096, 3, 0x8022, -1, 0);
    if (!on.has("MM")) {
      expect(mapped).toBe(ENOSYS);
      for (const nr of [Nr.brk, Nr.munmap, Nr.madvise]) expect(yield* call(nr)).toBe(ENOSYS);
    } else expect(yield* call(Nr.munmap, mapped, 50 * 4096)).toBe(0);
    for (const [feature, path] of [
      ["TMPFS", "/tmp/x"],
      ["PROC", "/proc/mounts"],
      ["SYSFS", "/sys"],
    ] as const) {
      const made = yield* call(Nr.openat, AT_FDCWD, text(t, path), feature === "TMPFS" ? O_RDWR | O_CREAT : 0, 0o644);
      expect([feature, made > 0]).toEqual([feature, on.has(feature)]);
    }
  };
const writer: Body = function* (t) {
  expect(yield* call(Nr.write, int32(t, 68), 4096, 3)).toBe(3);
};

async function runs(features: readonly Feature[]): Promise<void> {
  const on = new Set(features);
  const program = (): ReturnType<typeof scripted> => scripted(everything(on), writer);
  const custom = on.has("SCHED_CUSTOM") ? { policy: roundRobin(1e6) } : {};
  const started = await start([program(), program()], { features, ...custom });
  expect(started.machine.steps).toEqual(
    MACHINE_STEPS.filter(({ feature }) => feature === undefined || on.has(feature)).map(({ name }) => name),
  );
  runToEnd(started);
  expectClean(started);
}

describe("a machine with", () => {
  it.each(ALL)("%s alone (and what it needs) runs and stops", (feature) => runs(withNeeds([feature])));
  it("all features runs and stops", () => runs(ALL));
  it("none runs and stops", () => runs([]));
  it(`${SETS} random sets of them runs and stops`, async () => {
    const state = prng(SEED);
    for (let set = 0; set < SETS; set++) await runs(withNeeds(ALL.filter(() => nextBelow(state, 2) === 0)));
  });
});

const hashOf = async (
  seed: number,
  features: readonly Feature[] = withNeeds(["EXT4", "KSWAPD", "PSI", "TMPFS", "PROC", "SYSFS", "EVENT_HASH"]),
): Promise<string> => {
  const on = new Set(features);
  const programs = Array.from({ length: 4 }, () => scripted(everything(on), writer));
  const started = await start(programs, { seed, features, cpus: 3 });
  runToEnd(started);
  return started.machine.machine.hash!.hex();
};

describe("the same machine", () => {
  it("has the same eventLogHash from the same seed, and another from another", async () => {
    const [first, again, other] = [await hashOf(5), await hashOf(5), await hashOf(6)];
    expect(again).toBe(first);
    expect(other).not.toBe(first);
  });

  it("is not changed by who looks at it", async () => {
    const base = withNeeds(["EXT4", "TMPFS", "PROC", "SYSFS", "EVENT_HASH"]);
    expect(await hashOf(5, [...base, "EVENT_LOG", "SCHED_STATS"])).toBe(await hashOf(5, base));
  });
});

const hungry: Body = function* (t) {
  for (let n = 0; n < 40; n++) {
    const at = yield* call(Nr.mmap, 0, 400 * 4096, 3, 0x8022, -1, 0);
    if (at === ENOMEM) return;
    yield* compute(100_000 + t.below(1000));
  }
};

describe("memory that runs out", () => {
  it("kills by the OOM killer, whoever it is, and all frames come back", async () => {
    const started = await start([hungry, hungry, hungry, hungry], { memoryBytes: 32 * 2 ** 20 });
    runToEnd(started);
    expectClean(started);
  });

  it("kills a task alone that asks for more than there is, in the middle of its call", async () => {
    let ended = false;
    await runOne(
      function* () {
        yield* call(Nr.mmap, 0, 5500 * 4096, 3, 0x8022, -1, 0);
        ended = true;
      },
      { memoryBytes: 32 * 2 ** 20 },
    );
    expect(ended).toBe(false);
  });

  it("is ENOMEM for a window, and clone makes nothing then", async () => {
    await runOne(
      function* () {
        let children = 0;
        for (; children < 40; children++) if ((yield* call(Nr.clone, 17)) < 0) break;
        for (let n = 0; n < children; n++) expect(yield* call(Nr.wait4, -1, 0, 0)).toBeGreaterThan(0);
      },
      { memoryBytes: 32 * 2 ** 20, rows: 60 },
      function* () {
        yield* call(Nr.mmap, 0, 300 * 4096, 3, 0x8022, -1, 0);
        yield* compute(1_000_000);
      },
    );
  });
});

it("a stop of a machine whose tasks have not begun is clean", async () => {
  const started = await start([scripted(everything(new Set(["MM"])), writer)]);
  expectAtRest(started);
  expectClean(started);
});

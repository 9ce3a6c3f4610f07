/** How programs are written: as steps, and as generators. */
import { describe, expect, it } from "vitest";
import { ENOENT } from "../../kernel/abi/errno.ts";
import { O_CREAT, O_RDWR } from "../../kernel/abi/fcntl.ts";
import type { UserProgram } from "../../kernel/abi/program.ts";
import { Nr } from "../../kernel/abi/syscall_nr.ts";
import * as libc from "../../userspace/libc.ts";
import { generatorProgram, program } from "../../userspace/program.ts";
import { FakeKernel, FakeTask } from "./fake_kernel.ts";

const FD = 1;

/** Runs a program alone until it exits. */
function runAlone(text: UserProgram): FakeKernel {
  const world = new FakeKernel({ starts: [{ program: text }], seed: 1, failPerMille: 0, filePages: 64 });
  for (let n = 0; n < 1000 && world.step(); n++);
  expect(world.tasks).toEqual([]);
  return world;
}

describe("putText()", () => {
  it("is UTF-8, says its bytes, touches none beside them, and refuses what has no room", () => {
    for (const text of ["", "/srv/0/1", "/grüße", "日本", "a😀b"]) {
      const bytes = new TextEncoder().encode(text);
      const memory = new Uint8Array(new SharedArrayBuffer(40)).fill(7);
      expect(libc.putText(memory, 8, bytes.length, text)).toBe(bytes.length);
      expect([...memory]).toEqual([
        ...new Uint8Array(8).fill(7),
        ...bytes,
        ...new Uint8Array(32 - bytes.length).fill(7),
      ]);
      if (text !== "") expect(() => libc.putText(memory, 8, bytes.length - 1, text)).toThrow("too long");
    }
  });
});

describe("program()", () => {
  it("goes from step to step with the answer of each call, and exits", () => {
    const world = runAlone(
      program("writer", {
        start: (t) => (libc.open(t, "/a"), "missing"),
        missing(t) {
          expect(t.result).toBe(ENOENT);
          libc.open(t, "/a", O_RDWR | O_CREAT);
          return "opened";
        },
        opened(t, w) {
          w[FD] = t.result;
          libc.say(t, "one\n");
          libc.say(t, "two\n");
          libc.tell(t, w[FD]);
          return "close";
        },
        close: (t, w) => (libc.close(t, w[FD]!), "exit"),
      }),
    );
    expect(new TextDecoder().decode(world.file("/a"))).toBe("one\ntwo\n");
  });

  it("a step that does nothing is followed by the next at once; too many of them panic", () => {
    const text = program("idle", { one: () => "two", two: (t, w) => (w[2]! > 0 ? "one" : (t.run(5), "one")) });
    const task = new FakeTask(1, 0, text);
    expect(task.next()).toEqual([-1, 5]);
    task.words[2] = 1;
    expect(() => task.next()).toThrow(/too many steps/);
  });

  it("a step that does two things panics", () => {
    const text = program("greedy", { one: (t) => (t.run(1), t.run(1), "one") });
    expect(() => new FakeTask(1, 0, text).next()).toThrow(/two things/);
  });

  it("a fork goes on twice, and its parent hears how it ended", () => {
    const statuses: number[] = [];
    runAlone(
      program("parent", {
        start: (t) => (libc.fork(t), "forked"),
        forked: (t) => (t.result === 0 ? (libc.exit(t, 7), "exit") : (libc.wait(t), "waited")),
        waited(t) {
          statuses.push(libc.waitStatus(t));
          return "exit";
        },
      }),
    );
    expect(statuses).toEqual([7 * 256]);
  });
});

describe("libc", () => {
  it("stat, rename, link, pipe and directories", () => {
    const seen: number[] = [];
    runAlone(
      generatorProgram("files", function* (t) {
        yield libc.mkdir(t, "/d");
        const fd = yield libc.open(t, "/d/a", O_RDWR | O_CREAT);
        seen.push(yield libc.pwrite(t, fd, libc.DATA_AT, 700, 0));
        yield libc.ftruncate(t, fd, 600);
        yield libc.rename(t, "/d/a", "/d/b");
        yield libc.link(t, "/d/b", "/d/c");
        seen.push(yield libc.stat(t, "/d/c"), libc.statSize(t));
        const folder = yield libc.open(t, "/d");
        seen.push((yield libc.getdents(t, folder)) > 0 ? 1 : 0);
        yield libc.unlink(t, "/d/b");
        yield libc.unlink(t, "/d/c");
        seen.push(yield libc.rmdir(t, "/d"));
        yield libc.pipe(t);
        const [from, to] = libc.pipeEnds(t);
        seen.push(yield libc.write(t, to, libc.DATA_AT, 10), yield libc.read(t, from));
      }),
    );
    expect(seen).toEqual([700, 0, 600, 1, 0, 10, 10]);
  });

  it("nanosleep puts seconds and nanoseconds", () => {
    const task = new FakeTask(
      1,
      0,
      generatorProgram("sleeper", function* (t) {
        yield libc.nanosleep(t, 2_000_000_005);
      }),
    );
    const [nr, addr] = task.next();
    const view = new DataView(task.memory.buffer);
    expect(nr).toBe(Nr.nanosleep);
    expect([view.getBigInt64(addr!, true), view.getBigInt64(addr! + 8, true)]).toEqual([2n, 5n]);
  });
});

describe("generatorProgram()", () => {
  it("is marked, and two machines run it apart", () => {
    const text = generatorProgram("counter", function* (t) {
      for (let n = 1; ; n++) yield t.run(n);
    });
    expect(text.isGenerator).toBe(true);
    const [one, other] = [new FakeTask(1, 0, text), new FakeTask(1, 0, text)];
    expect([one.next(), one.next(), other.next()]).toEqual([
      [-1, 1],
      [-1, 2],
      [-1, 1],
    ]);
  });
});

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { decodeLog } from "../../../harness/nbd/log.ts";
import { linesOf, orrery, scratch } from "../orrery.ts";
import { ext4Tools, guest, qemu } from "../qemu/tools.ts";
import { thorough } from "../../tier.ts";

const write = (cwd: string, text: string): string => {
  writeFileSync(join(cwd, "script.sh"), text);
  return "script.sh";
};

it("a missing script, and a log of no disk, are usage errors of one line", async () => {
  const none = await orrery(["guest", "run", "--script", "none.sh"]);
  expect([none.code, linesOf(none.stderr)]).toEqual([2, ["orrery: cannot run none.sh: no such file"]]);
  const cwd = scratch();
  const log = await orrery(["guest", "run", "--script", write(cwd, "true"), "--record", "log"], { cwd });
  expect([log.code, linesOf(log.stderr).length]).toEqual([2, 1]);
});

it("without QEMU it ends with 4 and the command that installs it", async () => {
  const cwd = scratch();
  const words = ["guest", "run", "--script", write(cwd, "true")];
  const none = await orrery(words, { cwd, env: { PATH: cwd } });
  expect([none.code, linesOf(none.stderr).length]).toEqual([4, 1]);
  expect(none.stderr).toMatch(/^orrery: cannot start QEMU: .*apt-get install -y qemu-system-x86/);
  const wrong = await orrery(words, { cwd, env: { ORRERY_QEMU: "/no/qemu" } });
  expect([wrong.code, wrong.stderr]).toEqual([4, expect.stringContaining("ORRERY_QEMU")]);
});

/** Programs that stand in for QEMU: one ends at once, one says nothing for ever. */
const standIn = (cwd: string, line: string): Record<string, string> => {
  const path = join(cwd, "qemu");
  writeFileSync(path, `#!/bin/sh\n${line}\n`, { mode: 0o755 });
  return { ORRERY_QEMU: path };
};

it("a QEMU that ends at once, or is silent, is one line and 2", async () => {
  const words = ["blk", "verify", "--device", "qemu-pci", "--ops", "10", "--qemu-timeout", "1"];
  const cwd = scratch();
  const ends = await orrery(words, { cwd, env: standIn(cwd, "echo no such machine >&2; exit 1") });
  expect([ends.code, ends.stderr]).toEqual([2, "orrery: QEMU ended with code 1: no such machine\n"]);
  const silent = await orrery(words, { cwd, env: standIn(cwd, "exec sleep 60") });
  expect([silent.code, silent.stderr]).toEqual([2, "orrery: QEMU did not answer for 1000 ms (--qemu-timeout)\n"]);
});

describe.skipIf(!guest)("orrery guest (needs qemu-system-x86, busybox-static and the fetched kernel)", () => {
  it("run prints the script's output, records the disk, and returns the script's status", async () => {
    const cwd = scratch();
    const script = write(
      cwd,
      "echo one\necho two >&2\necho three | dd of=/dev/vda bs=512 conv=sync,fsync 2>/dev/null\nexit 7\n",
    );
    const words = ["guest", "run", "--script", script, "--disk", "mem:8M", "--record", "log", "--format", "json"];
    const { code, stdout } = await orrery(words, { cwd });
    expect(code).toBe(7);
    expect(JSON.parse(stdout)).toMatchObject({ schema: 1, status: 7, output: "one\ntwo\n" });
    const entries = decodeLog(readFileSync(join(cwd, "log")));
    expect(entries.map(({ type }) => type)).toContain(3);
    expect(entries.some(({ data }) => data?.[0] === "t".charCodeAt(0))).toBe(true);
  });

  it.runIf(thorough)("a script that takes too long, and a kernel that is none, are one line and 2", async () => {
    const cwd = scratch();
    const late = ["guest", "run", "--script", write(cwd, "sleep 100"), "--timeout", "1"];
    expect(await orrery(late, { cwd })).toMatchObject({
      code: 2,
      stderr: "orrery: the guest did not end the script in 1000 ms\n",
    });
    writeFileSync(join(cwd, "kernel"), "none");
    const none = await orrery(["guest", "run", "--script", "script.sh", "--kernel", "kernel"], { cwd });
    expect([none.code, none.stderr]).toEqual([2, expect.stringMatching(/^orrery: QEMU ended with code 1: .*kernel/)]);
  });

  it("Ctrl-C in the midst of a script ends the guest, with 130", async () => {
    const cwd = scratch();
    const words = ["guest", "run", "--script", write(cwd, "echo begun; sleep 100")];
    const { code } = await orrery(words, { cwd, interruptMs: 4500 });
    expect(code).toBe(130);
  });

  it.skipIf(!ext4Tools)(
    "durability: our disk loses nothing, one that ignores flushes is caught (needs e2fsprogs)",
    async () => {
      const words = ["guest", "durability", "--files", "16", "--images", "10", "--seed", "3", "--format", "json"];
      const { code, stdout } = await orrery(words);
      expect(code).toBe(0);
      const report = JSON.parse(stdout) as Record<"honest" | "lying", Record<string, number>>;
      expect(report.honest).toMatchObject({ images: 10, caught: 0, filesLost: 0 });
      expect(report.honest["filesChecked"]).toBeGreaterThan(50);
      expect(report.lying["caught"]).toBeGreaterThanOrEqual(9);
    },
  );
});

it.skipIf(!qemu)("blk verify on a QEMU device: one JSON document, 0 mismatches (needs qemu-system-x86)", async () => {
  const { code, stdout } = await orrery(["blk", "verify", "--device", "qemu-pci", "--ops", "500", "--format", "json"]);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ device: "qemu-pci", ops: 500, mismatches: 0, imageEqual: true });
});

it.skipIf(!qemu)("Ctrl-C ends a long verify on QEMU with 130 and leaves nothing (needs qemu-system-x86)", async () => {
  const words = ["blk", "verify", "--device", "qemu-mmio", "--ops", "10000000"];
  expect((await orrery(words, { interruptMs: 2000 })).code).toBe(130);
});

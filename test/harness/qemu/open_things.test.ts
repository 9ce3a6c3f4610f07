import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, it } from "vitest";
import { sweepOwnerless } from "../../../harness/qemu/open_things.ts";
import { qemu } from "./tools.ts";

/** Larger than any process id of Linux. */
const NOBODY = 2 ** 30;

it("sweepOwnerless() removes the folders of processes that are gone, and only those", () => {
  const parent = mkdtempSync(join(tmpdir(), "orrery-sweep-"));
  const names = [`orrery-${NOBODY}-1`, `orrery-${process.pid}-1`, "orrery-notes", "other"];
  for (const name of names) mkdirSync(join(parent, name));
  sweepOwnerless(parent);
  expect(names.filter((name) => existsSync(join(parent, name)))).toEqual(names.slice(1));
  rmSync(parent, { recursive: true });
});

/** A process that opens a folder and a QEMU, says where, and then ends as `how` says. */
const program = (how: string): string => `
  import { runFolder } from ${JSON.stringify(resolve("harness/qemu/open_things.ts"))};
  import { startQemu } from ${JSON.stringify(resolve("harness/qemu/spawn.ts"))};
  const folder = runFolder();
  const qemu = startQemu(["-S", "-display", "none", "-nodefaults", "-accel", "tcg", "-pidfile", folder.path + "/pid"]);
  console.log(JSON.stringify([folder.path, qemu.pid]));
  setTimeout(() => { ${how} }, 300);
  setInterval(() => {}, 1000);
`;

const running = (pid: number): boolean => {
  try {
    // A process that has ended stays as a zombie until its new parent looks.
    return !readFileSync(`/proc/${pid}/stat`, "latin1").includes(") Z ");
  } catch {
    return false;
  }
};

it.skipIf(!qemu).each([
  ["process.exit(3)", true],
  ["throw new Error('on purpose')", true],
  ["process.kill(process.pid, 'SIGTERM')", true],
  ["process.kill(process.pid, 'SIGINT')", true],
  ["process.kill(process.pid, 'SIGKILL')", false],
])("a process that ends by %s leaves no QEMU (needs qemu-system-x86)", async (how, cleansUp) => {
  const child = spawn(process.execPath, ["--input-type=module", "-e", program(how)], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  let said = "";
  child.stdout.on("data", (text) => (said += String(text)));
  await new Promise((ended) => child.on("close", ended));
  const [folder, pid] = JSON.parse(said) as [string, number];
  await expect.poll(() => running(pid)).toBe(false);
  expect(existsSync(folder)).toBe(!cleansUp);
  rmSync(folder, { recursive: true, force: true });
});

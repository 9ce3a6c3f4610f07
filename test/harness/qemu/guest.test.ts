import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SparseDisk } from "../../../harness/disk/sparse.ts";
import { serveNbd } from "../../../harness/nbd/server.ts";
import type { NbdServer } from "../../../harness/nbd/server.ts";
import { makeTemplate } from "../../../harness/qemu/clone.ts";
import type { Template } from "../../../harness/qemu/clone.ts";
import { bootGuest } from "../../../harness/qemu/guest.ts";
import type { Guest } from "../../../harness/qemu/guest.ts";
import { guest as guestTools } from "./tools.ts";

const socket = (name: string): { path: string } => ({ path: join(tmpdir(), `orrery-test-${process.pid}-${name}`) });

describe.skipIf(!guestTools)("a Linux guest (needs qemu-system-x86, busybox-static and the fetched kernel)", () => {
  const disk = new SparseDisk(16 << 20);
  let server: NbdServer;
  let guest: Guest;
  let template: Template | undefined;
  beforeAll(async () => {
    server = await serveNbd(disk, socket("guest"));
    guest = await bootGuest({ disk: server.address });
  }, 120_000);
  afterAll(async () => {
    await template?.remove();
    await server.close();
    expect(readdirSync("/dev/shm").filter((name) => name.startsWith(`orrery-${process.pid}-`))).toEqual([]);
  });

  it("sees our disk with a volatile cache", async () => {
    expect(await guest.run("cat /sys/block/vda/size /sys/block/vda/queue/write_cache")).toEqual({
      status: 0,
      output: "32768\nwrite back\n",
    });
  });

  it("runs a script, passes its output on, and returns its status", async () => {
    let said = "";
    const script = "echo one; echo two >&2\nfor i in 1 2 3; do echo $i; done | tail -1\nsh -c 'exit 42'\n";
    expect(await guest.agent.script(Buffer.from(script), 10_000, (bytes) => (said += bytes.toString()))).toBe(42);
    expect(said).toBe("one\ntwo\n3\n");
  });

  it("its synced bytes are on our disk", async () => {
    await guest.must("echo -n orrery | dd of=/dev/vda bs=512 seek=3 conv=sync,fsync");
    const bytes = new Uint8Array(6);
    disk.readAt(3 * 512, bytes);
    expect(Buffer.from(bytes).toString()).toBe("orrery");
    expect(server.counts.flushes).toBeGreaterThan(0);
  });

  it("a command that does not end is given up, by name", async () => {
    await expect(guest.run("sleep 2", 300)).rejects.toThrow('the guest did not end "sleep 2" in 300 ms');
    expect((await guest.run("echo still here", 10_000)).output).toBe("still here\n");
  });

  it("clones go on where the template stood, each with a disk and a memory of its own", async () => {
    await guest.must("echo before > /tmp/state");
    template = await makeTemplate(guest);
    const snapshot = disk.snapshot();
    for (const name of ["a", "b"]) {
      const mine = await serveNbd(snapshot.snapshot(), socket(name));
      const clone = await template.clone(mine.address);
      expect(await clone.must("cat /tmp/state; head -c 3 /dev/vda | tr '\\0' -")).toBe("before\n---");
      await clone.must(`echo ${name} > /tmp/state; echo ${name}${name} | dd of=/dev/vda conv=fsync`);
      await clone.cut();
      await mine.close();
    }
  });
});

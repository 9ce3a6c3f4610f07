import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { SparseDisk } from "../../../harness/disk/sparse.ts";
import { openNbd } from "../../../harness/nbd/client.ts";
import { serveNbd } from "../../../harness/nbd/server.ts";
import { BlockOp, REQ_FUA } from "../../../kernel/abi/block.ts";
import type { BlockDevice, BlockRequest } from "../../../kernel/abi/block.ts";
import { EINVAL, EIO } from "../../../kernel/abi/errno.ts";
import { blockRequest, checkAgainstModel, runBatch } from "../disk/model.ts";

const folder = mkdtempSync(join(tmpdir(), "orrery-nbd-"));
afterAll(() => rmSync(folder, { recursive: true }));
const has = (program: string): boolean => spawnSync(program, ["--version"]).error === undefined;

/** A disk whose requests end two turns after they were submitted, last first. */
function slow(disk: BlockDevice): BlockDevice {
  const later: BlockRequest[][] = [[], []];
  return {
    limits: disk.limits,
    submit: (batch) => {
      later.at(-1)!.push(...batch.slice(0, 3));
      return Math.min(3, batch.length);
    },
    poll: () => {
      later.push([]);
      const due = later.shift()!.reverse();
      for (const request of due) disk.submit([request]);
      return disk.poll();
    },
  };
}

it.each(["at once", "late and out of order"])("client and server carry random requests that end %s", async (how) => {
  const disk = new SparseDisk(1 << 20);
  const server = await serveNbd(how === "at once" ? disk : slow(disk), { path: join(folder, "s") });
  const client = await openNbd(server.address);
  expect(client.limits).toMatchObject({ sectors: 2048, logicalBlockSize: 512, writeCache: true, discard: true });
  const model = await checkAgainstModel(client, 5, 30);
  const whole = new Uint8Array(1 << 20);
  disk.readAt(0, whole);
  expect(Buffer.compare(whole, model)).toBe(0);
  expect(server.counts.fua).toBeGreaterThan(0);
  expect(server.counts.errors).toBe(0);
  await client.close();
  await server.close();
});

it("loopback works as the unix socket does", async () => {
  const server = await serveNbd(new SparseDisk(1 << 16), { port: 0 });
  const client = await openNbd(server.address);
  const read = blockRequest(BlockOp.Read, 0, 1, new Uint8Array(512).fill(1));
  await runBatch(client, [read]);
  expect([read.result, read.data![511]]).toEqual([0, 0]);
  await client.close();
  await server.close();
});

it("requests that do not fit end with EINVAL, and a server that goes away ends all with EIO", async () => {
  const server = await serveNbd(new SparseDisk(1 << 16), { path: join(folder, "gone") });
  const client = await openNbd(server.address);
  const odd = blockRequest(BlockOp.Read, 127, 2, new Uint8Array(1024));
  await runBatch(client, [odd]);
  expect(odd.result).toBe(EINVAL);
  await server.close();
  const orphan = blockRequest(BlockOp.Write, 0, 1, new Uint8Array(512), REQ_FUA);
  await runBatch(client, [orphan]);
  expect(orphan.result).toBe(EIO);
  await client.close();
});

function answering(path: string, bytes: Buffer): Promise<Server> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.write(bytes);
  });
  return new Promise((resolve) => server.listen(path, () => resolve(server)));
}

it.each([
  ["another protocol", Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n"), /no NBD server/],
  ["an old server", Buffer.from("NBDMAGIC\0\0\x42\x02\x81\x86\x12\x53\0\0\0", "latin1"), /oldstyle/],
  ["silence", Buffer.alloc(0), /no answer in 300 ms/],
])("a client that meets %s says so", async (_what, bytes, message) => {
  const path = join(folder, "odd");
  const server = await answering(path, bytes);
  await expect(openNbd({ path }, 300)).rejects.toThrow(message);
  server.close();
});

it("a client of nobody says so", async () => {
  await expect(openNbd({ path: join(folder, "nobody") })).rejects.toThrow(/cannot use .*nobody as a disk: .*ENOENT/);
});

it("a server that does not answer a request ends it with EIO", async () => {
  const silent = slow(new SparseDisk(1 << 16));
  const server = await serveNbd({ ...silent, poll: () => [] }, { path: join(folder, "silent") });
  const client = await openNbd(server.address, 300);
  const read = blockRequest(BlockOp.Read, 0, 1, new Uint8Array(512));
  await runBatch(client, [read]);
  expect(read.result).toBe(EIO);
  await client.close();
  await server.close();
});

it.skipIf(!has("qemu-nbd"))("our client works with qemu-nbd, blocking (needs qemu-utils)", async () => {
  const image = join(folder, "image");
  writeFileSync(image, Buffer.alloc(1 << 20));
  const path = join(folder, "q");
  const server = spawn("qemu-nbd", ["-f", "raw", "-k", path, "-x", "", "-t", image], { stdio: "ignore" });
  try {
    const client = await retry(() => openNbd({ path }));
    expect(Buffer.compare(await checkAgainstModel(client, 8, 20), readFileSync(image))).toBe(0);
    const write = blockRequest(BlockOp.Write, 9, 2, new Uint8Array(1024).fill(77), REQ_FUA);
    client.submit([write]);
    for (let ended = 0; ended === 0; ended = client.poll().length) client.wait(1000);
    expect([write.result, readFileSync(image)[9 * 512]]).toEqual([0, 77]);
    await client.close();
  } finally {
    server.kill();
  }
});

async function retry<T>(attempt: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (tries === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

it.skipIf(!has("qemu-io"))("qemu-io and qemu-img work with our server (needs qemu-utils)", async () => {
  const disk = new SparseDisk(8 << 20);
  const path = join(folder, "io");
  const server = await serveNbd(disk, { path });
  const uri = `nbd+unix:///orrery?socket=${path}`;
  const script = [
    "write -P 0x5a 4096 8192",
    "write -f -P 0x33 1M 512",
    "discard 64K 64K",
    "write -z 4096 4096",
    "flush",
  ];
  const said = await output("qemu-io", ["-f", "raw", ...script.flatMap((line) => ["-c", line]), uri]);
  expect(said).toContain("wrote 8192/8192");
  const three = new Uint8Array(3);
  disk.readAt(8190, three);
  expect([...three]).toEqual([0, 0, 0x5a]);
  disk.readAt(1 << 20, three);
  expect([...three]).toEqual([0x33, 0x33, 0x33]);
  expect(await output("qemu-io", ["-f", "raw", "-c", "read -P 0x33 1M 512", uri])).not.toContain("failed");
  await output("qemu-img", ["convert", "-f", "raw", "-O", "raw", uri, join(folder, "copy")]);
  const whole = new Uint8Array(8 << 20);
  disk.readAt(0, whole);
  expect(readFileSync(join(folder, "copy")).equals(whole)).toBe(true);
  // Each run of qemu-io is writethrough by default: both writes and the zeroing carry FUA.
  expect(server.counts).toMatchObject({ errors: 0, fua: 3 });
  await server.close();
});

function output(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    const child = spawn(program, args);
    let text = "";
    child.stdout.on("data", (part) => (text += String(part)));
    child.stderr.on("data", (part) => (text += String(part)));
    child.on("close", () => resolve(text));
  });
}

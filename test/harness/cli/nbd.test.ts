import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { openNbd } from "../../../harness/nbd/client.ts";
import { SparseDisk } from "../../../harness/disk/sparse.ts";
import { decodeLog } from "../../../harness/nbd/log.ts";
import { serveNbd } from "../../../harness/nbd/server.ts";
import { BlockOp, REQ_FUA } from "../../../kernel/abi/block.ts";
import { blockRequest, runBatch } from "../disk/model.ts";
import { LAUNCHER, linesOf, orrery, scratch } from "../orrery.ts";

interface Serving {
  /** Sends Ctrl-C and waits for the end. */
  interrupt(): Promise<{ code: number | null; stdout: string; stderr: string }>;
}

/** Starts `nbd serve` and waits until it listens at `path`. */
async function serving(words: readonly string[], cwd: string, path: string): Promise<Serving> {
  const child = spawn(process.execPath, [LAUNCHER, "nbd", "serve", ...words], {
    cwd,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (text) => (stdout += String(text)));
  child.stderr.on("data", (text) => (stderr += String(text)));
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  while (!existsSync(path)) await new Promise((resolve) => setTimeout(resolve, 20));
  return {
    interrupt: async () => {
      child.kill("SIGINT");
      return { code: await ended, stdout, stderr };
    },
  };
}

it("serves until Ctrl-C, records, and takes its socket away", async () => {
  const cwd = scratch();
  const path = join(cwd, "s");
  const server = await serving(["--disk", "mem:1M", "--socket", path, "--record", "log"], cwd, path);
  const disk = await openNbd({ path });
  const write = blockRequest(BlockOp.Write, 3, 1, new Uint8Array(512).fill(9), REQ_FUA);
  await runBatch(disk, [write]);
  await runBatch(disk, [blockRequest(BlockOp.Flush, 0, 0)]);
  await disk.close();
  const { code, stderr, stdout } = await server.interrupt();
  expect([code, stdout, existsSync(path)]).toEqual([130, "", false]);
  expect(linesOf(stderr)).toEqual([
    `serving mem:1M at nbd+unix:///orrery?socket=${path}; Ctrl-C ends it`,
    "2 requests: 0 bytes read, 512 written, 1 flushes",
    "2 records in log",
  ]);
  expect(decodeLog(readFileSync(join(cwd, "log"))).map(({ type, fua }) => [type, fua])).toEqual([
    [1, true],
    [3, false],
  ]);
});

it("serves what another server has, and records it on the way", async () => {
  const cwd = scratch();
  const [far, near] = [join(cwd, "far"), join(cwd, "near")];
  const behind = new SparseDisk(1 << 20);
  const server = await serveNbd(behind, { path: far });
  const proxy = await serving(["--disk", `nbd:${far}`, "--socket", near, "--record", "log"], cwd, near);
  const disk = await openNbd({ path: near });
  const batch = [1, 2, 3].map((sector) => blockRequest(BlockOp.Write, sector, 1, new Uint8Array(512).fill(sector)));
  await runBatch(disk, [...batch, blockRequest(BlockOp.Flush, 0, 0)]);
  await disk.close();
  expect((await proxy.interrupt()).code).toBe(130);
  const bytes = new Uint8Array(512);
  behind.readAt(3 * 512, bytes);
  expect(bytes[0]).toBe(3);
  expect(decodeLog(readFileSync(join(cwd, "log"))).length).toBe(4);
  await server.close();
});

it.each([
  [["--disk", "nbd:none"], /cannot use none as a disk: .*ENOENT/],
  [["--disk", "mem:100"], /disk "mem:100" is no size/],
  [["--disk", "none.img", "--port", "0"], /cannot open disk none\.img: no such file/],
  [["--disk", "mem:1M"], /either --socket PATH or --port N/],
  [["--disk", "mem:1M", "--socket", "no/such/folder"], /cannot listen on no\/such\/folder/],
  [["--disk", "mem:1M", "--socket", "file"], /cannot listen on file: EADDRINUSE/],
])("%s is a usage error of one line", async (words, message) => {
  const cwd = scratch();
  writeFileSync(join(cwd, "file"), "");
  const where = words[1] === "mem:100" || words[1] === "nbd:none" ? ["--port", "0"] : [];
  const { code, stderr } = await orrery(["nbd", "serve", ...words, ...where], { cwd });
  expect([code, linesOf(stderr).length]).toEqual([2, 1]);
  expect(stderr).toMatch(message);
});

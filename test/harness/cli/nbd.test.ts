import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { openNbd } from "../../../harness/nbd/client.ts";
import { decodeLog } from "../../../harness/nbd/log.ts";
import { BlockOp, REQ_FUA } from "../../../kernel/abi/block.ts";
import { blockRequest, runBatch } from "../disk/model.ts";
import { linesOf, orrery, scratch } from "../orrery.ts";

it("serves until Ctrl-C, records, and takes its socket away", async () => {
  const cwd = scratch();
  const path = join(cwd, "s");
  const words = ["nbd", "serve", "--disk", "mem:1M", "--socket", path, "--record", "log"];
  const ended = orrery(words, { cwd, interruptMs: 3500 });
  while (!existsSync(path)) await new Promise((resolve) => setTimeout(resolve, 20));
  const disk = await openNbd({ path });
  const write = blockRequest(BlockOp.Write, 3, 1, new Uint8Array(512).fill(9), REQ_FUA);
  await runBatch(disk, [write]);
  await runBatch(disk, [blockRequest(BlockOp.Flush, 0, 0)]);
  await disk.close();
  const { code, stderr, stdout } = await ended;
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

it.each([
  [["--disk", "mem:100"], /disk "mem:100" is no size/],
  [["--disk", "none.img", "--port", "0"], /cannot open disk none\.img: no such file/],
  [["--disk", "mem:1M"], /either --socket PATH or --port N/],
  [["--disk", "mem:1M", "--socket", "no/such/folder"], /cannot listen on no\/such\/folder/],
  [["--disk", "mem:1M", "--socket", "file"], /cannot listen on file: EADDRINUSE/],
])("%s is a usage error of one line", async (words, message) => {
  const cwd = scratch();
  writeFileSync(join(cwd, "file"), "");
  const where = words.length === 2 && words[1] === "mem:100" ? ["--port", "0"] : [];
  const { code, stderr } = await orrery(["nbd", "serve", ...words, ...where], { cwd });
  expect([code, linesOf(stderr).length]).toEqual([2, 1]);
  expect(stderr).toMatch(message);
});

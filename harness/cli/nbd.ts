/**
 * `orrery nbd serve`: a disk of ours for every NBD client, such as a real guest, nbd-client, qemu-io.
 */
import type { Command } from "commander";
import { wholeNumber } from "./args.ts";
import { UserError } from "./exit.ts";
import { interruptible } from "./interrupt.ts";

interface ServeOptions {
  readonly disk: string;
  readonly socket?: string;
  readonly port?: number;
  readonly record?: string;
}

async function serve({ disk: name, socket, port, record }: ServeOptions): Promise<void> {
  if ((socket === undefined) === (port === undefined))
    throw new UserError("say where to listen: either --socket PATH or --port N (0 takes a free port)");
  const { openDisk } = await import("../disk/open.ts");
  const { RecordingDisk, fileSink } = await import("../nbd/record.ts");
  const { serveNbd } = await import("../nbd/server.ts");
  const disk = await openDisk(name);
  const sink = record === undefined ? undefined : fileSink(record);
  const device = sink === undefined ? disk.device : new RecordingDisk(disk.device, sink, () => performance.now());
  await interruptible(async (stop) => {
    const server = await serveNbd(device, socket === undefined ? { port: port! } : { path: socket }).catch(
      (error: NodeJS.ErrnoException) => {
        throw new UserError(`cannot listen on ${socket ?? `port ${port}`}: ${error.code ?? error.message}`);
      },
    );
    const uri =
      socket === undefined ? `nbd://127.0.0.1:${server.address.port}/orrery` : `nbd+unix:///orrery?socket=${socket}`;
    process.stderr.write(`serving ${name} at ${uri}; Ctrl-C ends it\n`);
    await new Promise<void>((resolve) => stop.addEventListener("abort", () => resolve()));
    await server.close();
    const { requests, readBytes, writtenBytes, flushes } = server.counts;
    process.stderr.write(
      `${requests} requests: ${readBytes} bytes read, ${writtenBytes} written, ${flushes} flushes\n`,
    );
  });
  sink?.close();
  if (sink !== undefined) process.stderr.write(`${sink.count} records in ${record}\n`);
  await disk.close();
}

export function register(program: Command): void {
  const nbd = program.command("nbd").description("serve a disk of ours over NBD");
  nbd
    .command("serve")
    .description("serve a disk until Ctrl-C, every write and flush recorded if asked")
    .requiredOption("--disk <disk>", "mem:SIZE, a file that is there, or nbd:SOCKET")
    .option("--socket <path>", "listen on a unix socket")
    .option("--port <n>", "listen on 127.0.0.1", wholeNumber(0, 65_535))
    .option("--record <log>", "write a log of writes, flushes, FUA, trims (docs/qemu.md)")
    .action(serve);
}

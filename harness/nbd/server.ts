/**
 * An NBD server. It serves any BlockDevice over a unix socket or loopback to as many clients as come (32 at once).
 *
 * - serveNbd(disk, where)     listens; `where` is { path } or { port } (0 is any free port, on 127.0.0.1)
 * - server.close()            ends all connections and stops listening
 *
 * A client can be slow, silent or hostile and only harms itself: what it may have in flight is bounded (requests and
 * bytes), and while its answers pile up unread nothing more is read from it.
 */
import { existsSync, rmSync, statSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { BlockOp, REQ_FUA, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import type { BlockDevice, BlockRequest } from "../../kernel/abi/block.ts";
import { EINVAL, ENOSPC } from "../../kernel/abi/errno.ts";
import { Session } from "./session.ts";
import type { Export, NbdRequest } from "./session.ts";
import { Cmd, Flag, NbdError } from "./wire.ts";

const CONNECTIONS_MAX = 32;
/** Answers that a client has not taken: above this it is not read from. */
const UNREAD_BYTES_MAX = 8 << 20;
const IN_FLIGHT_MAX = 256;
const REQUEST_BYTES_MAX = 32 << 20;

const OPS: ReadonlyMap<number, BlockOp> = new Map([
  [Cmd.Read, BlockOp.Read],
  [Cmd.Write, BlockOp.Write],
  [Cmd.Flush, BlockOp.Flush],
  [Cmd.Trim, BlockOp.Discard],
  [Cmd.WriteZeroes, BlockOp.WriteZeroes],
]);

export interface NbdAddress {
  readonly path?: string;
  readonly port?: number;
}

export interface NbdServer {
  /** Where it listens: the path, or the port that was taken. */
  readonly address: NbdAddress;
  readonly counts: NbdCounts;
  close(): Promise<void>;
}

export interface NbdCounts {
  connections: number;
  requests: number;
  /** Requests that ended with an error. */
  errors: number;
  flushes: number;
  fua: number;
  readBytes: number;
  writtenBytes: number;
}

interface Pending {
  readonly request: NbdRequest;
  readonly client: Client;
}

interface Client {
  readonly session: Session;
  readonly socket: Socket;
  inFlight: number;
}

export function exportOf(disk: BlockDevice): Export {
  const { limits } = disk;
  const flags =
    Flag.HasFlags |
    Flag.SendFlush |
    Flag.SendFua |
    Flag.CanMultiConn |
    (limits.discard ? Flag.SendTrim : 0) |
    (limits.writeZeroes ? Flag.SendWriteZeroes : 0);
  return {
    name: "orrery",
    bytes: limits.sectors * SECTOR_SIZE,
    bytesMin: limits.logicalBlockSize,
    bytesMax: Math.min(REQUEST_BYTES_MAX, limits.sectorsMax * SECTOR_SIZE),
    flags,
  };
}

class Pump {
  readonly #disk: BlockDevice;
  readonly counts: NbdCounts = {
    connections: 0,
    requests: 0,
    errors: 0,
    flushes: 0,
    fua: 0,
    readBytes: 0,
    writtenBytes: 0,
  };
  readonly #waiting: BlockRequest[] = [];
  readonly #pending = new Map<BlockRequest, Pending>();
  #scheduled = false;

  constructor(disk: BlockDevice) {
    this.#disk = disk;
  }

  execute(client: Client, request: NbdRequest): void {
    const op = OPS.get(request.type)!;
    const block: BlockRequest = {
      op,
      flags: request.fua && op !== BlockOp.Read ? REQ_FUA : 0,
      sector: op === BlockOp.Flush ? 0 : request.offset / SECTOR_SIZE,
      sectors: op === BlockOp.Flush ? 0 : request.length / SECTOR_SIZE,
      data: op === BlockOp.Read ? Buffer.allocUnsafe(request.length) : request.data,
      task: 0,
      result: undefined,
    };
    this.#count(request, block);
    this.#pending.set(block, { request, client });
    this.#waiting.push(block);
    client.inFlight++;
    if (this.#waiting.length === this.#pending.size) this.#turn();
  }

  #turn(): void {
    if (this.#waiting.length > 0) this.#waiting.splice(0, this.#disk.submit(this.#waiting));
    for (const block of this.#disk.poll()) this.#end(block);
    if (this.#pending.size === 0 || this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#turn();
    });
  }

  #end(block: BlockRequest): void {
    const pending = this.#pending.get(block);
    if (pending === undefined) return;
    this.#pending.delete(block);
    const { client, request } = pending;
    const error = errorOf(block.result ?? 0);
    if (error !== 0) this.counts.errors++;
    client.inFlight--;
    client.session.reply(
      request,
      error,
      block.op === BlockOp.Read
        ? Buffer.from(block.data!.buffer, block.data!.byteOffset, block.data!.byteLength)
        : undefined,
    );
    regulate(client);
  }

  #count(request: NbdRequest, block: BlockRequest): void {
    this.counts.requests++;
    if (block.op === BlockOp.Flush) this.counts.flushes++;
    if (block.flags !== 0) this.counts.fua++;
    if (block.op === BlockOp.Read) this.counts.readBytes += request.length;
    if (block.op === BlockOp.Write) this.counts.writtenBytes += request.length;
  }
}

const errorOf = (result: number): number =>
  result >= 0 ? 0 : result === EINVAL ? NbdError.Einval : result === ENOSPC ? NbdError.Enospc : NbdError.Eio;

function regulate(client: Client): void {
  const full = client.inFlight >= IN_FLIGHT_MAX || client.socket.writableLength > UNREAD_BYTES_MAX;
  if (full && !client.socket.isPaused()) client.socket.pause();
  else if (!full && client.socket.isPaused()) client.socket.resume();
}

/** A socket that nobody listens at any more, left by a process that was killed, is in the way. */
async function removeStale(path: string): Promise<void> {
  if (!existsSync(path) || !statSync(path).isSocket()) return;
  const inUse = await new Promise<boolean>((resolve) => {
    const probe = connect(path, () => resolve(true));
    probe.once("error", () => resolve(false));
    probe.once("connect", () => probe.destroy());
  });
  if (!inUse) rmSync(path);
}

export async function serveNbd(disk: BlockDevice, where: NbdAddress): Promise<NbdServer> {
  if (where.path !== undefined) await removeStale(where.path);
  const pump = new Pump(disk);
  const exported = exportOf(disk);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    if (sockets.size >= CONNECTIONS_MAX) {
      socket.destroy();
      return;
    }
    pump.counts.connections++;
    sockets.add(socket);
    socket.setNoDelay(true);
    const session = new Session(exported, {
      send: (bytes) => void socket.write(bytes),
      execute: (request) => pump.execute(client, request),
      close: () => void socket.end(() => socket.destroy()),
    });
    const client: Client = { session, socket, inFlight: 0 };
    socket.on("data", (bytes: Buffer) => {
      socket.cork();
      session.feed(bytes);
      socket.uncork();
      regulate(client);
    });
    socket.on("drain", () => regulate(client));
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    const ready = (): void => {
      const port = where.path === undefined ? (server.address() as AddressInfo).port : undefined;
      resolve({
        address: port === undefined ? where : { port },
        counts: pump.counts,
        close: () =>
          new Promise((closed) => {
            for (const socket of sockets) socket.destroy();
            server.close(() => {
              if (where.path !== undefined) rmSync(where.path, { force: true });
              closed();
            });
          }),
      });
    };
    if (where.path === undefined) server.listen(where.port ?? 0, "127.0.0.1", ready);
    else server.listen(where.path, ready);
  });
}

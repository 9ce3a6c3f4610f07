/**
 * Entry of the worker that owns an NBD client's socket. Started by client.ts.
 */
import { connect } from "node:net";
import { parentPort, workerData } from "node:worker_threads";
import { BlockOp, REQ_FUA, REQ_PREFLUSH, SECTOR_SIZE } from "../../kernel/abi/block.ts";
import { EINVAL, EIO, ENOSPC } from "../../kernel/abi/errno.ts";
import type { ClientHello, ClientStart } from "./client.ts";
import { Bell, ClientState, Phase, SLOT, SLOTS, SLOT_BYTES } from "./client_ring.ts";
import { negotiate } from "./negotiate.ts";
import { CMD_FUA, Cmd, NbdError, REQUEST_BYTES, REQUEST_MAGIC, SIMPLE_BYTES, SIMPLE_MAGIC } from "./wire.ts";

const { ring, address, timeoutMs } = workerData as ClientStart;
const { control, slots, bytes } = ring;
const socket = address.path === undefined ? connect(address.port!, "127.0.0.1") : connect(address.path);
socket.setNoDelay(true);

let chunks: Buffer[] = [];
let have = 0;
let want: { count: number; resolve: (taken: Buffer) => void; reject: (error: Error) => void } | undefined;
let ended: Error | undefined;
/** When each slot was sent; 0: not in flight. */
const sentMs = new Float64Array(SLOTS);
/** A PREFLUSH write waits in its slot for the flush that goes before it. */
const flushFirst = new Uint8Array(SLOTS);

const COMMANDS: ReadonlyMap<number, number> = new Map([
  [BlockOp.Read, Cmd.Read],
  [BlockOp.Write, Cmd.Write],
  [BlockOp.Flush, Cmd.Flush],
  [BlockOp.Discard, Cmd.Trim],
  [BlockOp.WriteZeroes, Cmd.WriteZeroes],
]);
const ERRORS: ReadonlyMap<number, number> = new Map<number, number>([
  [0, 0],
  [NbdError.Einval, EINVAL],
  [NbdError.Enospc, ENOSPC],
]);

function serve(): void {
  if (want === undefined) return;
  if (have >= want.count) {
    const all = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
    const { count, resolve } = want;
    want = undefined;
    chunks = all.length === count ? [] : [all.subarray(count)];
    have -= count;
    resolve(all.subarray(0, count));
  } else if (ended !== undefined) {
    const { reject } = want;
    want = undefined;
    reject(ended);
  }
}

const take = (count: number): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    want = { count, resolve, reject };
    serve();
  });

const end = (why: string): void => {
  ended ??= new Error(why);
  socket.destroy();
  serve();
};
socket.on("data", (data: Buffer) => {
  chunks.push(data);
  have += data.length;
  serve();
});
socket.on("error", (error) => end(error.message));
socket.on("close", () => end("the server closed the connection"));

function finish(slot: number, result: number): void {
  slots[slot * SLOT.words + SLOT.result] = result;
  sentMs[slot] = 0;
  Atomics.store(slots, slot * SLOT.words + SLOT.phase, Phase.Ended);
  Atomics.add(control, Bell.ENDED, 1);
  Atomics.notify(control, Bell.ENDED);
}

/** The cookie is the slot. */
function send(slot: number, command: number): void {
  const base = slot * SLOT.words;
  const sector = slots[base + SLOT.sectorHigh]! * 2 ** 32 + (slots[base + SLOT.sectorLow]! >>> 0);
  const isFlush = command === Cmd.Flush;
  const length = slots[base + SLOT.sectors]! * SECTOR_SIZE;
  const head = Buffer.alloc(REQUEST_BYTES);
  head.writeUInt32BE(REQUEST_MAGIC, 0);
  head.writeUInt16BE(!isFlush && (slots[base + SLOT.flags]! & REQ_FUA) !== 0 ? CMD_FUA : 0, 4);
  head.writeUInt16BE(command, 6);
  head.writeBigUInt64BE(BigInt(slot), 8);
  head.writeBigUInt64BE(isFlush ? 0n : BigInt(sector) * BigInt(SECTOR_SIZE), 16);
  head.writeUInt32BE(isFlush ? 0 : length, 24);
  socket.write(head);
  if (command === Cmd.Write) socket.write(bytes.slice(slot * SLOT_BYTES, slot * SLOT_BYTES + length));
  sentMs[slot] = performance.now();
}

function sendPosted(): void {
  socket.cork();
  for (let slot = 0; slot < SLOTS; slot++) {
    const base = slot * SLOT.words;
    if (Atomics.load(slots, base + SLOT.phase) !== Phase.Posted) continue;
    Atomics.store(slots, base + SLOT.phase, Phase.Sent);
    const preflush = (slots[base + SLOT.flags]! & REQ_PREFLUSH) !== 0 && slots[base + SLOT.op] !== BlockOp.Flush;
    flushFirst[slot] = preflush ? 1 : 0;
    send(slot, preflush ? Cmd.Flush : COMMANDS.get(slots[base + SLOT.op]!)!);
  }
  socket.uncork();
}

async function receive(): Promise<never> {
  for (;;) {
    const head = await take(SIMPLE_BYTES);
    const slot = Number(head.readBigUInt64BE(8));
    if (head.readUInt32BE(0) !== SIMPLE_MAGIC || !(slot < SLOTS) || sentMs[slot] === 0) throw new Error("no NBD reply");
    const base = slot * SLOT.words;
    const result = ERRORS.get(head.readUInt32BE(4)) ?? EIO;
    if (result === 0 && flushFirst[slot] === 1) {
      flushFirst[slot] = 0;
      send(slot, COMMANDS.get(slots[base + SLOT.op]!)!);
      continue;
    }
    if (result === 0 && slots[base + SLOT.op] === BlockOp.Read)
      bytes.set(await take(slots[base + SLOT.sectors]! * SECTOR_SIZE), slot * SLOT_BYTES);
    finish(slot, result);
  }
}

/** From here on nothing is served: whatever is posted ends with EIO. */
function breakDown(): void {
  Atomics.compareExchange(control, Bell.STATE, ClientState.Open, ClientState.Broken);
  for (let slot = 0; slot < SLOTS; slot++) {
    const phase = Atomics.load(slots, slot * SLOT.words + SLOT.phase);
    if (phase === Phase.Posted || phase === Phase.Sent) finish(slot, EIO);
  }
}

async function transmit(): Promise<void> {
  receive().catch((error: unknown) => {
    end(String(error));
    breakDown();
  });
  const watch = setInterval(
    () => {
      if (sentMs.some((ms) => ms !== 0 && performance.now() - ms > timeoutMs))
        end("a request was not answered in time");
    },
    Math.min(1000, timeoutMs / 4),
  );
  for (let seen = 0; ;) {
    const posted = Atomics.load(control, Bell.POSTED);
    if (Atomics.load(control, Bell.STATE) === ClientState.Closing) break;
    if (posted === seen) {
      const turn = Atomics.waitAsync(control, Bell.POSTED, seen);
      if (turn.async) await turn.value;
      continue;
    }
    seen = posted;
    if (ended === undefined) sendPosted();
    else breakDown();
  }
  clearInterval(watch);
  const goodbye = Buffer.alloc(REQUEST_BYTES);
  goodbye.writeUInt32BE(REQUEST_MAGIC, 0);
  goodbye.writeUInt16BE(Cmd.Disc, 6);
  socket.end(goodbye);
  breakDown();
}

const late = setTimeout(() => end(`no answer in ${timeoutMs} ms`), timeoutMs);
const hello = await negotiate({ take, send: (words) => void socket.write(words) }).catch(
  (error: unknown): ClientHello => ({ failure: error instanceof Error ? error.message : String(error) }),
);
clearTimeout(late);
parentPort!.postMessage(hello);
if ("failure" in hello) socket.destroy();
else await transmit();
process.exit();

/**
 * The memory between an NBD client's face (client.ts, in the caller's thread) and the worker that owns its socket.
 *
 *   control  Int32Array   POSTED  counts requests posted     ENDED  counts requests ended     STATE  below
 *   slots    Int32Array, SLOT words each: PHASE (Free -> Posted by the face -> Sent, Ended by the worker -> Free),
 *            OP, FLAGS, sector low and high word, sectors, result
 *   bytes    SLOT_BYTES a slot
 *
 * A slot has one owner at a time, by PHASE. Both sides wait on the counter that the other one moves.
 */
import { layout } from "../../kernel/lib/layout.ts";

export const SLOTS = 32;
export const SLOT_BYTES = 512 << 10;
export const SLOT = layout("phase", "op", "flags", "sectorLow", "sectorHigh", "sectors", "result");
export const Phase = { Free: 0, Posted: 1, Sent: 2, Ended: 3 } as const;
export const Bell = { POSTED: 0, ENDED: 1, STATE: 2 } as const;
/** Open: requests are served. Broken: they end with EIO. Closing: the face wants the connection to end. */
export const ClientState = { Open: 0, Broken: 1, Closing: 2 } as const;

export interface ClientRing {
  readonly control: Int32Array;
  readonly slots: Int32Array;
  readonly bytes: Uint8Array;
}

export function clientRing(): ClientRing {
  return {
    control: new Int32Array(new SharedArrayBuffer(12)),
    slots: new Int32Array(new SharedArrayBuffer(SLOTS * SLOT.words * 4)),
    bytes: new Uint8Array(new SharedArrayBuffer(SLOTS * SLOT_BYTES)),
  };
}

/**
 * The words shared by the worker that talks to QEMU and the supervisor that watches both (Int32Array on shared memory).
 *
 *   GONE     0; 1 once QEMU ended or was given up: nothing will answer any more     written by the supervisor
 *   WAITING  1 while the worker is blocked in a read of QEMU's answer               written by the worker
 *   SERIAL   counts answers, so that a long series of short waits is not one wait   written by the worker
 */
export const Control = { GONE: 0, WAITING: 1, SERIAL: 2 } as const;
export const CONTROL_WORDS = 3;

/** QEMU ended, or did not answer in time: what the worker's calls throw from then on. */
export class QemuGone extends Error {
  override readonly name = "QemuGone";
}

/** The line that the supervisor writes where QEMU's answers come from, to end a read that would block for ever. */
export const GONE_LINE = "ERR orrery: QEMU is gone";

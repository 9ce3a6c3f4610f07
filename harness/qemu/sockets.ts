/**
 * Connecting to a unix socket that another process is about to open.
 */
import { connect } from "node:net";
import type { Socket } from "node:net";
import { UserError } from "../cli/exit.ts";

const RETRY_MS = 4;
/** QEMU opens its sockets within tens of milliseconds. */
const LATE_MS = 10_000;

/** Retries until somebody listens at `path`; rejects with `gone`'s line when that comes first, and when nobody comes. */
export async function connectUnix(path: string, gone: Promise<string>): Promise<Socket> {
  const end = performance.now() + LATE_MS;
  for (;;) {
    const socket = await attempt(path);
    if (socket !== undefined) return socket;
    const over = await Promise.race([gone, later()]);
    if (over !== undefined) throw new UserError(over);
    if (performance.now() > end) throw new UserError(`QEMU runs but does not answer for ${LATE_MS} ms`);
  }
}

const later = (): Promise<undefined> => new Promise((resolve) => setTimeout(resolve, RETRY_MS, undefined));

function attempt(path: string): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.removeAllListeners("error");
      resolve(socket);
    });
    socket.once("error", () => resolve(undefined));
  });
}

/**
 * Connecting to a unix socket that another process is about to open.
 */
import { connect } from "node:net";
import type { Socket } from "node:net";

const RETRY_MS = 4;

/** Retries until somebody listens at `path`; rejects with `gone`'s line when that comes first. */
export async function connectUnix(path: string, gone: Promise<string>): Promise<Socket> {
  for (;;) {
    const socket = await attempt(path);
    if (socket !== undefined) return socket;
    const over = await Promise.race([gone, later()]);
    if (over !== undefined) throw new Error(over);
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

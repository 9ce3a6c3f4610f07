/**
 * A client of QMP, QEMU's control protocol: JSON objects, one a line, over a unix socket. After the greeting and
 * `qmp_capabilities` each `{execute, arguments, id}` is answered by `{return, id}` or `{error: {class, desc}, id}`, in
 * any order, and events come between.
 *
 * - connectQmp(path, gone)     waits for QEMU's socket; rejects with `gone`'s line when QEMU ends first
 * - qmp.execute(name, args)    the command's `return`
 * - qmp.event(name)            the next event of that name from now on; ask before what causes it
 * - qmp.until(name, done)      executes `name` until `done(answer)`
 */
import { connectUnix } from "./sockets.ts";
import type { Socket } from "node:net";

type Answer = Readonly<Record<string, unknown>>;
interface Waiter {
  readonly resolve: (value: Answer) => void;
  readonly reject: (error: Error) => void;
}
interface Message {
  readonly QMP?: Answer;
  readonly event?: string;
  readonly id?: number;
  readonly return?: Answer;
  readonly error?: { readonly class: string; readonly desc: string };
}

const POLL_MS = 2;
/** QEMU answers its monitor within milliseconds, or not at all. */
const ANSWER_MS = 30_000;

export class Qmp {
  readonly #socket: Socket;
  readonly #commands = new Map<number, Waiter>();
  readonly #events = new Map<string, Waiter[]>();
  #text = "";
  #serial = 0;
  #closed: Error | undefined;
  readonly greeted: Promise<Answer>;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.greeted = this.event("greeting");
    socket.setEncoding("utf8");
    socket.on("data", (text) => this.#take(String(text)));
    socket.on("error", (error) => this.#close(error));
    socket.on("close", () => this.#close(new Error("QEMU closed its control socket")));
  }

  execute(name: string, args?: Answer): Promise<Answer> {
    const id = ++this.#serial;
    return this.#wait(name, (waiter) => {
      this.#commands.set(id, waiter);
      this.#socket.write(`${JSON.stringify({ execute: name, arguments: args, id })}\n`);
    });
  }

  event(name: string): Promise<Answer> {
    return this.#wait(name, (waiter) => {
      const waiters = this.#events.get(name) ?? [];
      waiters.push(waiter);
      this.#events.set(name, waiters);
    });
  }

  async until(name: string, done: (answer: Answer) => boolean): Promise<Answer> {
    for (;;) {
      const answer = await this.execute(name);
      if (done(answer)) return answer;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  #wait(name: string, start: (waiter: Waiter) => void): Promise<Answer> {
    const answer = new Promise<Answer>((resolve, reject) => {
      if (this.#closed !== undefined) return reject(this.#closed);
      const late = setTimeout(() => reject(new Error(`QMP: no answer to ${name} in ${ANSWER_MS} ms`)), ANSWER_MS);
      const settle =
        <T>(end: (value: T) => void) =>
        (value: T): void => {
          clearTimeout(late);
          end(value);
        };
      start({ resolve: settle(resolve), reject: settle(reject) });
    });
    answer.catch(() => undefined);
    return answer;
  }

  #take(text: string): void {
    this.#text += text;
    for (let end = this.#text.indexOf("\n"); end >= 0; end = this.#text.indexOf("\n")) {
      const line = this.#text.slice(0, end).trim();
      this.#text = this.#text.slice(end + 1);
      if (line !== "") this.#message(JSON.parse(line) as Message);
    }
  }

  #message(message: Message): void {
    const event = message.QMP === undefined ? message.event : "greeting";
    if (event !== undefined) {
      const waiters = this.#events.get(event) ?? [];
      this.#events.delete(event);
      for (const waiter of waiters) waiter.resolve(message as Answer);
      return;
    }
    const waiter = this.#commands.get(message.id ?? 0);
    this.#commands.delete(message.id ?? 0);
    if (message.error === undefined) waiter?.resolve(message.return ?? {});
    else waiter?.reject(new Error(`QMP: ${message.error.class}: ${message.error.desc}`));
  }

  #close(error: Error): void {
    this.#closed ??= error;
    for (const waiter of this.#commands.values()) waiter.reject(this.#closed);
    for (const waiters of this.#events.values()) for (const waiter of waiters) waiter.reject(this.#closed);
    this.#commands.clear();
    this.#events.clear();
  }
}

export async function connectQmp(path: string, gone: Promise<string>): Promise<Qmp> {
  const qmp = new Qmp(await connectUnix(path, gone));
  await qmp.greeted;
  await qmp.execute("qmp_capabilities");
  return qmp;
}

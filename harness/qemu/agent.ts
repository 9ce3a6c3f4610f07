/**
 * The host's end of the guest's two serial ports (initramfs.ts).
 *
 * - agent.ready(ms)             resolves when init has said so
 * - agent.run(command, ms)      one shell command; resolves with its status and output
 * - agent.script(text, ms, output)   a whole script, its output passed on while it runs; resolves with its status
 *
 * Commands run one after the other. A guest that is gone rejects; one that is silent rejects after `ms`.
 */
import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { UserError } from "../cli/exit.ts";

export interface CommandResult {
  readonly status: number;
  readonly output: string;
}

/** The guest has written all when it answers; only our own event loop is behind. */
const LAST_WORDS_MS = 5_000;

interface Waiter {
  readonly resolve: (line: string) => void;
  readonly reject: (error: Error) => void;
}

export class Agent {
  readonly #commands: Socket;
  readonly #stream: Socket;
  #text = "";
  #lines: string[] = [];
  #waiter: Waiter | undefined;
  #gone: Error | undefined;
  #serial = 0;

  constructor(commands: Socket, stream: Socket, gone: Promise<string>) {
    this.#commands = commands;
    this.#stream = stream;
    commands.setEncoding("utf8");
    commands.on("data", (text) => this.#take(String(text)));
    for (const socket of [commands, stream]) socket.on("error", () => undefined);
    void gone.then((line) => this.#end(new UserError(line)));
  }

  async ready(ms: number): Promise<void> {
    while ((await this.#line(ms, "the guest did not come up")) !== "ready");
  }

  async run(command: string, ms: number, what = `"${command.slice(0, 60)}"`): Promise<CommandResult> {
    const id = `c${++this.#serial}`;
    this.#commands.write(`${id} ${command.replaceAll("\n", "; ")}\n`);
    for (;;) {
      const [answer, status, output] = (await this.#line(ms, `the guest did not end ${what}`)).split(" ");
      if (answer === id) return { status: Number(status), output: Buffer.from(output ?? "", "base64").toString() };
    }
  }

  async script(text: Buffer, ms: number, output: (bytes: Buffer) => void): Promise<number> {
    // What the script says ends where this word comes by, which no script can know.
    const end = randomBytes(12).toString("hex");
    const said = this.#streamUntil(Buffer.from(end), output);
    await this.run(`echo ${text.toString("base64")} | base64 -d > /tmp/script`, ms);
    const { status } = await this.run(
      `sh /tmp/script > /dev/vport0p2 2>&1; status=$?; echo -n ${end} > /dev/vport0p2; exit $status`,
      ms,
      "the script",
    );
    await Promise.race([said, new Promise((resolve) => setTimeout(resolve, LAST_WORDS_MS).unref())]);
    return status;
  }

  close(): void {
    this.#commands.destroy();
    this.#stream.destroy();
    this.#end(new Error("the guest was ended"));
  }

  #streamUntil(end: Buffer, output: (bytes: Buffer) => void): Promise<void> {
    return new Promise((resolve) => {
      let kept = Buffer.alloc(0);
      const onData = (bytes: Buffer): void => {
        const all = Buffer.concat([kept, bytes]);
        const at = all.indexOf(end);
        // The end may come in two parts: its length is kept back.
        const sure = at >= 0 ? at : Math.max(0, all.length - end.length);
        if (sure > 0) output(all.subarray(0, sure));
        kept = all.subarray(sure);
        if (at >= 0) finish();
      };
      const finish = (): void => {
        this.#stream.off("data", onData);
        this.#stream.off("close", finish);
        resolve();
      };
      this.#stream.on("data", onData);
      this.#stream.on("close", finish);
    });
  }

  #line(ms: number, late: string): Promise<string> {
    const line = this.#lines.shift();
    if (line !== undefined) return Promise.resolve(line);
    if (this.#gone !== undefined) return Promise.reject(this.#gone);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#waiter?.reject(new UserError(`${late} in ${ms} ms`)), ms);
      const over = (): void => {
        clearTimeout(timer);
        this.#waiter = undefined;
      };
      this.#waiter = {
        resolve: (line) => {
          over();
          resolve(line);
        },
        reject: (error) => {
          over();
          reject(error);
        },
      };
    });
  }

  #take(text: string): void {
    this.#text += text;
    for (let end = this.#text.indexOf("\n"); end >= 0; end = this.#text.indexOf("\n")) {
      const line = this.#text.slice(0, end).trim();
      this.#text = this.#text.slice(end + 1);
      if (this.#waiter === undefined) this.#lines.push(line);
      else this.#waiter.resolve(line);
    }
  }

  #end(error: Error): void {
    this.#gone ??= error;
    this.#waiter?.reject(this.#gone);
  }
}

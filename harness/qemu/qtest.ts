/**
 * A synchronous client of qtest, QEMU's protocol for driving a machine from outside, over a pair of FIFOs
 * (`-qtest pipe:Q` reads Q.in and writes Q.out). One command a line, one answer a line, in order:
 *
 *   writel 0xfeb00070 0x1    ->  OK
 *   readl 0xfeb00070         ->  OK 0x0000000000000001
 *   (asynchronous)               IRQ raise 5     IRQ lower 5
 *
 * - ask(command)     sends, blocks for the answer, returns its value
 * - post(command)    sends only; the answer is taken (and a refusal thrown) by a later call. QEMU keeps the order, so
 *                    this is a bus's posted write: whoever must know that it arrived reads something back
 * - takeIrq(line)    true when the line rose since the last call
 *
 * A blocking read has no time-out: so this runs in a worker, and the supervisor (supervisor.ts) ends the read by an
 * `ERR` line when QEMU has ended or is silent. After that every call throws QemuGone.
 */
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { panic } from "../../kernel/lib/assert.ts";
import { Control, GONE_LINE, QemuGone } from "./control.ts";

/** Posted commands in flight. 64 lines of at most 60 bytes fit the smallest FIFO there is (4 KiB), so no write blocks. */
const POSTED_MAX = 64;
const LINE_BYTES_MAX = 60;
const READ_BYTES = 65_536;
const NEWLINE = 10;

export class Qtest {
  readonly #commands: number;
  readonly #answers: number;
  readonly #control: Int32Array;
  readonly #buffer = Buffer.allocUnsafe(READ_BYTES);
  #from = 0;
  #to = 0;
  #posted = 0;
  readonly #irqs = new Set<number>();
  /** Commands sent so far: what a request costs is counted with it. */
  commandsSent = 0;

  /** `path`.in and `path`.out exist. Both are opened for reading and writing: neither open waits for the other side. */
  constructor(path: string, control: Int32Array) {
    this.#control = control;
    this.#commands = openSync(`${path}.in`, "r+");
    this.#answers = openSync(`${path}.out`, "r+");
  }

  ask(command: string): string {
    this.settle();
    this.#send(command);
    return this.#answer(command);
  }

  post(command: string): void {
    if (this.#posted === POSTED_MAX) this.settle();
    this.#send(command);
    this.#posted++;
  }

  /** Takes the answers of all posted commands. */
  settle(): void {
    while (this.#posted > 0) {
      this.#posted--;
      this.#answer("a posted command");
    }
  }

  takeIrq(line: number): boolean {
    return this.#irqs.delete(line);
  }

  /** Throws once QEMU is gone: for loops that poll memory and ask QEMU nothing. */
  checkAlive(): void {
    if (Atomics.load(this.#control, Control.GONE) !== 0) throw new QemuGone(GONE_LINE);
  }

  close(): void {
    closeSync(this.#commands);
    closeSync(this.#answers);
  }

  #send(command: string): void {
    if (command.length >= LINE_BYTES_MAX) panic("qtest: command longer than a posted line may be", command);
    this.checkAlive();
    this.commandsSent++;
    const text = `${command}\n`;
    for (let at = 0; at < text.length;) at += writeSync(this.#commands, text.slice(at), null, "latin1");
  }

  #answer(command: string): string {
    for (;;) {
      const line = this.#line();
      if (line.startsWith("OK")) return line.slice(3);
      if (line.startsWith("IRQ ")) {
        const [, what, number] = line.split(" ");
        if (what === "raise") this.#irqs.add(Number(number));
        continue;
      }
      if (line === GONE_LINE) throw new QemuGone(line);
      panic("qtest: QEMU refused", command, line);
    }
  }

  #line(): string {
    for (;;) {
      const end = this.#buffer.indexOf(NEWLINE, this.#from);
      if (end >= 0 && end < this.#to) {
        const line = this.#buffer.toString("latin1", this.#from, end);
        this.#from = end + 1;
        return line;
      }
      this.#buffer.copyWithin(0, this.#from, this.#to);
      this.#to -= this.#from;
      this.#from = 0;
      Atomics.store(this.#control, Control.WAITING, 1);
      this.#to += readSync(this.#answers, this.#buffer, this.#to, READ_BYTES - this.#to, null);
      Atomics.add(this.#control, Control.SERIAL, 1);
      Atomics.store(this.#control, Control.WAITING, 0);
    }
  }
}

/**
 * The live view of `orrery boot` on a terminal: the machine runs at the pace of a clock, is drawn ten times a second, and
 * obeys single keys.
 *
 *   q  quits: orderly shutdown     p  pauses, goes on     s  one event     b  one event back (a machine run again up to it)
 *   c  pulls the plug: what the disk had not made durable is gone, and a new machine boots from the rest
 *
 * - live(machine, options)    the machine that is there at the end, and where it stands
 */
import type { OpenMachine } from "./machine.ts";
import { openMachine } from "./machine.ts";
import { View } from "./view.ts";

const FRAME_MS = 100;
const SLICE_MS = 2;
const DRAW_MS = 10;
/** Of a terminal that does not say. */
const COLUMNS = 100;
const CLEAR = "\u001b[2J";
const HOME = "\u001b[H";
const TO_LINE_END = "\u001b[K";
const TO_SCREEN_END = "\u001b[J";
const HIDE = "\u001b[?25l";
const SHOW = "\u001b[?25h";
const CTRL_C = "\u0003";

export interface Terminal {
  readonly columns: number;
  write(text: string): unknown;
}

export interface Keys {
  /** Keys pressed since the last call. */
  take(): string;
  close(): void;
}

export interface LiveOptions {
  readonly untilNs: number;
  readonly terminal: Terminal;
  readonly keys: Keys;
  readonly stop: AbortSignal;
  /** Waits so many milliseconds of real time. */
  readonly sleep: (ms: number) => Promise<unknown>;
  readonly nowMs: () => number;
}

export async function live(opened: OpenMachine, options: LiveOptions): Promise<OpenMachine> {
  const { untilNs, terminal, keys, stop, sleep, nowMs } = options;
  let machine = opened;
  let view = new View(machine);
  let paused = false;
  let message = "";
  let crashes = 0;
  let leftMs = untilNs / 1e6;
  terminal.write(HIDE + CLEAR);
  try {
    while (leftMs > 0 && !stop.aborted) {
      const beganMs = nowMs();
      for (const key of keys.take()) {
        if (key === "q" || key === CTRL_C) return machine;
        if (key === "p") paused = !paused;
        if (key === "s" && paused) machine.run(Infinity, 1);
        if (key === "b" && paused) {
          machine = await back(machine.booted.system.steps() - 1, machine);
          view = new View(machine);
        }
        if (key === "c") {
          machine = await replug(machine, ++crashes);
          view = new View(machine);
          message = `the plug was pulled ${crashes === 1 ? "once" : `${crashes} times`}; the journal was replayed`;
        }
      }
      // As much of a frame's virtual time as fits into its real time.
      const frameMs = paused ? 0 : FRAME_MS;
      for (let ran = 0; ran < frameMs && nowMs() - beganMs < FRAME_MS - DRAW_MS; ran += SLICE_MS) {
        machine.run(machine.booted.machine.time[0]! + SLICE_MS * 1e6);
        leftMs -= SLICE_MS;
      }
      const columns = terminal.columns > 0 ? terminal.columns : COLUMNS;
      draw(terminal, [...view.lines(columns), "", footer(paused, message)]);
      await sleep(Math.max(0, FRAME_MS - (nowMs() - beganMs)));
    }
    return machine;
  } finally {
    terminal.write(`${SHOW}\n`);
    keys.close();
  }
}

const footer = (paused: boolean, message: string): string =>
  `q quit  p ${paused ? "go on  s step  b step back" : "pause"}  c pull the plug${message === "" ? "" : `   ${message}`}`;

function draw(terminal: Terminal, lines: readonly string[]): void {
  terminal.write(HOME + lines.map((line) => `${line}${TO_LINE_END}\n`).join("") + TO_SCREEN_END);
}

/** The machine as it was after so many events. */
async function back(events: number, { options, image0 }: OpenMachine): Promise<OpenMachine> {
  const again = await openMachine(options, image0?.slice());
  if (events > 0) again.run(Infinity, events);
  return again;
}

/** A new machine on what the disk would hold after a power cut: of each volatile write about half its sectors. */
async function replug({ options, booted }: OpenMachine, crash: number): Promise<OpenMachine> {
  const medium = booted.disk?.medium;
  if (medium === undefined) return openMachine(options);
  let turn = crash;
  const image = medium.crash(() => {
    turn = (Math.imul(turn, 0x343fd) + 0x269ec3) | 0;
    return (turn >>> 16) % 2 === 0;
  });
  return openMachine(options, image);
}

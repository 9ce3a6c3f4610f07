/**
 * One line of progress on stderr, only when a person watches (stderr is a terminal): redrawn at most ten times a second
 * and wiped at the end, so that what stays on the screen is the result.
 *
 * - progressLine(label)   .update(text) replaces the line, .count(done, total) adds share and time left, .end() wipes it
 */
const REDRAW_MS = 100;
const TRUST_MS = 500;

export interface ProgressLine {
  update(text: string): void;
  count(done: number, total: number): void;
  end(): void;
}

interface Terminal {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

export function progressLine(
  label: string,
  terminal: Terminal = process.stderr,
  now: () => number = () => performance.now(),
): ProgressLine {
  const watched = terminal.isTTY === true && process.env["TERM"] !== "dumb";
  const startedMs = now();
  let drawnMs = Number.NEGATIVE_INFINITY;
  const draw = (text: string): void => {
    if (!watched || now() - drawnMs < REDRAW_MS) return;
    drawnMs = now();
    terminal.write(
      `\r\u001b[2K${`${label}: ${text}`.slice(0, (terminal.columns === undefined || terminal.columns === 0 ? 80 : terminal.columns) - 1)}`,
    );
  };
  return {
    update: draw,
    count(done, total) {
      const tookMs = now() - startedMs;
      // The first cases say little about the others.
      const left = done === 0 || tookMs < TRUST_MS ? "" : `, ${durationText((tookMs / done) * (total - done))} left`;
      draw(`${done} of ${total} (${Math.floor((100 * done) / Math.max(total, 1))} %${left})`);
    },
    end() {
      if (watched && drawnMs > Number.NEGATIVE_INFINITY) terminal.write("\r\u001b[2K");
    },
  };
}

/** 950 ms is "1 s", 90 s is "1 min 30 s". */
export function durationText(ms: number): string {
  const seconds = Math.max(1, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${seconds % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

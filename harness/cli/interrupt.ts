/**
 * Ctrl-C. A command that has something worth keeping runs its work inside `interruptible`: the first SIGINT aborts the
 * signal it was given, the work returns what it has, and the command ends with 130 after it was saved. A second one, a
 * little later, ends at once (the launcher and the terminal may both deliver the first, so a quick repeat is the same
 * one). Commands that do not ask keep the system's default: they die by the signal, which shells report as 130 too.
 *
 * The work must return to the event loop now and then, or live in a worker: a signal is only seen between two turns.
 */
import { EXIT } from "./exit.ts";

const SAME_MS = 400;

export async function interruptible<T>(work: (stop: AbortSignal) => Promise<T>): Promise<T> {
  const abort = new AbortController();
  let firstMs = 0;
  const onSignal = (): void => {
    if (abort.signal.aborted && performance.now() - firstMs > SAME_MS) process.exit(EXIT.interrupted);
    if (abort.signal.aborted) return;
    firstMs = performance.now();
    process.exitCode = EXIT.interrupted;
    abort.abort();
  };
  process.on("SIGINT", onSignal);
  try {
    return await work(abort.signal);
  } finally {
    process.off("SIGINT", onSignal);
  }
}

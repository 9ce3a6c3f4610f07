/**
 * The host's monotonic clock in whole nanoseconds, the same for all threads of the process: the clock of the parallel
 * world, which takes it by path, since nothing below harness may read a clock.
 *
 * `performance.now` counts from the start of its thread, so each thread finds out once where that lies on the clock of
 * process.hrtime: it reads one between two readings of the other, many times, and keeps the narrowest bounds (tens of
 * nanoseconds). Threads may disagree by that much.
 */
const ROUNDS = 500;

function offsetNs(): number {
  let low = Number.NEGATIVE_INFINITY;
  let high = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const before = performance.now() * 1e6;
    const host = Number(process.hrtime.bigint());
    const after = performance.now() * 1e6;
    low = Math.max(low, host - after);
    high = Math.min(high, host - before);
  }
  return Math.round((low + high) / 2);
}

const offset = offsetNs();

export const hostNowNs = (): number => Math.round(performance.now() * 1e6) + offset;

/**
 * CPU time of this thread, ns: other programs on the machine disturb it less than the wall clock. Linux brings the figure
 * up to date when a thread leaves its CPU, else only at ticks of some milliseconds; so a moment's sleep comes first.
 */
const cell = new Int32Array(new SharedArrayBuffer(4));
const MOMENT_MS = 0.05;

export function threadCpuNs(): number {
  Atomics.wait(cell, 0, 0, MOMENT_MS);
  const { user, system } = process.threadCpuUsage();
  return (user + system) * 1000;
}

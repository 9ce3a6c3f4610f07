import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { expect, it } from "vitest";
import { futexLocks, noLocks } from "../../../kernel/lib/lock_ops.ts";

const TURNS = 50_000;

/** Workers add to one counter; what it came to, and whether the lock is free. */
async function count(workers: number, locked: boolean): Promise<{ counted: number; free: boolean }> {
  const words = new Int32Array(new SharedArrayBuffer(256));
  words[32] = workers;
  const entry = new URL("./lock_worker.ts", import.meta.url);
  const running = Array.from(
    { length: workers },
    () => new Worker(entry, { workerData: { words, turns: TURNS, locked } }),
  );
  await Promise.all(running.map((worker) => once(worker, "exit")));
  return { counted: words[16]!, free: futexLocks.tryLock(words, 0) };
}

it("no addition is lost under the futex lock, with more workers than cores too", async () => {
  expect(await count(3, true)).toEqual({ counted: 3 * TURNS, free: true });
});

it("without it some are (canary)", async () => {
  // Two threads that never overlap would lose none; five tries make that unlikely even on one core.
  let lost = 0;
  for (let attempt = 0; attempt < 5 && lost === 0; attempt++) lost = 2 * TURNS - (await count(2, false)).counted;
  expect(lost).toBeGreaterThan(0);
});

it("tryLock() takes a free word only, unlock() panics on one, and nothing happens without locks", () => {
  const words = new Int32Array(new SharedArrayBuffer(8));
  expect([futexLocks.tryLock(words, 1), futexLocks.tryLock(words, 1), futexLocks.tryLock(words, 0)]).toEqual([
    true,
    false,
    true,
  ]);
  futexLocks.unlock(words, 1);
  expect(() => futexLocks.unlock(words, 1)).toThrow(/the lock was free/);
  futexLocks.lock(words, 1);
  expect(futexLocks.tryLock(words, 1)).toBe(false);
  noLocks.lock(words, 1);
  noLocks.unlock(words, 1);
  expect([noLocks.tryLock(words, 1), words[1] !== 0]).toEqual([true, true]);
});

/** Adds to a plain counter under the lock, `turns` times; without it when `locked` is false. */
import { workerData } from "node:worker_threads";
import { lock, unlock } from "../../../kernel/lib/lock.ts";

const { words, turns, locked } = workerData as { words: Int32Array; turns: number; locked: boolean };
Atomics.sub(words, 32, 1);
// All begin at once, or the first would be done before the last has started.
while (Atomics.load(words, 32) > 0);
for (let turn = 0; turn < turns; turn++) {
  if (locked) lock(words, 0);
  const seen = words[16]!;
  for (let spin = 0; spin < 20; spin++) words[17] = spin;
  words[16] = seen + 1;
  if (locked) unlock(words, 0);
}

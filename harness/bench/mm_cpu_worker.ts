/** One CPU of bench mm: allocates and frees order-0 pages on a shared allocator; answers with its nanoseconds. */
import { parentPort, workerData } from "node:worker_threads";
import { PageAlloc } from "../../mm/index.ts";
import { type CpuJob, loopConfig, randomOn } from "./mm_loops.ts";

const job = workerData as CpuJob;
const mm = new PageAlloc(loopConfig(job.cpus), job.buffer);
const loop = randomOn(mm, job.cpu, 0x9e3779b9 + job.cpu * 7919);
loop(job.operations / 4);
const gate = new Int32Array(job.gate);
Atomics.add(gate, 0, 1);
Atomics.notify(gate, 0);
for (let ready = Atomics.load(gate, 0); ready < job.workers; ready = Atomics.load(gate, 0))
  Atomics.wait(gate, 0, ready);
const started = performance.now();
loop(job.operations);
parentPort!.postMessage((performance.now() - started) * 1e6);

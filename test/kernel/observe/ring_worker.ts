/** Writes records whose words all follow from one number, as fast as it can: a torn one shows. */
import { workerData } from "node:worker_threads";
import { attachRings, ringWrite } from "../../../kernel/worlds.ts";

const { buffer, records } = workerData as { buffer: SharedArrayBuffer; records: number };
const ring = attachRings(buffer).rings[1]!;
for (let i = 0; i < records; i++) ringWrite(ring, i, 1, i, ~i, i ^ 0x5555, i + 7);

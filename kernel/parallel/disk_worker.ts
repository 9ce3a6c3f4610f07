/**
 * The worker thread of a parallel machine's disk: a virtio-blk device over a simulated disk, whose image only this thread
 * writes. Requests take their time on the host's clock. With a store, what is durable is written through to that.
 */
import { parentPort, workerData } from "node:worker_threads";
import { Arena } from "../lib/arena.ts";
import { assert } from "../lib/assert.ts";
import { sinceBoot } from "../cpu_loop.ts";
import { Smp, Stop } from "../smp.ts";
import { makeDisk } from "../wire_disk.ts";
import { DiskMailbox } from "./disk_mailbox.ts";
import { StoragePort } from "./port.ts";
import type { MachineShare } from "./share.ts";
import { failureOf } from "./worker_answer.ts";
import type { WorkerAnswer } from "./worker_answer.ts";
import { Mmio } from "../../drivers/index.ts";
import type { ServiceModel } from "../../drivers/index.ts";

/** Where an image comes from and its durable sectors go: a module that exports openStore(path). */
export interface StoreName {
  readonly module: string;
  readonly path: string;
}

export interface DiskStore {
  readonly image: Uint8Array;
  readonly write: (sector: number, bytes: Uint8Array) => void;
}

export interface DiskStart {
  readonly share: MachineShare;
  readonly mailbox: SharedArrayBuffer;
  readonly image: Uint8Array | undefined;
  readonly store: StoreName | undefined;
  readonly service: ServiceModel | undefined;
}

/** It looks so often whether the machine has stopped. */
const LOOK_MS = 250;

const { share, mailbox, image, store, service } = workerData as DiskStart;
const answer = (message: WorkerAnswer): void => parentPort!.postMessage(message);

async function openImage(): Promise<DiskStore | { readonly image: Uint8Array }> {
  if (store === undefined) {
    assert(image !== undefined, "disk: neither an image nor a store");
    return { image };
  }
  const { openStore } = (await import(store.module)) as { openStore: (path: string) => DiskStore };
  return openStore(store.path);
}

async function main(): Promise<void> {
  const { cpus, rows } = share;
  const arena = new Arena(share.arena);
  const smp = new Smp(arena, cpus, rows);
  const port = new StoragePort(arena, rows);
  const box = new DiskMailbox(mailbox);
  try {
    const { hostNowNs } = (await import(share.clock)) as { hostNowNs: () => number };
    const now = sinceBoot(smp, hostNowNs);
    const opened = await openImage();
    const raise = (): void => {
      const bits = window.read(Mmio.InterruptStatus, 4);
      window.write(Mmio.InterruptAck, 4, bits);
      box.raise(bits);
      port.ring();
    };
    const { blk, medium, window } = makeDisk(
      share.ram,
      { raise },
      {
        image: opened.image,
        now,
        ...(service === undefined ? {} : { service }),
        ...("write" in opened ? { durable: opened.write } : {}),
      },
    );
    while (smp.stopReason === Stop.No) {
      const { heard } = box;
      box.beat();
      box.serve(window);
      blk.step();
      const forMs = (medium.nextAtNs - now()) / 1e6;
      if (forMs > 0) box.sleep(heard, Math.min(forMs, LOOK_MS));
    }
    answer({ kind: "disk" });
  } catch (thrown) {
    smp.stop(Stop.Failed);
    port.ring();
    answer(failureOf(thrown, "serves the disk", 0));
  }
}

await main();

/**
 * Guests that start where another one stands. A template is a guest that was brought to a point, stopped, and written
 * down: its RAM is a file, the rest of its state 400 KB. A clone is a new QEMU that maps the same RAM file privately
 * (copy on write) and takes the state in: tens of milliseconds instead of a boot, as often as one likes.
 *
 * - makeTemplate(guest)          takes the guest over: it answers no more
 * - template.clone(disk)         a guest that goes on from there, on a disk of its own with the template's content
 * - template.remove()
 *
 * The disk is not part of the state: whoever makes a template keeps a snapshot of its disk from the same moment (the
 * guest is stopped, so nothing is in flight), and each clone gets one such snapshot.
 */
import { join } from "node:path";
import { statSync } from "node:fs";
import type { NbdAddress } from "../nbd/server.ts";
import { attach, guestArgs } from "./guest.ts";
import type { Guest } from "./guest.ts";
import { runFolder } from "./open_things.ts";
import type { Qmp } from "./qmp.ts";
import { startQemu } from "./spawn.ts";

/** RAM that is shared with a file need not be copied into the state. */
const IGNORE_SHARED = { capabilities: [{ capability: "x-ignore-shared", state: true }] };

export interface Template {
  readonly stateBytes: number;
  clone(disk: NbdAddress | undefined): Promise<Guest>;
  remove(): Promise<void>;
}

const statusOf = (answer: Readonly<Record<string, unknown>>): string => String(answer["status"]);

async function saveState(qmp: Qmp, file: string): Promise<void> {
  await qmp.execute("migrate-set-capabilities", IGNORE_SHARED);
  await qmp.execute("migrate", { uri: `exec:cat > '${file}'` });
  const end = await qmp.until("query-migrate", (answer) => ["completed", "failed"].includes(statusOf(answer)));
  if (statusOf(end) === "failed") throw new Error(`QEMU could not save the template: ${String(end["error-desc"])}`);
}

export async function makeTemplate(guest: Guest): Promise<Template> {
  const { folder, options } = guest;
  const state = join(folder.path, "state");
  const ram = { file: join(folder.path, "ram"), share: false };
  await guest.qmp.execute("stop");
  await saveState(guest.qmp, state);
  guest.qemu.kill();
  await guest.qemu.ended;
  return {
    stateBytes: statSync(state).size,
    clone: async (disk) => {
      const mine = runFolder();
      const cloned = disk === undefined ? options : { ...options, disk };
      const qemu = startQemu([...guestArgs(mine.path, cloned, ram), "-incoming", "defer"]);
      const clone = await attach(qemu, mine, cloned);
      try {
        await clone.qmp.execute("migrate-set-capabilities", IGNORE_SHARED);
        await clone.qmp.execute("migrate-incoming", { uri: `exec:cat '${state}'` });
        await clone.qmp.until("query-status", (answer) => statusOf(answer) !== "inmigrate");
        await clone.qmp.execute("cont");
        return clone;
      } catch (error) {
        await clone.cut();
        throw error;
      }
    },
    remove: () => guest.cut(),
  };
}

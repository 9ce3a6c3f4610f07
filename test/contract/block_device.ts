/** Registers the contract of a BlockDevice for a device that lives in this thread: `open` gives a fresh one. */
import { describe, it } from "vitest";
import { CONTRACT } from "./block_device_cases.ts";
import type { Opened } from "./block_device_cases.ts";

export function blockDeviceContract(name: string, open: () => Opened & { close?(): void }): void {
  describe(`BlockDevice ${name}`, () => {
    it.each(CONTRACT)("$name", (one) => {
      const opened = open();
      one.run(opened);
      opened.close?.();
    });
  });
}

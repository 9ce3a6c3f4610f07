/** A medium that says it has what it has not: each third run of sectors is dropped. For the canary of power cuts. */
import { openStore as open } from "../../../harness/machine/image_store.ts";
import type { DiskStore } from "../../../kernel/index.ts";

export function openStore(path: string): DiskStore {
  const { image, write } = open(path);
  let writes = 0;
  return {
    image,
    write(sector, bytes) {
      if (++writes % 3 !== 0) write(sector, bytes);
    },
  };
}

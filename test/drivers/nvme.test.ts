/** The NVMe driver on our controller: verified operations, PRP shapes, and a controller that lies. */
import { describe, expect, it } from "vitest";
import { openSimNvme } from "../../harness/blk/sim_devices.ts";
import { verify } from "../../harness/blk/verify.ts";

describe.each([false, true])("Nvme, memory unmapped: %s", (unmapped) => {
  it.each([
    { queueSize: 4, dataBytes: 4096 },
    { queueSize: 32, dataBytes: 16_384 },
    { queueSize: 128, dataBytes: 65_536 },
  ])("answers as the model does: $queueSize entries, $dataBytes bytes", (driver) => {
    const opened = openSimNvme({ sectors: 8192, driver, unmapped });
    const report = verify(opened, { device: "sim-nvme", ops: 1500, seed: 3, sectors: 8192, driver, unmapped });
    expect(report).toMatchObject({ mismatches: 0, firstMismatch: null, imageEqual: true, ops: 1500 });
    opened.close();
  });
});

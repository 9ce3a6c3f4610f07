/** The driver on our device, over both transports, ring formats and memory kinds: verified operations against the model. */
import { describe, expect, it } from "vitest";
import { openSimVirtio } from "../../harness/blk/sim_devices.ts";
import { verify } from "../../harness/blk/verify.ts";

const FLAGS = ["packed", "indirect", "eventIdx", "inOrder"] as const;
const SIZES = { queues: 3, queueSize: 32, dataBytes: 16_384, segmentBytes: 2_560 };

/** Every combination of the flags. */
const combinations = Array.from({ length: 2 ** FLAGS.length }, (_, bits) =>
  Object.fromEntries(FLAGS.map((flag, bit) => [flag, ((bits >> bit) & 1) === 1])),
);
const nameOf = (flags: Record<string, boolean>): string =>
  FLAGS.filter((flag) => flags[flag] === true).join(" ") || "plain";

describe.each(["mmio", "pci"] as const)("VirtioBlk over %s", (kind) => {
  for (const flags of combinations)
    it(`answers as the model does: ${nameOf(flags)}`, () => {
      for (const unmapped of [false, true]) {
        const driver = { ...SIZES, ...flags };
        const opened = openSimVirtio({ sectors: 4096, driver, unmapped }, kind);
        const report = verify(opened, { device: kind, ops: 400, seed: 11, sectors: 4096, driver, unmapped });
        expect(report).toMatchObject({ mismatches: 0, firstMismatch: null, imageEqual: true, ops: 400 });
        opened.close();
      }
    });
});

it("verify() notices a device whose medium was changed behind its back (canary)", () => {
  const opened = openSimVirtio({ sectors: 4096, driver: SIZES, unmapped: false }, "mmio");
  const lying = {
    ...opened,
    readMedium: (sector: number, into: Uint8Array): void => {
      opened.readMedium(sector, into);
      into[5]! ^= 1;
    },
  };
  const report = verify(lying, { device: "mmio", ops: 400, seed: 11, sectors: 4096, driver: SIZES, unmapped: false });
  expect(report.imageEqual && report.mismatches === 0).toBe(false);
  opened.close();
});

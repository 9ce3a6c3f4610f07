import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadRecorded } from "../../../harness/crash/recorded.ts";
import { findTool } from "../../../harness/qemu/packages.ts";
import { linesOf, orrery, scratch } from "../orrery.ts";
import { guest } from "../qemu/tools.ts";
import { thorough } from "../../tier.ts";

it("what is for ext4 only, and a missing tool, are one line with their codes", async () => {
  const wrong = await orrery(["crash", "guest", "--fs", "xfs", "--referee", "5"]);
  expect([wrong.code, linesOf(wrong.stderr).length]).toEqual([2, 1]);
  expect(wrong.stderr).toMatch(/^orrery: --referee is for ext4 only/);
  const cwd = scratch();
  const none = await orrery(["crash", "guest", "--fs", "zfs"], { cwd });
  expect([none.code, none.stderr]).toEqual([2, expect.stringContaining("One of: ext4, xfs, btrfs, vfat, exfat")]);
  const odd = await orrery(["crash", "guest", "--fs", "vfat", "--size", "67108352"], { cwd });
  // Without dosfstools that is said first.
  expect([[2, 4].includes(odd.code!), linesOf(odd.stderr).length]).toEqual([true, 1]);
});

const SCRIPT = `mkdir /mnt/A
yes one | head -c 5000 > /mnt/A/f1
sync
yes two | head -c 9000 > /mnt/A/f2
sync /mnt/A/f2
mv /mnt/A/f1 /mnt/f1
true
`;

const MARKERS = ["start", "sync2", "fsyncf2"];

const xfs = ["mkfs.xfs", "xfs_repair"].every((program) => findTool(program) !== undefined);

describe.skipIf(!guest || !xfs)("orrery crash guest --fs xfs (needs a guest and xfsprogs)", () => {
  it.runIf(thorough)(
    "an honest disk is not flagged, one that ignores flushes is; a second run goes on where the first ended",
    async () => {
      const cwd = scratch();
      writeFileSync(join(cwd, "work.sh"), SCRIPT);
      const words = "crash guest --fs xfs --workload work.sh --to-the-end --states 12 --out run --format json".split(
        " ",
      );
      const { code, stdout, stderr } = await orrery(words, { cwd });
      expect([code, stderr]).toEqual([0, ""]);
      const found = JSON.parse(stdout) as { runs: Record<string, unknown>[] };
      expect(found).toMatchObject({ fs: "xfs", judged: 12, flagged: 0, runs: [{ judged: 12, refused: [] }] });
      expect(found.runs[0]!["controlFlagged"]).toBeGreaterThan(0);
      // All writes lost, asked for all promises.
      const recording = { base: join(cwd, "run/base.img.zst"), log: join(cwd, "run/run0.ignored-flushes.log") };
      const state = `${loadRecorded(recording.base, recording.log).hash.slice(0, 12)}-e0-p0e`;
      const shown = ["crash", "show", state, "--fs", "xfs", "--base", recording.base, "--log", recording.log];
      const { code: broken, stdout: told } = await orrery([...shown, "--format", "json"]);
      expect([broken, JSON.parse(told)]).toEqual([
        3,
        expect.objectContaining({ class: "lost", markersPassed: MARKERS }),
      ]);
      // As if it had been killed before its end. No guest boots again: there is none to be found.
      rmSync(join(cwd, "run", "manifest.json"));
      const again = await orrery(words, { cwd, env: { ORRERY_QEMU: "/no/qemu" } });
      expect([again.code, JSON.parse(again.stdout)]).toEqual([0, found]);
    },
  );
});

/** kill -9 of the parallel machine at random moments: its image recovers, whole, with all that was promised. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { powerCut } from "../../../harness/machine/power_cut.ts";

const CUTS = Number(process.env["ORRERY_POWER_CUTS"] ?? 3);
const SEED = Number(process.env["ORRERY_SEED"] ?? 1);
const dir = mkdtempSync(join(tmpdir(), "orrery-cut-"));
afterAll(() => rmSync(dir, { recursive: true }));

describe("a power cut", () => {
  it.each(Array.from({ length: CUTS }, (_, n) => [SEED + n, ["database", "fileserver", "mixed"][n % 3]!] as const))(
    "seed %i, %s",
    { timeout: 120_000 },
    async (seed, workload) => {
      const store = join(dir, `cut-${seed}.img`);
      const options = { workload, cpus: 2, disk: "new:32M", memory: "32M", store, withinMs: 2_500 };
      const { verdict, lines } = await powerCut(options, seed);
      expect(verdict.broken, `seed ${seed}, ${lines.length} lines`).toEqual([]);
      expect(verdict.damage).toBe(0);
      const fsck = spawnSync("e2fsck", ["-fn", `${store}.recovered`], { encoding: "utf8" });
      if (fsck.error === undefined) expect(fsck.status, fsck.stdout).toBe(0);
    },
  );
});

/** kill -9 of the parallel machine at random moments: its image recovers, whole, with all that was promised. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { openDisk } from "../../../harness/machine/disk_image.ts";
import type { SoakReport } from "../../../harness/machine/soak.ts";
import { powerCut } from "../../../harness/machine/power_cut.ts";
import { thorough } from "../../tier.ts";

const CUTS = Number(process.env["ORRERY_POWER_CUTS"] ?? (thorough ? 3 : 1));
const SEED = Number(process.env["ORRERY_SEED"] ?? 1);
const dir = mkdtempSync(join(tmpdir(), "orrery-cut-"));
afterAll(() => rmSync(dir, { recursive: true }));

describe("Ctrl-C", () => {
  it("unmounts: the image is clean without recovery, and holds what was promised", { timeout: 120_000 }, async () => {
    const store = join(dir, "interrupted.img");
    writeFileSync(store, openDisk("new:32M", SEED));
    const soak = fileURLToPath(new URL("../../../harness/machine/soak.ts", import.meta.url));
    const args = ["--workload", "mixed", "--memory", "32M", "--seconds", "600", "--store", store];
    const child = spawn(process.execPath, [soak, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let out = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => void (out += text));
    await new Promise<void>((resolve) => {
      child.stderr.setEncoding("utf8").on("data", (text: string) => void (text.includes(" s: ") && resolve()));
      child.on("close", () => resolve());
    });
    child.kill("SIGINT");
    const [status] = (await once(child, "close")) as [number | null];
    const report = JSON.parse(out.trim().split("\n").at(-1)!) as SoakReport;
    expect(report.problems).toEqual([]);
    expect(status).toBe(0);
    const fsck = spawnSync("e2fsck", ["-fn", store], { encoding: "utf8" });
    if (fsck.error === undefined) expect(fsck.status, fsck.stdout).toBe(0);
  });
});

describe("a power cut", () => {
  it("of a disk that drops what it says it has is found out (canary)", { timeout: 120_000 }, async () => {
    const options = { workload: "database", cpus: 2, disk: "new:32M", memory: "32M", withinMs: 2_500 };
    const storeModule = new URL("lying_store.ts", import.meta.url).href;
    let broken = 0;
    for (let seed = SEED; broken === 0 && seed < SEED + 5; seed++) {
      const { verdict } = await powerCut({ ...options, store: join(dir, "liar.img"), storeModule }, seed);
      broken = verdict.broken.length;
    }
    expect(broken).toBeGreaterThan(0);
  });

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

/** The table of the specification is true: it names tests that exist. */
import { readFileSync, readdirSync } from "node:fs";
import { expect, it } from "vitest";

it("docs/virtio_spec.md names only tests that exist, and every row names one or a reason", () => {
  const rows = readFileSync("docs/virtio_spec.md", "utf8")
    .split("\n")
    .filter((line) => /^\| [2-5]\./.test(line));
  expect(rows.length).toBeGreaterThan(100);
  const files: Readonly<Record<string, string>> = {
    ring: "test/drivers/ring.test.ts",
    devices: "test/drivers/devices/cases.ts",
    hostile: "test/drivers/hostile.test.ts",
    contract: "test/contract/block_device_cases.ts",
    driver_attacks: "harness/blk/driver_attacks.ts",
    device_attacks: "harness/blk/device_attacks.ts",
  };
  const sources = new Map(Object.entries(files).map(([name, file]) => [name, readFileSync(file, "utf8")]));
  const folder = "test/drivers/virtio_spec";
  sources.set(
    "spec",
    readdirSync(folder)
      .map((file) => readFileSync(`${folder}/${file}`, "utf8"))
      .join("\n"),
  );
  for (const row of rows) {
    const evidence = row.split("|").at(-2)!.trim();
    if (evidence.startsWith("n/a: ")) continue;
    const named = [...evidence.matchAll(/([a-z_]+): "([^"]+)"/g)];
    expect(named.length, row).toBeGreaterThan(0);
    for (const [, file, name] of named) expect(sources.get(file!)?.includes(name!), `${file!}: ${name!}`).toBe(true);
  }
});

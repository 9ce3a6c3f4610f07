/** Where a campaign of `orrery crash` leaves its report: one offline page beside its results. */
import { writeFileSync } from "node:fs";
import type { Facts } from "../crash/report.ts";
import type { Report } from "../report/report.ts";
import { packageRoot, packageVersion } from "./package.ts";

export const REPORT_NAME = "report.html";

export async function writeReport(path: string, more: Facts, make: (facts: Facts) => Report): Promise<void> {
  const { reportHtml } = await import("../report/html.ts");
  const { gitState } = await import("../run/revision.ts");
  const facts: Facts = [
    ["command", ["orrery", ...process.argv.slice(2)].join(" ")],
    ["orrery", packageVersion()],
    ["revision", gitState(packageRoot)?.revision.slice(0, 12) ?? "published package"],
    ["node", process.versions.node],
    ...more,
  ];
  writeFileSync(path, reportHtml(make(facts)));
}

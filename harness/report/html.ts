/**
 * One offline HTML file from a report's data. Nothing is fetched: style and script lie in the file, and its own policy
 * forbids any connection. Light and dark follow the reader's system and can be switched.
 *
 * - reportHtml(report)   the file's text
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { cellText } from "../cli/output.ts";
import { packageRoot } from "../cli/package.ts";
import { cdfHtml } from "./cdf.ts";
import { drawingHtml } from "./drawing.ts";
import { ganttHtml } from "./gantt.ts";
import { escaped } from "./markup.ts";
import type { Report, Section, TableSection } from "./report.ts";

const POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

export function reportHtml(report: Report): string {
  const facts = report.facts.map(([name, value]) => `<div><dt>${escaped(name)}</dt><dd>${escaped(value)}</dd></div>`);
  const links = report.sections.map(({ title }, at) => `<a href="#s${at}">${escaped(title)}</a>`);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="orrery">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<title>${escaped(report.title)}</title>
<style>
${asset("page.css")}</style>
</head>
<body>
<header>
<button type="button" id="theme">light or dark</button>
<h1>${escaped(report.title)}</h1>
<p>${escaped(report.lead)}</p>
<dl>${facts.join("")}</dl>
<nav aria-label="sections">${links.join(" ")}</nav>
</header>
<main>
${report.sections.map(sectionHtml).join("\n")}
</main>
<div id="tip" role="status" hidden></div>
<script>
${asset("page.js")}</script>
</body>
</html>
`;
}

const asset = (name: string): string => readFileSync(join(packageRoot, "harness/report/page", name), "utf8");

function sectionHtml(section: Section, at: number): string {
  const note = section.note === undefined ? "" : `<p class="note">${escaped(section.note)}</p>`;
  return `<section id="s${at}"><h2>${escaped(section.title)}</h2>${note}\n${bodyHtml(section, `b${at}`)}</section>`;
}

function bodyHtml(section: Section, id: string): string {
  if (section.kind === "table") return tableHtml(section);
  if (section.kind === "gantt") return ganttHtml(section, id);
  if (section.kind === "cdf") return cdfHtml(section, id);
  if (section.kind === "drawing") return drawingHtml(section);
  return `<pre>${escaped(section.text)}</pre>`;
}

function tableHtml({ rows, columns = {} }: TableSection): string {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const best = new Map(names.map((name) => [name, bestOf(rows, name, columns[name]?.better)]));
  const head = names.map((name) => {
    const { meaning, better } = columns[name] ?? {};
    const title = meaning === undefined ? "" : ` title="${escaped(meaning)}"`;
    const arrow =
      better === undefined ? "" : `<span aria-hidden="true"> ${better === "low" ? "&darr;" : "&uarr;"}</span>`;
    return `<th scope="col"${title}>${escaped(name)}${arrow}</th>`;
  });
  const body = rows.map((row) => {
    const cells = names.map((name, at) => {
      const cell = row[name];
      if (at === 0) return `<th scope="row">${escaped(cellText(cell))}</th>`;
      const classes = [typeof cell === "string" ? "word" : "", cell !== null && cell === best.get(name) ? "best" : ""];
      return `<td class="${classes.filter((one) => one !== "").join(" ")}">${escaped(cellText(cell))}</td>`;
    });
    return `<tr>${cells.join("")}</tr>`;
  });
  const key = Object.values(columns).some(({ better }) => better !== undefined)
    ? '<p class="keys">Arrows show which way is better; the best of a column is bold.</p>'
    : "";
  return `<div class="scroll"><table><thead><tr>${head.join("")}</tr></thead><tbody>${body.join("")}</tbody></table></div>${key}`;
}

function bestOf(rows: TableSection["rows"], name: string, better: "low" | "high" | undefined): number | undefined {
  const values = rows.map((row) => row[name]).filter((cell) => typeof cell === "number");
  if (better === undefined || values.length < 2) return undefined;
  return better === "low" ? Math.min(...values) : Math.max(...values);
}

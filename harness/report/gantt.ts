/**
 * Who ran where: the frame and the data; page.js draws it on canvases that zoom together. Without scripts, and for those
 * who do not see it, a table gives each task's CPU time in every lane.
 */
import { escaped, scriptJson } from "./markup.ts";
import type { GanttSection, Segment } from "./report.ts";

export function ganttHtml(section: GanttSection, id: string): string {
  const { fromNs, toNs, cpus, tasks, lanes } = section;
  const rows = [...tasks.keys()];
  const rowOf = new Map(rows.map((task, row) => [task, row]));
  const data = {
    lengthNs: toNs - fromNs,
    fromNs,
    cpus,
    names: rows.map((task) => tasks.get(task)!),
    lanes: lanes.map(({ name, segments }) => ({ name, flat: flatten(segments, section, rowOf) })),
  };
  const charts = lanes.map(
    ({ name }) =>
      `<figure><figcaption>${escaped(name)}</figcaption><canvas tabindex="0" role="img" aria-label="${escaped(`${name}: which task ran on which CPU; the table below has the times`)}"></canvas></figure>`,
  );
  return [
    `<div class="gantt" id="${id}">`,
    '<p class="keys">Wheel or + and - zoom, drag or arrow keys move, 0 or a double click shows all. Point at a task to see it alone.</p>',
    '<ul class="legend tasks"></ul>',
    ...charts,
    `<script type="application/json">${scriptJson(data)}</script>`,
    `<details><summary>CPU time by task, ms</summary>${timeTable(section)}</details></div>`,
  ].join("\n");
}

/** [cpu, row of the task, start, end] after one another, nanoseconds from the left border. */
function flatten(
  segments: readonly Segment[],
  { fromNs, toNs }: GanttSection,
  rowOf: ReadonlyMap<number, number>,
): number[] {
  const flat: number[] = [];
  for (const { cpu, task, startNs, endNs } of segments) {
    const row = rowOf.get(task);
    if (row === undefined || endNs <= fromNs || startNs >= toNs) continue;
    flat.push(cpu, row, Math.round(Math.max(startNs, fromNs) - fromNs), Math.round(Math.min(endNs, toNs) - fromNs));
  }
  return flat;
}

function timeTable({ fromNs, toNs, tasks, lanes }: GanttSection): string {
  const times = lanes.map(({ segments }) => {
    const ran = new Map<number, number>();
    for (const { task, startNs, endNs } of segments) {
      const ns = Math.min(endNs, toNs) - Math.max(startNs, fromNs);
      if (ns > 0) ran.set(task, (ran.get(task) ?? 0) + ns);
    }
    return ran;
  });
  const head = ["task", ...lanes.map(({ name }) => name)]
    .map((text) => `<th scope="col">${escaped(text)}</th>`)
    .join("");
  const rows = [...tasks].map(([task, name]) => {
    const cells = times.map((ran) => `<td>${((ran.get(task) ?? 0) / 1e6).toFixed(3)}</td>`);
    return `<tr><th scope="row">${escaped(name)}</th>${cells.join("")}</tr>`;
  });
  return `<div class="scroll"><table><thead><tr>${head}</tr></thead><tbody>${rows.join("")}</tbody></table></div>`;
}

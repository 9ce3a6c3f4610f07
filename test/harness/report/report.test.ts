import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cdfHtml } from "../../../harness/report/cdf.ts";
import { reportHtml } from "../../../harness/report/html.ts";
import { escaped } from "../../../harness/report/markup.ts";
import type { CdfSection, GanttSection, Report } from "../../../harness/report/report.ts";

const SEED = 20261121;
const HOSTILE = `</script><script>alert("x")</script>&'`;

const gantt: GanttSection = {
  kind: "gantt",
  title: "Who ran where",
  fromNs: 100,
  toNs: 1_000_100,
  cpus: 2,
  tasks: new Map([
    [7, "spin"],
    [9, HOSTILE],
  ]),
  lanes: [
    {
      name: "cfs",
      segments: [
        { cpu: 0, task: 7, startNs: 0, endNs: 500_100 },
        { cpu: 1, task: 9, startNs: 600_100, endNs: 9_000_000 },
        { cpu: 1, task: 9, startNs: 9_000_000, endNs: 9_000_001 },
        { cpu: 1, task: 8, startNs: 200, endNs: 300 },
      ],
    },
  ],
};

const report: Report = {
  title: HOSTILE,
  lead: HOSTILE,
  facts: [[HOSTILE, HOSTILE]],
  sections: [
    {
      kind: "table",
      title: "Figures",
      rows: [
        { policy: "fifo", p99Ms: 3.5, jain: 0.9, word: HOSTILE },
        { policy: "cfs", p99Ms: 1.25, jain: 0.99, word: null },
      ],
      columns: { p99Ms: { better: "low", meaning: HOSTILE }, jain: { better: "high" } },
    },
    gantt,
    {
      kind: "drawing",
      title: "Map",
      width: 20,
      height: 10,
      alt: HOSTILE,
      shapes: [
        { shape: "rect", x: 0, y: 0, width: 1 / 3, height: 10, color: -1, label: HOSTILE },
        { shape: "line", x1: 0, y1: 0, x2: 20, y2: 10, color: 9 },
        { shape: "text", x: 1, y: 2, text: HOSTILE },
      ],
    },
    { kind: "text", title: "Trace", text: HOSTILE },
  ],
};

const jsonIn = (html: string): unknown =>
  JSON.parse(/<script type="application\/json">(.*?)<\/script>/s.exec(html)![1]!);

describe("reportHtml()", () => {
  const html = reportHtml(report);

  it("fetches nothing and says so to the browser", () => {
    expect(html).toContain(`content="default-src 'none'`);
    expect(html).not.toMatch(/\b(src|href)="(?!#)|@import|url\(|https?:/);
  });

  it("lets no text of a report become markup", () => {
    expect(html).not.toContain("<script>alert");
    expect(html.split(escaped(HOSTILE)).length).toBeGreaterThan(8);
  });

  it("marks the best cell of a column, by its direction", () => {
    expect(html).toContain('<td class="best">1.25</td>');
    expect(html).toContain('<td class="best">0.99</td>');
    expect(html.match(/class="best"/g)).toHaveLength(2);
  });

  it("cuts segments to the window and leaves out tasks it was not told of", () => {
    const data = jsonIn(html) as { names: string[]; lanes: { name: string; flat: number[] }[] };
    expect(data.names).toEqual(["spin", HOSTILE]);
    expect(data.lanes).toEqual([{ name: "cfs", flat: [0, 0, 0, 500_000, 1, 1, 600_000, 1_000_000] }]);
  });

  it("has the same times as a table, for those who do not see the chart", () => {
    expect(html).toContain('<th scope="row">spin</th><td>0.500</td>');
    expect(html).toContain(`<th scope="row">${escaped(HOSTILE)}</th><td>0.400</td>`);
  });
});

const section = (samples: number[]): CdfSection => ({
  kind: "cdf",
  title: "Waking to running",
  unit: "ms",
  quantity: "latency",
  series: [{ name: "cfs", values: Float64Array.from(samples) }],
});

describe("cdfHtml()", () => {
  it("every point of the curve is the share of samples at or below it", () => {
    const sample = fc.double({ min: 0.001, max: 1000, noNaN: true });
    fc.assert(
      fc.property(fc.array(sample, { minLength: 1, maxLength: 600 }), (samples) => {
        const { curves, low, high } = jsonIn(cdfHtml(section(samples), "b0")) as {
          curves: [number, number][][];
          low: number;
          high: number;
        };
        const points = curves[0]!;
        expect(points.length).toBeGreaterThan(0);
        expect(points.at(-1)![1]).toBe(1);
        for (const [x, share] of points) {
          const near = x * (1 + 1e-5);
          const at = samples.filter((value) => value <= near).length / samples.length;
          const below = samples.filter((value) => value < x * (1 - 1e-5)).length / samples.length;
          expect(share).toBeGreaterThanOrEqual(below - 1e-5);
          expect(share).toBeLessThanOrEqual(at + 1e-5);
          expect(x >= low * 0.999 && x <= high * 1.001).toBe(true);
        }
      }),
      { seed: SEED, numRuns: 60 },
    );
  });

  it("a histogram draws the same curve as its samples", () => {
    const counts = Float64Array.of(3, 0, 5, 2);
    const values = Float64Array.of(4, 3, 0.5, 2);
    const histogram = cdfHtml({ ...section([]), series: [{ name: "cfs", values, counts }] }, "b0");
    expect(histogram).toBe(cdfHtml(section([0.5, 0.5, 0.5, 0.5, 0.5, 2, 2, 4, 4, 4]), "b0"));
  });

  it("draws nothing, zeros and one sample without NaN", () => {
    for (const samples of [[], [0], [0, 0, 5], [1], [1e-9, 1e9]]) {
      const html = cdfHtml(section(samples), "b0");
      expect(html).not.toMatch(/NaN|Infinity|null/);
    }
  });
});

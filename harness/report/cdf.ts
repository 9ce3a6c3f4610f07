/**
 * The distribution chart: SVG drawn here, so that it is there without scripts; page.js adds the reading under the
 * pointer from the same points. A series is told apart by colour and by dashes.
 *
 *   1.0 |        ___----        y: share of samples at or below x
 *       |   __--                x: logarithmic, whole decades
 *   0.0 |_-______________
 */
import { escaped, scriptJson, short } from "./markup.ts";
import type { CdfSection, CdfSeries } from "./report.ts";

const WIDTH = 1000;
const HEIGHT = 420;
const LEFT = 56;
const RIGHT = 16;
const TOP = 12;
const BOTTOM = 48;
/** Points a series keeps: quantiles evenly spaced, and closer towards the tail. */
const POINTS = 240;
/** Smaller samples are drawn at the left border: the logarithm of 0 is nowhere. */
const DECADES_MAX = 8;
const DASHES = ["", "9 4", "3 3", "12 4 3 4", "6 2 2 2", "2 6", "16 4", "1 3"];

interface Scale {
  readonly low: number;
  readonly high: number;
}

export function cdfHtml(section: CdfSection, id: string): string {
  const sorted = section.series.map(sortSeries);
  const scale = decades(sorted.map(({ values }) => values));
  const curves = sorted.map((series) => curveOf(series, scale));
  const names = section.series.map(({ name }) => name);
  const paths = curves.map(
    (points, at) =>
      `<path class="curve c${at % 8}" stroke-dasharray="${DASHES[at % 8]!}" d="${pathOf(points, scale)}"><title>${escaped(names[at]!)}</title></path>`,
  );
  const legend = names.map((name, at) => {
    const line = `<svg width="34" height="10" aria-hidden="true"><path class="curve c${at % 8}" stroke-dasharray="${DASHES[at % 8]!}" d="M1 5H33"/></svg>`;
    return `<li>${line} ${escaped(name)} <small>n = ${sorted[at]!.count.toLocaleString("en")}</small></li>`;
  });
  const data = {
    low: scale.low,
    high: scale.high,
    unit: section.unit,
    names,
    curves,
    box: [LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM],
  };
  const label = `${section.title}: ${names.join(", ")}; share of samples against ${section.quantity} in ${section.unit}`;
  return [
    `<ul class="legend">${legend.join("")}</ul>`,
    `<div class="cdf" id="${id}"><svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escaped(label)}">`,
    gridOf(scale, section),
    ...paths,
    `<line class="cursor" y1="${TOP}" y2="${HEIGHT - BOTTOM}" hidden></line></svg>`,
    `<script type="application/json">${scriptJson(data)}</script></div>`,
  ].join("\n");
}

/** Whole powers of ten around all samples. */
function decades(sorted: readonly Float64Array[]): Scale {
  let [low, high] = [Number.POSITIVE_INFINITY, 0];
  for (const samples of sorted) {
    high = Math.max(high, samples.at(-1) ?? 0);
    low = Math.min(low, samples.find((value) => value > 0) ?? low);
  }
  if (high <= 0) return { low: 0.1, high: 1 };
  const top = Math.ceil(Math.log10(high));
  const bottom = Math.max(Math.floor(Math.log10(low)), top - DECADES_MAX);
  return { low: 10 ** Math.min(bottom, top - 1), high: 10 ** top };
}

interface Sorted {
  readonly values: Float64Array;
  /** Samples at or below the value of the same index. */
  readonly upTo: Float64Array;
  readonly count: number;
}

/** Equal values become one. */
function sortSeries({ values, counts }: CdfSeries): Sorted {
  const order = [...values.keys()].filter((at) => counts?.[at] !== 0).sort((a, b) => values[a]! - values[b]!);
  const distinct: number[] = [];
  const upTo: number[] = [];
  let count = 0;
  for (const at of order) {
    count += counts?.[at] ?? 1;
    if (distinct.at(-1) !== values[at]) distinct.push(values[at]!);
    upTo[distinct.length - 1] = count;
  }
  return { values: Float64Array.from(distinct), upTo: Float64Array.from(upTo), count };
}

/** [x, share] along the curve, in the samples' unit. */
function curveOf({ values, upTo, count }: Sorted, scale: Scale): [x: number, share: number][] {
  const points: [number, number][] = [];
  let next = 0;
  for (let at = 0; at < values.length; at++) {
    const share = upTo[at]! / count;
    // Even steps in the square root of what is left: closer towards the tail.
    if (share < 1 - (1 - next / POINTS) ** 2) continue;
    next = Math.floor((1 - Math.sqrt(1 - share)) * POINTS) + 1;
    points.push([Number(Math.max(values[at]!, scale.low).toPrecision(6)), Number(share.toPrecision(6))]);
  }
  return points;
}

const xOf = (value: number, { low, high }: Scale): number =>
  LEFT + (Math.log10(value / low) / Math.log10(high / low)) * (WIDTH - LEFT - RIGHT);
const yOf = (share: number): number => TOP + (1 - share) * (HEIGHT - TOP - BOTTOM);

/** Steps: the share rises at the sample and stays until the next. */
function pathOf(points: readonly (readonly [number, number])[], scale: Scale): string {
  if (points.length === 0) return "";
  const steps = points.map(([x, share]) => `H${short(xOf(x, scale))}V${short(yOf(share))}`);
  return `M${short(xOf(scale.low, scale))} ${short(yOf(0))}${steps.join("")}H${WIDTH - RIGHT}`;
}

function gridOf(scale: Scale, { quantity, unit }: CdfSection): string {
  const parts: string[] = [];
  for (const share of [0, 0.25, 0.5, 0.75, 0.9, 0.99, 1]) {
    const y = short(yOf(share));
    parts.push(`<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y}" y2="${y}"/>`);
    if (share !== 0.99)
      parts.push(`<text class="tick end" x="${LEFT - 8}" y="${short(yOf(share) + 4)}">${share * 100} %</text>`);
  }
  const count = Math.round(Math.log10(scale.high / scale.low));
  for (let decade = 0; decade <= count; decade++) {
    const value = scale.low * 10 ** decade;
    const x = short(xOf(value, scale));
    parts.push(`<line class="grid" x1="${x}" x2="${x}" y1="${TOP}" y2="${HEIGHT - BOTTOM}"/>`);
    parts.push(`<text class="tick mid" x="${x}" y="${HEIGHT - BOTTOM + 18}">${Number(value.toPrecision(3))}</text>`);
  }
  parts.push(
    `<text class="tick mid" x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 8}">${escaped(`${quantity}, ${unit}`)}</text>`,
  );
  return parts.join("");
}

/** Free drawings: plain shapes to SVG, colours by the page's palette so that they follow light and dark. */
import { escaped, short } from "./markup.ts";
import type { DrawingSection, Shape } from "./report.ts";

export function drawingHtml({ width, height, alt, shapes }: DrawingSection): string {
  const box = `viewBox="0 0 ${short(width)} ${short(height)}"`;
  return `<svg class="drawing" ${box} role="img" aria-label="${escaped(alt)}">${shapes.map(shapeSvg).join("")}</svg>`;
}

function shapeSvg(one: Shape): string {
  if (one.shape === "rect") {
    const title = one.label === undefined ? "" : `<title>${escaped(one.label)}</title>`;
    const size = `width="${short(one.width)}" height="${short(one.height)}"`;
    return `<rect class="${colorClass("f", one.color)}" x="${short(one.x)}" y="${short(one.y)}" ${size}>${title}</rect>`;
  }
  if (one.shape === "line") {
    const ends = `x1="${short(one.x1)}" y1="${short(one.y1)}" x2="${short(one.x2)}" y2="${short(one.y2)}"`;
    return `<line class="${colorClass("c", one.color)}" ${ends}/>`;
  }
  const at = `x="${short(one.x)}" y="${short(one.y)}" font-size="${short(one.size ?? 12)}"`;
  return `<text class="ink" ${at}>${escaped(one.text)}</text>`;
}

/** Palette of eight; anything below is emptiness. */
const colorClass = (use: "c" | "f", color: number): string => (color < 0 ? `${use}none` : `${use}${color % 8}`);

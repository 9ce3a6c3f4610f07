/**
 * The moving parts of a report, in the reader's browser: the switch of light and dark, the charts of who ran where
 * (canvas, zoomed together), the reading under the pointer on distributions. Plain JavaScript, nothing is fetched.
 */
"use strict";

/** @typedef {{ name: string, flat: number[] }} Lane */
/** @typedef {{ lengthNs: number, fromNs: number, cpus: number, names: string[], lanes: Lane[] }} Gantt */
/** @typedef {{ low: number, high: number, unit: string, names: string[], curves: [number, number][][], box: number[] }} Cdf */

const tip = /** @type {HTMLElement} */ (document.getElementById("tip"));
/** Work to do again when colours change. @type {(() => void)[]} */
const repaint = [];

/** @param {PointerEvent} event @param {string} text */
function showTip(event, text) {
  tip.textContent = text;
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = Math.min(event.clientX + 14, innerWidth - width - 8);
  const below = event.clientY + 18 + height < innerHeight;
  tip.style.left = `${Math.max(left, 8)}px`;
  tip.style.top = `${below ? event.clientY + 18 : event.clientY - height - 10}px`;
}

function hideTip() {
  tip.hidden = true;
}

/** @param {Element} element @returns {any} */
function dataOf(element) {
  return JSON.parse(/** @type {Element} */ (element.querySelector("script")).textContent || "");
}

/** @param {number} ns */
function timeText(ns) {
  if (ns >= 1e6) return `${(ns / 1e6).toFixed(3)} ms`;
  return ns >= 1e3 ? `${(ns / 1e3).toFixed(ns >= 1e5 ? 0 : 2)} us` : `${ns} ns`;
}

/** Hues by the golden angle, so that neighbours in the list differ; of even lightness. @param {number} row @param {boolean} dark */
function taskColor(row, dark) {
  const hue = ((250 + row * 137.508) % 360).toFixed(1);
  const shade = (row % 3) * 0.05;
  return `oklch(${(dark ? 0.7 : 0.53) + shade} ${row % 2 === 0 ? 0.14 : 0.1} ${hue})`;
}

/** Light text means dark paper, whoever chose it. */
function isDark() {
  return Number(/\d+/.exec(getComputedStyle(document.body).color)) > 128;
}

const LANE_ROW = 26;
const AXIS = 22;
const GUTTER = 48;
const ZOOM_MAX_NS = 2000;

/** Where on the time axis the pointer is, 0..1. @param {HTMLCanvasElement} canvas @param {MouseEvent} event */
function shareAt(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return Math.min(Math.max((event.clientX - box.left - GUTTER) / (box.width - GUTTER), 0), 1);
}

/** @param {HTMLElement} root */
function gantt(root) {
  const data = /** @type {Gantt} */ (dataOf(root));
  const view = { from: 0, to: data.lengthNs };
  /** Row of the task that is shown alone, or -1. */
  let alone = -1;
  const canvases = Array.from(root.querySelectorAll("canvas"));

  let queued = false;
  function draw() {
    if (queued) return;
    queued = true;
    requestAnimationFrame(() => {
      queued = false;
      canvases.forEach((canvas, at) => paint(canvas, data.lanes[at]));
    });
  }

  /** @param {HTMLCanvasElement} canvas @param {Lane} lane */
  function paint(canvas, lane) {
    const ratio = devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = data.cpus * LANE_ROW + AXIS;
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const style = getComputedStyle(document.documentElement);
    const dark = isDark();
    context.scale(ratio, ratio);
    context.font = "12px system-ui, sans-serif";
    const scale = (width - GUTTER) / (view.to - view.from);
    const xOf = (/** @type {number} */ ns) => GUTTER + (ns - view.from) * scale;
    const soft = resolved(style, "--soft");
    for (let cpu = 0; cpu < data.cpus; cpu++) {
      context.fillStyle = soft;
      context.fillText(`CPU ${cpu}`, 0, cpu * LANE_ROW + 17);
      context.fillStyle = resolved(style, "--idle");
      context.fillRect(GUTTER, cpu * LANE_ROW + 2, width - GUTTER, LANE_ROW - 4);
    }
    context.save();
    context.beginPath();
    context.rect(GUTTER, 0, width - GUTTER, height);
    context.clip();
    const { flat } = lane;
    for (let at = 0; at < flat.length; at += 4) {
      const [cpu, row, start, end] = flat.slice(at, at + 4);
      if (end < view.from || start > view.to) continue;
      const left = xOf(start);
      const wide = Math.max(xOf(end) - left, 0.6);
      context.globalAlpha = alone < 0 || alone === row ? 1 : 0.13;
      context.fillStyle = taskColor(row, dark);
      context.fillRect(left, cpu * LANE_ROW + 2, wide > 3 ? wide - 0.6 : wide, LANE_ROW - 4);
      const name = data.names[row];
      if (wide > 30 && wide > context.measureText(name).width + 8) {
        context.fillStyle = dark ? "#101215" : "#ffffff";
        context.fillText(name, Math.max(left, GUTTER) + 4, cpu * LANE_ROW + 17);
      }
    }
    context.globalAlpha = 1;
    context.restore();
    axis(context, width, data.cpus * LANE_ROW, xOf, soft);
  }

  /** @param {CanvasRenderingContext2D} context @param {number} width @param {number} top @param {(ns: number) => number} xOf @param {string} color */
  function axis(context, width, top, xOf, color) {
    const rough = (view.to - view.from) / Math.max(1, (width - GUTTER) / 110) || 1;
    const decade = 10 ** Math.floor(Math.log10(rough));
    const step = decade * (rough / decade > 5 ? 10 : rough / decade > 2 ? 5 : rough / decade > 1 ? 2 : 1);
    context.fillStyle = color;
    const first = Math.ceil((data.fromNs + view.from) / step) * step - data.fromNs;
    for (let ns = first; ns <= view.to; ns += step) {
      const x = xOf(ns);
      context.fillRect(x, top, 1, 5);
      const text = `${Number(((data.fromNs + ns) / 1e6).toFixed(6))} ms`;
      if (x + context.measureText(text).width < width) context.fillText(text, x + 3, top + 15);
    }
  }

  /** @param {number} from @param {number} to */
  function show(from, to) {
    const length = Math.min(Math.max(to - from, Math.min(ZOOM_MAX_NS, data.lengthNs)), data.lengthNs);
    view.from = Math.min(Math.max(from, 0), data.lengthNs - length);
    view.to = view.from + length;
    draw();
  }

  /** @param {number} factor @param {number} share where in the view stays put */
  function zoom(factor, share) {
    const length = (view.to - view.from) * factor;
    const fixed = view.from + (view.to - view.from) * share;
    show(fixed - length * share, fixed + length * (1 - share));
  }

  /** @param {HTMLCanvasElement} canvas @param {Lane} lane @param {PointerEvent} event */
  function point(canvas, lane, event) {
    const ns = view.from + (view.to - view.from) * shareAt(canvas, event);
    const cpu = Math.floor((event.clientY - canvas.getBoundingClientRect().top) / LANE_ROW);
    const slack = ((view.to - view.from) / (canvas.clientWidth - GUTTER)) * 1.5;
    let best = -1;
    let bestOff = slack;
    for (let at = 0; at < lane.flat.length; at += 4) {
      if (lane.flat[at] !== cpu) continue;
      const off = Math.max(lane.flat[at + 2] - ns, ns - lane.flat[at + 3], 0);
      if (off < bestOff || (off === 0 && best < 0)) [best, bestOff] = [at, off];
    }
    const row = best < 0 ? -1 : lane.flat[best + 1];
    highlight(row);
    if (cpu >= data.cpus || event.clientX - canvas.getBoundingClientRect().left < GUTTER) return hideTip();
    if (best < 0) return showTip(event, `CPU ${cpu}: idle at ${timeText(data.fromNs + ns)}`);
    const [start, end] = [lane.flat[best + 2], lane.flat[best + 3]];
    showTip(
      event,
      `${data.names[row]} on CPU ${cpu}\n${timeText(data.fromNs + start)} to ${timeText(data.fromNs + end)}\nran ${timeText(end - start)}`,
    );
  }

  /** @param {number} row */
  function highlight(row) {
    if (row === alone) return;
    alone = row;
    draw();
  }

  canvases.forEach((canvas, at) => {
    const lane = data.lanes[at];
    /** @type {{ x: number, from: number } | undefined} */
    let grab;
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        zoom(Math.exp(Math.max(-200, Math.min(200, event.deltaY)) * 0.0025), shareAt(canvas, event));
      },
      { passive: false },
    );
    canvas.addEventListener("pointerdown", (event) => {
      grab = { x: event.clientX, from: view.from };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointerup", () => (grab = undefined));
    canvas.addEventListener("pointermove", (event) => {
      if (grab === undefined) return point(canvas, lane, event);
      hideTip();
      const length = view.to - view.from;
      const from = grab.from - ((event.clientX - grab.x) / (canvas.clientWidth - GUTTER)) * length;
      show(from, from + length);
    });
    canvas.addEventListener("pointerleave", () => {
      hideTip();
      highlight(-1);
    });
    canvas.addEventListener("dblclick", () => show(0, data.lengthNs));
    canvas.addEventListener("keydown", (event) => {
      const step = (view.to - view.from) / 8;
      if (event.key === "+" || event.key === "=") zoom(0.7, 0.5);
      else if (event.key === "-") zoom(1 / 0.7, 0.5);
      else if (event.key === "ArrowLeft") show(view.from - step, view.to - step);
      else if (event.key === "ArrowRight") show(view.from + step, view.to + step);
      else if (event.key === "0") show(0, data.lengthNs);
      else return;
      event.preventDefault();
    });
  });

  const legend = /** @type {HTMLElement} */ (root.querySelector(".tasks"));
  function paintLegend() {
    const chips = data.names.map((name, row) => {
      const item = document.createElement("li");
      const chip = document.createElement("i");
      chip.style.background = taskColor(row, isDark());
      item.append(chip, name);
      item.addEventListener("pointerenter", () => highlight(row));
      item.addEventListener("pointerleave", () => highlight(-1));
      return item;
    });
    legend.replaceChildren(...chips);
  }
  paintLegend();
  draw();
  addEventListener("resize", draw);
  repaint.push(paintLegend, draw);
}

/** A custom property as a colour that canvas understands. @param {CSSStyleDeclaration} style @param {string} name */
function resolved(style, name) {
  const probe = document.createElement("span");
  probe.style.color = style.getPropertyValue(name);
  document.body.append(probe);
  const color = getComputedStyle(probe).color;
  probe.remove();
  return color;
}

/** @param {HTMLElement} root */
function cdf(root) {
  const data = /** @type {Cdf} */ (dataOf(root));
  const svg = /** @type {SVGSVGElement} */ (root.querySelector("svg"));
  const cursor = /** @type {SVGLineElement} */ (root.querySelector(".cursor"));
  const [left, , right] = data.box;
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    if (x < left || x > right) return leave();
    const value = data.low * (data.high / data.low) ** ((x - left) / (right - left));
    cursor.setAttribute("x1", String(x));
    cursor.setAttribute("x2", String(x));
    cursor.removeAttribute("hidden");
    const lines = data.names.map((name, at) => {
      const below = data.curves[at].filter((point) => point[0] <= value);
      const share = below.length === 0 ? 0 : below[below.length - 1][1];
      return `${name}: ${(share * 100).toFixed(share > 0.99 ? 2 : 1)} %`;
    });
    showTip(event, [`at most ${Number(value.toPrecision(3))} ${data.unit}`, ...lines].join("\n"));
  });
  svg.addEventListener("pointerleave", leave);
  function leave() {
    cursor.setAttribute("hidden", "");
    hideTip();
  }
}

const theme = /** @type {HTMLElement} */ (document.getElementById("theme"));
theme.addEventListener("click", () => {
  document.documentElement.style.colorScheme = isDark() ? "light" : "dark";
  for (const work of repaint) work();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => repaint.forEach((work) => work()));
document.querySelectorAll(".gantt").forEach((root) => gantt(/** @type {HTMLElement} */ (root)));
document.querySelectorAll(".cdf").forEach((root) => cdf(/** @type {HTMLElement} */ (root)));

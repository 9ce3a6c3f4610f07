/**
 * A report is plain data: a title, facts, and sections, each of one kind. html.ts makes one offline file of it. Wings
 * build sections; nobody but html.ts and its helpers writes HTML, and every text is escaped there.
 */
import type { Cell } from "../cli/output.ts";

export interface Report {
  readonly title: string;
  /** One sentence: what was run. */
  readonly lead: string;
  /** Name and value, as a reader checks a run: seed, revision, Node, command. */
  readonly facts: readonly (readonly [name: string, value: string])[];
  readonly sections: readonly Section[];
}

export type Section = TableSection | GanttSection | CdfSection | DrawingSection | TextSection;

interface Titled {
  readonly title: string;
  /** What to look at, or what the figures mean: plain text. */
  readonly note?: string;
}

export interface TableSection extends Titled {
  readonly kind: "table";
  readonly rows: readonly Readonly<Record<string, Cell>>[];
  /** Column -> its meaning (shown on hover) and which end is better (the best cell is marked). */
  readonly columns?: Readonly<Record<string, { readonly meaning?: string; readonly better?: "low" | "high" }>>;
}

export interface Segment {
  readonly cpu: number;
  /** Row 0, the idle task, is left out by the one who builds the segments. */
  readonly task: number;
  readonly startNs: number;
  readonly endNs: number;
}

/** Who ran where: one chart a lane (a policy), all with the same time axis. */
export interface GanttSection extends Titled {
  readonly kind: "gantt";
  readonly fromNs: number;
  readonly toNs: number;
  readonly cpus: number;
  /** Task -> name; the colour is the task's, the same in every lane. */
  readonly tasks: ReadonlyMap<number, string>;
  readonly lanes: readonly { readonly name: string; readonly segments: readonly Segment[] }[];
}

/** Distribution of a positive quantity: share of samples at or below x, x on a logarithmic axis. */
export interface CdfSection extends Titled {
  readonly kind: "cdf";
  /** Of the samples: `ms`. */
  readonly unit: string;
  readonly quantity: string;
  readonly series: readonly CdfSeries[];
}

export interface CdfSeries {
  readonly name: string;
  readonly values: Float64Array;
  /** How often each value came, as a histogram knows it; without it, once each. */
  readonly counts?: Float64Array;
}

/** Anything else that is drawn: shapes in a box of `width` x `height` units, coloured by palette index. */
export interface DrawingSection extends Titled {
  readonly kind: "drawing";
  readonly width: number;
  readonly height: number;
  /** In words, for those who do not see it. */
  readonly alt: string;
  readonly shapes: readonly Shape[];
}

export type Shape =
  | {
      readonly shape: "rect";
      readonly x: number;
      readonly y: number;
      readonly width: number;
      readonly height: number;
      /** 0..7, or -1 for the colour of emptiness. */
      readonly color: number;
      /** Shown on hover. */
      readonly label?: string;
    }
  | {
      readonly shape: "line";
      readonly x1: number;
      readonly y1: number;
      readonly x2: number;
      readonly y2: number;
      readonly color: number;
    }
  | { readonly shape: "text"; readonly x: number; readonly y: number; readonly text: string; readonly size?: number };

/** Text as a terminal shows it: a printed trace, a command. */
export interface TextSection extends Titled {
  readonly kind: "text";
  readonly text: string;
}

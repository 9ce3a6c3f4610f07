/**
 * Results on stdout. One call prints one result in the format that was asked for; nothing else writes to stdout, and
 * nothing here writes to stderr.
 *
 * - emit(format, result)   json: exactly one document, with its `schema`; jsonl: one row a line; csv: RFC 4180, with a
 *                          head line; md: a table for GitHub; table: aligned text for a terminal
 * - honestJson(document)   the JSON text; panics on NaN, infinity or a bigint: a figure that could not be had is null
 */
import { assert } from "../../kernel/lib/assert.ts";
import { UserError } from "./exit.ts";

export type Format = "table" | "json" | "jsonl" | "csv" | "md" | "parquet";
export type Cell = string | number | boolean | null;
export type Row = Readonly<Record<string, Cell>>;

export interface Result {
  /** What `--format json` prints; `schema` is raised when a field changes its meaning or goes. */
  readonly document: { readonly schema: number } & Readonly<Record<string, unknown>>;
  /** The same as flat rows; a row without a column leaves it empty. */
  readonly rows: readonly Row[];
  /** Line above the table, for `table` and `md`. */
  readonly title?: string;
  /** Lines below the table, for `table` and `md`. */
  readonly notes?: readonly string[];
}

export function emit(
  format: Format,
  result: Result,
  write = (text: string): void => void process.stdout.write(text),
): void {
  switch (format) {
    case "json":
      return write(`${honestJson(result.document, 2)}\n`);
    case "jsonl":
      return write(result.rows.map((row) => `${honestJson(row)}\n`).join(""));
    case "csv":
      return write(csv(result.rows));
    case "md":
      return write(framed(result, markdown(result.rows)));
    case "table":
      return write(framed(result, textTable(result.rows)));
    case "parquet":
      throw new UserError("--format parquet is not written yet: use csv or jsonl, which every Parquet tool reads");
  }
}

export function honestJson(value: unknown, indent?: number): string {
  return JSON.stringify(
    value,
    (_key, part: unknown) => {
      assert(typeof part !== "number" || Number.isFinite(part), "honestJson: NaN or infinity in a result");
      assert(typeof part !== "bigint", "honestJson: a bigint in a result");
      return part;
    },
    indent,
  );
}

function framed(result: Result, table: string): string {
  const above = result.title === undefined ? "" : `${result.title}\n\n`;
  const below = (result.notes ?? []).map((note) => `${note}\n`).join("");
  return `${above}${table}${below === "" ? "" : `\n${below}`}`;
}

/** Columns in the order in which rows first name them. */
function columnsOf(rows: readonly Row[]): string[] {
  const seen = new Set<string>();
  for (const row of rows) for (const name of Object.keys(row)) seen.add(name);
  return [...seen];
}

/** Four significant digits read well; whole numbers stay whole. */
export function cellText(cell: Cell | undefined): string {
  if (cell === undefined || cell === null) return "-";
  if (typeof cell !== "number" || Number.isInteger(cell)) return String(cell);
  const magnitude = Math.abs(cell);
  return magnitude >= 1e-4 && magnitude < 1e7 ? String(Number(cell.toPrecision(4))) : cell.toExponential(3);
}

export function textTable(rows: readonly Row[]): string {
  if (rows.length === 0) return "nothing\n";
  const columns = columnsOf(rows);
  const cells = rows.map((row) => columns.map((name) => cellText(row[name])));
  const widths = columns.map((name, at) => Math.max(name.length, ...cells.map((line) => line[at]!.length)));
  const numeric = columns.map((name) => rows.every((row) => typeof (row[name] ?? 0) === "number"));
  const lineOf = (line: readonly string[]): string =>
    line
      .map((text, at) => (numeric[at]! ? text.padStart(widths[at]!) : text.padEnd(widths[at]!)))
      .join("  ")
      .trimEnd();
  return [columns, widths.map((width) => "-".repeat(width)), ...cells].map((line) => `${lineOf(line)}\n`).join("");
}

function markdown(rows: readonly Row[]): string {
  const columns = columnsOf(rows);
  const body = rows.map((row) => markdownLine(columns.map((name) => cellText(row[name]))));
  return `${markdownLine(columns)}|${"---|".repeat(columns.length)}\n${body.join("")}`;
}

const markdownLine = (cells: readonly string[]): string =>
  `| ${cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |\n`;

function csv(rows: readonly Row[]): string {
  const columns = columnsOf(rows);
  const lines = [columns, ...rows.map((row) => columns.map((name) => row[name]))];
  return lines.map((line) => `${line.map(csvField).join(",")}\r\n`).join("");
}

function csvField(cell: Cell | undefined): string {
  assert(typeof cell !== "number" || Number.isFinite(cell), "csv: NaN or infinity in a result");
  const text = cell === undefined || cell === null ? "" : String(cell);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

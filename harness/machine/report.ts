/**
 * What happened in a booted machine: what `orrery boot` prints and experiments compare.
 *
 * - reportOf(open)       Report; all times are virtual in lockstep
 * - reportRows(figures)  the same as a table, one figure a row
 */
import { callRows, figuresOf } from "../../kernel/index.ts";
import type { Figures } from "../../kernel/index.ts";
import type { Row } from "../cli/output.ts";
import type { OpenMachine } from "./machine.ts";

export interface Report extends Figures {
  readonly events: number;
  readonly eventLogHash: string | null;
}

export function reportOf({ booted }: OpenMachine): Report {
  const { system, machine, calls, view } = booted;
  const { seconds, ...figures } = figuresOf(view, callRows([calls]), system.metrics);
  return { seconds, events: system.steps(), eventLogHash: machine.hash?.hex() ?? null, ...figures };
}

/** One figure a row: wing, what, value. */
export function reportRows(report: Figures & { readonly events?: number }): Row[] {
  const rows: Row[] = [];
  const put = (wing: string, figures: object | null): void => {
    for (const [what, value] of Object.entries(figures ?? {}) as [string, unknown][])
      if (typeof value === "number" || typeof value === "string" || value === null) rows.push({ wing, what, value });
      else if (typeof value === "boolean") rows.push({ wing, what, value: value ? 1 : 0 });
  };
  put("machine", { seconds: report.seconds, events: report.events });
  put("sched", report.sched);
  put("memory", report.memory);
  for (const [name, { someUs, fullUs }] of Object.entries(report.pressure ?? {}))
    put("pressure", { [`${name} some, us`]: someUs, [`${name} full, us`]: fullUs });
  put("page cache", report.pageCache);
  put("disk", report.disk);
  put("ext4", report.ext4);
  return rows;
}

/**
 * The report of a crash campaign, as one offline page: what was tried, what broke, and the command that shows it.
 *
 * - exploreReport(facts, summary, show)    of one recording; `show` makes the command for a state
 * - aceReport(facts, rows, broken)         of workloads on our ext4
 * - guestReport(facts, rows, found)        of real guests
 */
import type { Cell } from "../cli/output.ts";
import type { Report, Section } from "../report/report.ts";
import { STATE_KINDS } from "./enumerate.ts";
import type { FlaggedState } from "./explore.ts";
import type { Summary } from "./summary.ts";

export type Facts = readonly (readonly [name: string, value: string])[];
type Rows = readonly Readonly<Record<string, Cell>>[];

const KIND_MEANS: Readonly<Record<(typeof STATE_KINDS)[number], string>> = {
  subset: "any of the writes of a small epoch",
  dropOne: "a prefix without one of its writes",
  onlyOne: "one write alone",
  random: "some of the writes, by seed",
  tail: "a prefix, asked for all that its epoch promised",
  torn: "one write torn",
  prefix: "the writes in their order up to one: what in-order replay sees",
};

const COLUMNS = {
  distinct: { meaning: "different contents of the disk: each is judged once" },
  flagged: { meaning: "contents that break something" },
  superblockTears: { meaning: "the superblock or a commit block torn within its checksum: Linux refuses those, too" },
  byPrefixes: { meaning: "flagged ones that in-order replay would have met" },
  wholeEpochs: { meaning: "epochs of which every subset was judged" },
};

function failures(states: readonly FlaggedState[], show: (id: string) => string): Section[] {
  if (states.length === 0) return [];
  return [
    {
      kind: "table",
      title: "What broke first",
      rows: states.map(({ id, kind, class: found, why }) => ({ id, kind, class: found, why })),
    },
    { kind: "text", title: "See them", text: states.map(({ id }) => show(id)).join("\n") },
  ];
}

const byClass = (counts: Readonly<Record<string, number>>): Section[] => {
  const rows = Object.entries(counts).map(([name, contents]) => ({ class: name, contents }));
  return rows.length === 0 ? [] : [{ kind: "table", title: "By what is broken", rows }];
};

export function exploreReport(facts: Facts, summary: Summary, show: (id: string) => string): Report {
  const { states, distinct, flagged, clean, superblockTears, flaggedByPrefixes } = summary;
  return {
    title: "Crash states of a recording",
    lead: `${states} ways to crash within the bounds, ${distinct} different contents, ${flagged} of them broken.`,
    facts,
    sections: [
      {
        kind: "table",
        title: "In all",
        rows: [{ states, distinct, flagged, clean, superblockTears, byPrefixes: flaggedByPrefixes }],
        columns: COLUMNS,
      },
      {
        kind: "table",
        title: "By what was lost",
        note: "A content that is met in two ways counts where it was met first.",
        rows: STATE_KINDS.map((kind) => ({
          kind,
          means: KIND_MEANS[kind],
          states: summary.byKind[kind] ?? 0,
          flagged: summary.flaggedByKind[kind] ?? 0,
        })),
      },
      ...byClass(summary.byClass),
      ...failures(summary.firstFailures, show),
    ],
  };
}

export function aceReport(facts: Facts, rows: Rows, broken: Rows): Report {
  return {
    title: "Workloads on our ext4, crashed",
    lead: broken.length === 0 ? "None breaks what ext4 owes." : `${broken.length} workloads break what ext4 owes.`,
    facts,
    sections: [
      { kind: "table", title: "By data mode", rows, columns: COLUMNS },
      ...(broken.length === 0 ? [] : [{ kind: "table", title: "Broken", rows: broken } as const]),
    ],
  };
}

export interface GuestFound {
  readonly run: number;
  readonly summary: Summary;
  readonly show: (id: string) => string;
}

export function guestReport(fs: string, facts: Facts, rows: Rows, found: readonly GuestFound[]): Report {
  const broken = found.filter(({ summary }) => summary.flagged > 0);
  return {
    title: "A real guest's disk, crashed",
    lead: broken.length === 0 ? `No state breaks what ${fs} owes.` : `${broken.length} runs have broken states.`,
    facts,
    sections: [
      {
        kind: "table",
        title: "By run",
        note: "controlFlagged: the same recording, had the disk ignored every flush; that one must be caught.",
        rows,
        columns: COLUMNS,
      },
      ...broken.flatMap(({ run, summary, show }) =>
        failures(summary.firstFailures, show).map((section) => ({ ...section, title: `Run ${run}: ${section.title}` })),
      ),
    ],
  };
}

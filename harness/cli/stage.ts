/**
 * Plays a demonstration: scenes one after another, each with a heading, a progress line and what it found, within a
 * time that was promised. A scene that no time is left for is left out, and that is said. What the scenes add to the
 * report becomes one offline HTML file at the end.
 *
 * - play(scenes, options)   the sections of the report and what was left out; a scene's error ends the play
 */
import type { Section } from "../report/report.ts";
import type { Run } from "../run/run.ts";
import { progressLine } from "./progress.ts";
import type { ProgressLine } from "./progress.ts";

export interface Stage {
  readonly run: Run;
  readonly seed: number;
  readonly progress: ProgressLine;
  /** One line of the result, on stdout. */
  readonly say: (line: string) => void;
  /** Milliseconds until the promised end. */
  readonly leftMs: () => number;
  readonly stop: AbortSignal;
}

export interface Scene {
  /** As a heading: "Four policies on a recorded server". */
  readonly title: string;
  /** The scene is not begun with less than this left. */
  readonly needsMs: number;
  run(stage: Stage): Promise<readonly Section[]>;
}

export interface PlayOptions {
  readonly run: Run;
  readonly seed: number;
  readonly budgetMs: number;
  readonly stop: AbortSignal;
  readonly say: (line: string) => void;
  readonly now?: () => number;
}

export interface Played {
  readonly sections: readonly Section[];
  readonly scenes: readonly { readonly title: string; readonly seconds: number | null }[];
}

export async function play(scenes: readonly Scene[], options: PlayOptions): Promise<Played> {
  const { run, seed, budgetMs, stop, say, now = () => performance.now() } = options;
  const startedMs = now();
  const leftMs = (): number => budgetMs - (now() - startedMs);
  const sections: Section[] = [];
  const played: { title: string; seconds: number | null }[] = [];
  for (const [at, scene] of scenes.entries()) {
    say(`${at === 0 ? "" : "\n"}${at + 1}/${scenes.length}  ${scene.title}`);
    const left = leftMs();
    if (stop.aborted || left < scene.needsMs) {
      const why = stop.aborted ? "interrupted" : `${(left / 1000).toFixed(1)} s left, it takes ${scene.needsMs / 1000}`;
      say(`     left out: ${why}`);
      played.push({ title: scene.title, seconds: null });
      continue;
    }
    const begunMs = now();
    const progress = progressLine(scene.title);
    try {
      sections.push(...(await scene.run({ run, seed, progress, say, leftMs, stop })));
    } finally {
      progress.end();
    }
    played.push({ title: scene.title, seconds: Number(((now() - begunMs) / 1000).toFixed(3)) });
  }
  return { sections, scenes: played };
}

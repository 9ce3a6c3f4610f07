/**
 * A campaign over all cores: pieces of work dealt to worker threads, each outcome written down as it comes.
 *
 * - runFleet(work, chunks, log, workers, progress, stop)   false when it was stopped before its end
 */
import { Piscina } from "piscina";
import { modulePath } from "../../kernel/lib/module_path.ts";
import type { ChunkLog } from "./chunk_log.ts";
import type { Chunk, ChunkOutcome } from "./explore.ts";
import type { ExploreWork } from "./explore_worker.ts";

export async function runFleet(
  work: ExploreWork,
  chunks: readonly Chunk[],
  log: ChunkLog,
  workers: number,
  progress: (outcome: ChunkOutcome) => void,
  stop: AbortSignal,
): Promise<boolean> {
  const filename = modulePath("./explore_worker.ts", import.meta.url).href;
  const pool = new Piscina<Chunk, ChunkOutcome>({
    filename,
    workerData: work,
    minThreads: workers,
    maxThreads: workers,
    concurrentTasksPerWorker: 1,
  });
  let next = 0;
  const deal = async (): Promise<void> => {
    while (next < chunks.length && !stop.aborted) {
      const outcome = await pool.run(chunks[next++]!, { signal: stop });
      log.append(outcome);
      progress(outcome);
    }
  };
  try {
    await Promise.all(Array.from({ length: workers }, deal));
    return true;
  } catch (error) {
    if (stop.aborted) return false;
    throw error;
  } finally {
    await pool.destroy();
  }
}

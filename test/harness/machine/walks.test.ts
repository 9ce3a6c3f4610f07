/** The walks "one switch" and "one page" come from a booted machine's own trace, in the order that they explain. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { walkPage } from "../../../harness/machine/walk_page.ts";
import { walkSwitch } from "../../../harness/machine/walk_switch.ts";

const WALKS = {
  switch: {
    walk: walkSwitch,
    way: [
      "sched_waking  sleeper",
      "sched_wakeup  sleeper",
      "sched_switch  hog is preempted (R+), sleeper runs",
      "sys_exit      nanosleep = 0",
      "sys_enter     nanosleep",
      "sleep         sleeper waits for timer",
      "sched_switch  sleeper blocks (S), hog runs",
    ],
  },
  page: {
    walk: walkPage,
    way: [
      "slab_new",
      "kmem_cache_alloc",
      "sys_enter            mmap by hog",
      "mm_page_alloc ",
      "mm_vmscan_wakeup_kswapd",
      "sched_wakeup         kswapd0",
      "sched_switch         hog -> kswapd0",
      "of them out of the page cache",
      "mm_vmscan_kswapd_sleep",
      "mm_vmscan_direct_reclaim_begin",
      "signal_generate      9 to hog",
      "oom_kill             hog",
      "sched_process_exit   hog",
    ],
  },
} as const;

it.each(Object.entries(WALKS))("orrery walk %s, as docs/flows.md shows it", async (name, { walk, way }) => {
  const told = await walk();
  const flows = readFileSync("docs/flows.md", "utf8");
  expect(told.join("\n")).toBe(flows.split(`<!-- output: orrery walk ${name} -->\n\`\`\`\n`)[1]!.split("\n```")[0]);
  let at = 0;
  for (const step of way) {
    const next = told.findIndex((line, n) => n >= at && line.includes(step));
    expect(next, step).toBeGreaterThanOrEqual(at);
    at = next + 1;
  }
});

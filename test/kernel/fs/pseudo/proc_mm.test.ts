import { existsSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { nanos, NS_PER_SEC, PAGE_SIZE } from "../../../../kernel/abi/units.ts";
import { memoryNodes } from "../../../../kernel/fs/pseudo/proc_mm.ts";
import { noLocks } from "../../../../kernel/lib/lock_ops.ts";
import {
  buddyinfo,
  GFP,
  Kmalloc,
  parseBuddyinfo,
  parsePagetypeinfo,
  Psi,
  PsiTask,
  SlabFlag,
  Slub,
  zonesOf,
} from "../../../../mm/index.ts";
import { fileOn, rig, touch } from "../../../mm/cache_rig.ts";
import { MiB, smallMachine } from "../../../mm/machine.ts";
import { inOrder, labelsOf, tree } from "./machine.ts";

it("meminfo and vmstat of memory alone", () => {
  const memory = smallMachine(64 * MiB);
  memory.alloc(0, GFP.GFP_KERNEL, 5, 1);
  const { textOf, vfs, task } = tree({ proc: memoryNodes({ memory }) });
  // 384 frames are the high watermark.
  expect(textOf("/proc/meminfo")).toBe(
    "MemTotal:          65536 kB\nMemFree:           65408 kB\nMemAvailable:      63872 kB\nBuffers:               0 kB\n" +
      "Cached:                0 kB\nSwapCached:            0 kB\nSwapTotal:             0 kB\nSwapFree:              0 kB\n" +
      "CommitLimit:       32768 kB\n",
  );
  expect(textOf("/proc/vmstat", 100)).toMatch(/^nr_free_pages 16352\npgalloc_dma 0\npgalloc_dma32 32\n/);
  expect(textOf("/proc/vmstat")).not.toMatch(/undefined|NaN|nr_dirty|pgfault/);
  expect([vfs.open(task, "/proc/slabinfo", 0), vfs.open(task, "/proc/pressure", 0)]).toEqual([-2, -2]);
});

it("meminfo and vmstat with all parts, in Linux's order", () => {
  const memory = smallMachine(64 * MiB);
  const slub = new Slub(memory, new SharedArrayBuffer(64 * MiB * PAGE_SIZE), noLocks);
  const kmalloc = new Kmalloc(slub, 0);
  kmalloc.kmalloc(0, 64, GFP.GFP_KERNEL, 1);
  slub.alloc(0, slub.createCache("dentry", 192, SlabFlag.Reclaimable), GFP.GFP_KERNEL, 1);
  const { cache } = rig(16);
  const file = fileOn(cache, 8);
  for (let page = 0; page < 3; page++) touch(file, page, 1);
  const { textOf } = tree({
    proc: memoryNodes({
      memory,
      slub,
      cache,
      bufferPages: () => 1,
      sharedPages: () => 5,
      anonPages: () => 10,
      committedPages: () => 20,
      refaults: () => 6,
      faults: () => 7,
      majorFaults: () => 2,
      readSectors: () => 9,
      writtenSectors: () => 16,
    }),
  });
  const meminfo = textOf("/proc/meminfo");
  expect(meminfo).toContain(
    "Buffers:               4 kB\nCached:               28 kB\nSwapCached:            0 kB\nSwapTotal:             0 kB\n" +
      "SwapFree:              0 kB\nDirty:                12 kB\nWriteback:             0 kB\nAnonPages:            40 kB\n" +
      "Shmem:                20 kB\nKReclaimable:          4 kB\nSlab:                  8 kB\nSReclaimable:          4 kB\n" +
      "SUnreclaim:            4 kB\nCommitLimit:       32768 kB\nCommitted_AS:         80 kB\n",
  );
  for (const line of meminfo.trimEnd().split("\n")) expect(line).toMatch(/^(?=.{27}$)\w+: +\d+ kB$/);
  if (existsSync("/proc/meminfo"))
    expect(inOrder(labelsOf(meminfo), labelsOf(readFileSync("/proc/meminfo", "utf8")))).toBe(true);
  const vmstat = textOf("/proc/vmstat");
  expect(vmstat).toMatch(
    /^nr_free_pages \d+\nnr_slab_reclaimable 1\nnr_slab_unreclaimable 1\nworkingset_refault_file 6\n/,
  );
  expect(vmstat).toContain(
    "nr_anon_pages 10\nnr_file_pages 8\nnr_dirty 3\nnr_writeback 0\nnr_shmem 5\npgpgin 4\npgpgout 8\npgalloc_dma 0\n",
  );
  expect(vmstat).toMatch(/\npgfree \d+\npgfault 7\npgmajfault 2\npgsteal_kswapd 0\n/);
  expect(textOf("/proc/slabinfo")).toMatch(/^slabinfo - version: 2\.1\n[^]*^dentry +21 +21 +192 +21 +1 : tunables/m);
});

it("buddyinfo, pagetypeinfo and zoneinfo are the allocator's texts, read back by its parsers", () => {
  const memory = smallMachine(64 * MiB, { cpus: 2 });
  const nodes = memoryNodes({ memory });
  const { textOf } = tree({ proc: nodes });
  memory.alloc(1, GFP.GFP_KERNEL, 3, 1);
  const zones = zonesOf(memory);
  expect(textOf("/proc/buddyinfo")).toBe(buddyinfo(zones));
  expect(parseBuddyinfo(textOf("/proc/buddyinfo")).get("DMA32")).toEqual(zones[0]!.free);
  expect(parsePagetypeinfo(textOf("/proc/pagetypeinfo", 50))).toEqual(zones);
  expect(textOf("/proc/zoneinfo")).toMatch(/^Node 0, zone {4}DMA32\n {2}pages free +\d+\n/);
});

it("pressure is brought up to now; of the CPUs as a whole full is 0", () => {
  const clock = { now: 0 };
  const machine = { now: () => nanos(clock.now), chance: () => false, below: () => 0, trace: () => undefined };
  const psi = new Psi(machine, 1);
  const { textOf } = tree({ proc: memoryNodes({ psi }) });
  psi.change(0, PsiTask.IoWait, 1);
  clock.now = 2.004 * NS_PER_SEC;
  expect(textOf("/proc/pressure/io")).toBe(
    "some avg10=18.11 avg60=3.27 avg300=0.68 total=2004000\nfull avg10=18.11 avg60=3.27 avg300=0.68 total=2004000\n",
  );
  psi.change(0, PsiTask.IoWait, -1);
  psi.change(0, PsiTask.Running, 1);
  clock.now += NS_PER_SEC;
  expect(textOf("/proc/pressure/cpu")).toBe(
    "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
  );
  expect(textOf("/proc/pressure/memory")).toMatch(/^some .* total=0\nfull .* total=0\n$/);
});

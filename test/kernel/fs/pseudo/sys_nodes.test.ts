import { expect, it } from "vitest";
import { EACCES, EBUSY, EINVAL, EIO, ENOENT } from "../../../../kernel/abi/errno.ts";
import { O_RDONLY } from "../../../../kernel/abi/fcntl.ts";
import type { DiskCounts } from "../../../../kernel/fs/pseudo/proc_block.ts";
import {
  blockSysNodes,
  ext4SysNodes,
  machineSysNodes,
  schedSysNodes,
  vmNodes,
} from "../../../../kernel/fs/pseudo/sys_nodes.ts";
import { fileOn, rig, touch } from "../../../mm/cache_rig.ts";
import { listVfs } from "../../../contract/file_ops.ts";
import { tree } from "./machine.ts";

const COUNTS: DiskCounts = {
  reads: 1,
  readMerges: 2,
  readSectors: 3,
  readNs: 4e6,
  writes: 5,
  writeMerges: 6,
  writtenSectors: 7,
  writeNs: 8e6,
  inFlight: 9,
  busyNs: 10e6,
  flushes: 11,
  flushNs: 12e6,
};

it("/proc/sys/vm shows and sets; what is no value changes nothing", () => {
  const values = { ratio: 20, expire: 3000 };
  const { textOf, put } = tree({
    proc: vmNodes({
      dirtyRatio: { get: () => values.ratio, set: (value) => (values.ratio = value) },
      dirtyExpireCentisecs: { get: () => values.expire },
    }),
  });
  expect([put("/proc/sys/vm/dirty_ratio", "30\n"), values.ratio, textOf("/proc/sys/vm/dirty_ratio")]).toEqual([
    3,
    30,
    "30\n",
  ]);
  for (const bad of ["101", "-1", "x", "\n", "1 2", "3.5"])
    expect([bad, put("/proc/sys/vm/dirty_ratio", bad)]).toEqual([bad, EINVAL]);
  expect(values.ratio).toBe(30);
  expect([put("/proc/sys/vm/dirty_expire_centisecs", "1"), textOf("/proc/sys/vm/dirty_expire_centisecs")]).toEqual([
    EIO,
    "3000\n",
  ]);
  expect(put("/proc/sys/vm/min_free_kbytes", "1")).toBe(ENOENT);
});

it("drop_caches: 1 drops clean pages, dirty ones stay; 2 asks the slab caches; compact_memory takes 1", () => {
  const { cache } = rig(16);
  const file = fileOn(cache, 8);
  for (let page = 0; page < 5; page++) touch(file, page, page < 2 ? 1 : undefined);
  const done: string[] = [];
  const { put, vfs, task } = tree({
    proc: vmNodes({ cache, shrinkSlabs: () => done.push("slabs"), compact: () => done.push("compact") }),
  });
  const at = "/proc/sys/vm/drop_caches";
  expect([cache.cached(), cache.dirty(), put(at, "0"), put(at, "5"), put(at, "all")]).toEqual([
    5,
    2,
    EINVAL,
    EINVAL,
    EINVAL,
  ]);
  expect([put(at, "2"), cache.cached(), done]).toEqual([1, 5, ["slabs"]]);
  expect([put(at, "3\n"), cache.cached(), cache.dirty(), done]).toEqual([2, 2, 2, ["slabs", "slabs"]]);
  cache.check();
  expect([put("/proc/sys/vm/compact_memory", "2"), put("/proc/sys/vm/compact_memory", "1")]).toEqual([EINVAL, 1]);
  expect(done.at(-1)).toBe("compact");
  expect(vfs.open(vfs.newTask({ uid: 7, gid: 7 }), at, O_RDONLY)).toBe(EACCES);
  expect(vfs.open(task, at, O_RDONLY)).toBeGreaterThanOrEqual(0);
});

it("/sys/kernel/sched/policy switches to a built-in's name", () => {
  let policy = "cfs";
  const names = ["cfs", "eevdf", "fifo"];
  const set = (name: string): 0 | typeof EBUSY => {
    if (name === "fifo") return EBUSY;
    policy = name;
    return 0;
  };
  const { textOf, put } = tree({ sys: schedSysNodes({ names, current: () => policy, set }) });
  const at = "/sys/kernel/sched/policy";
  expect([textOf(at), textOf("/sys/kernel/sched/policies")]).toEqual(["cfs\n", "cfs eevdf fifo\n"]);
  expect([put(at, "eevdf\n"), textOf(at)]).toEqual([6, "eevdf\n"]);
  expect([put(at, "bogus"), put(at, "\n"), put(at, "fifo"), policy]).toEqual([EINVAL, EINVAL, EBUSY, "eevdf"]);
  const fixed = tree({ sys: schedSysNodes({ names, current: () => "cfs" }) });
  expect([fixed.put(at, "fifo"), fixed.textOf(at)]).toEqual([EIO, "cfs\n"]);
});

it("/sys/block/vda, /sys/fs/ext4/vda, /sys/kernel/orrery", () => {
  const values = { requests: 1024, nomerges: 0 };
  const { textOf, put, vfs, task } = tree({
    sys: [
      ...blockSysNodes({
        counts: () => COUNTS,
        sectors: 2048,
        elevator: { names: ["none", "deadline"], current: () => "deadline" },
        requests: { get: () => values.requests, set: (to) => (values.requests = to) },
        requestsMax: 1024,
        nomerges: { get: () => values.nomerges, set: (to) => (values.nomerges = to) },
        readAheadKb: { get: () => 128 },
        sectorsMax: 2560,
        physicalBlockSize: 4096,
        hasVolatileCache: true,
        rotational: false,
      }),
      ...ext4SysNodes({ errorsCount: () => 2, lifetimeWriteKbytes: () => 77 }),
      ...machineSysNodes({ seed: 42, features: ["EXT4", "SLUB"], world: "lockstep" }),
    ],
  });
  expect(listVfs(vfs, task, "/sys/block/vda")).toBe("0 ..:4 .:4 dev:8 queue:4 ro:8 size:8 stat:8");
  const shown = ["dev", "size", "queue/scheduler", "queue/nr_requests", "queue/write_cache", "queue/max_hw_sectors_kb"];
  expect(shown.map((file) => textOf(`/sys/block/vda/${file}`))).toEqual([
    "252:0\n",
    "2048\n",
    "none [deadline]\n",
    "1024\n",
    "write back\n",
    "1280\n",
  ]);
  const requests = "/sys/block/vda/queue/nr_requests";
  expect([put(requests, "1\n"), textOf(requests), put(requests, "1025"), values.requests]).toEqual([
    2,
    "4\n",
    EINVAL,
    4,
  ]);
  expect([
    put("/sys/block/vda/queue/nomerges", "3"),
    put("/sys/block/vda/queue/nomerges", "2\n"),
    values.nomerges,
  ]).toEqual([EINVAL, 2, 2]);
  expect(put("/sys/block/vda/queue/read_ahead_kb", "64")).toBe(EIO);
  expect(textOf("/sys/block/vda/stat")).toBe(
    "       1        2        3        4        5        6        7        8        9       10       24" +
      "        0        0        0        0       11       12\n",
  );
  expect(listVfs(vfs, task, "/sys/fs/ext4/vda")).toBe("0 ..:4 .:4 errors_count:8 lifetime_write_kbytes:8");
  expect(textOf("/sys/fs/ext4/vda/errors_count")).toBe("2\n");
  expect(["features", "seed", "world"].map((file) => textOf(`/sys/kernel/orrery/${file}`))).toEqual([
    "EXT4\nSLUB\n",
    "42\n",
    "lockstep\n",
  ]);
});

import { existsSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { EINVAL, ENOENT, ENOMEM, ENOTDIR, ESRCH } from "../../../../kernel/abi/errno.ts";
import { NS_PER_SEC } from "../../../../kernel/abi/units.ts";
import { type FileStat, newStat } from "../../../../kernel/fs/index.ts";
import { pidDirs, type TaskIo } from "../../../../kernel/fs/pseudo/proc_pid.ts";
import { Arena } from "../../../../kernel/lib/arena.ts";
import { Kind, Processes, type TaskMemory } from "../../../../kernel/process.ts";
import { Wait, WaitQueues } from "../../../../kernel/wait.ts";
import { TaskState } from "../../../../sched/index.ts";
import { listVfs } from "../../../contract/file_ops.ts";
import { inOrder, labelsOf, tree } from "./machine.ts";

const ROWS = 8;
const IO: TaskIo = { rchar: 1, wchar: 2, syscr: 3, syscw: 4, readBytes: 512, writeBytes: 1024 };

const fields = (text: string): string[] => text.replace(/\(.*\)/, "()").split(" ");

/** Row 1 is kswapd (pid 1), row 2 a writer (pid 2) that waits for the disk. */
function machine() {
  const memory: TaskMemory = {
    window: () => ENOMEM,
    freeWindow: () => undefined,
    bytes: (_frame, bytes) => new Uint8Array(bytes),
    frame: () => ENOMEM,
    freeFrame: () => undefined,
    frames: 1,
  };
  const processes = new Processes(new Arena(new SharedArrayBuffer(1 << 16)), ROWS, memory, 1);
  const waits = new WaitQueues(new Arena(new SharedArrayBuffer(WaitQueues.bytes(ROWS))), ROWS);
  const sched = {
    state: new Int32Array(ROWS).fill(TaskState.Sleeping),
    cpu: new Int32Array(ROWS),
    nice: new Int32Array(ROWS),
    sumExec: new Float64Array(ROWS),
  };
  processes.takeKernel(1, "kswapd0", 0);
  waits.sleepOn(1, Wait.Work);
  // A user task without a window: nothing here runs.
  const take = (p: number): void => {
    processes.takeKernel(p, "a-name-longer-than-15", 3 * NS_PER_SEC);
    processes.kind[p] = Kind.User;
  };
  take(2);
  waits.sleepOn(2, Wait.Data);
  processes.rss[2] = 3;
  processes.brkBytes[2] = 10 * 4096;
  processes.diskNs[2] = NS_PER_SEC / 2;
  sched.cpu[2] = 1;
  sched.nice[2] = 5;
  sched.sumExec[2] = 2 * NS_PER_SEC;
  const victims = {
    rows: () => ROWS,
    rssPages: (p: number) => processes.rss[p]!,
    swapPages: () => 0,
    pageTablePages: () => 0,
    scoreAdj: (p: number) => processes.oomAdj[p]!,
    kill: () => 0,
  };
  const pids = pidDirs({
    caller: () => -1,
    processes,
    channelOf: (p) => waits.channel[p]!,
    sched,
    cpus: 2,
    userNs: (p) => sched.sumExec[p]! / 4,
    waitedNs: () => 77,
    runs: () => 9,
    sleeps: () => 6,
    preempted: () => 3,
    uid: () => 1000,
    gid: () => 100,
    io: () => IO,
    victims,
    totalPages: 30_000,
  });
  const end = (p: number): void => {
    waits.leave(p);
    processes.rss[p] = 0;
    processes.leave(p);
  };
  return { ...tree({ pids }), processes, sched, waits, end, take };
}

it("stat has 52 fields, as proc(5) numbers them", () => {
  const { textOf, sched, waits } = machine();
  expect(textOf("/proc/2/stat", 10)).toBe(
    "2 (a-name-longer-t) D 0 0 0 0 -1 0 0 0 0 0 50 150 0 0 25 5 1 0 300 40960 3 18446744073709551615 0 0 0 0 0 0 0 0 0 " +
      "1 0 0 17 1 0 0 50 0 0 0 0 0 0 0 0 0 0\n",
  );
  for (const pid of [1, 2]) expect(textOf(`/proc/${pid}/stat`).split(" ")).toHaveLength(52);
  expect(textOf("/proc/1/stat")).toMatch(/^1 \(kswapd0\) S 0 0 0 0 -1 2097152 /);
  waits.leave(2);
  sched.state[2] = TaskState.Running;
  expect(textOf("/proc/2/stat")).toMatch(/^2 \(a-name-longer-t\) R /);
});

it("status, comm, wchan, schedstat, io, oom_score", () => {
  const { textOf } = machine();
  expect(textOf("/proc/2/status")).toBe(
    "Name:\ta-name-longer-t\nState:\tD (disk sleep)\nTgid:\t2\nNgid:\t0\nPid:\t2\nPPid:\t0\nTracerPid:\t0\n" +
      "Uid:\t1000\t1000\t1000\t1000\nGid:\t100\t100\t100\t100\n" +
      "VmSize:\t      40 kB\nVmRSS:\t      12 kB\nRssAnon:\t      12 kB\nRssFile:\t       0 kB\n" +
      "RssShmem:\t       0 kB\nVmData:\t      40 kB\nVmSwap:\t       0 kB\nThreads:\t1\nCpus_allowed_list:\t0-1\n" +
      "voluntary_ctxt_switches:\t6\nnonvoluntary_ctxt_switches:\t3\n",
  );
  expect(textOf("/proc/1/status")).not.toContain("Vm");
  expect([textOf("/proc/2/comm"), textOf("/proc/2/wchan"), textOf("/proc/1/wchan")]).toEqual([
    "a-name-longer-t\n",
    "data",
    "work",
  ]);
  expect(textOf("/proc/2/schedstat")).toBe("2000000000 77 9\n");
  expect(textOf("/proc/2/io")).toBe(
    "rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 512\nwrite_bytes: 1024\ncancelled_write_bytes: 0\n",
  );
  expect(textOf("/proc/2/oom_score")).toBe("666\n");
});

it.skipIf(!existsSync("/proc/self/status"))("stat, status and io are laid out as this host's own", () => {
  const { textOf } = machine();
  for (const file of ["status", "io"])
    expect([
      file,
      inOrder(labelsOf(textOf(`/proc/2/${file}`)), labelsOf(readFileSync(`/proc/self/${file}`, "utf8"))),
    ]).toEqual([file, true]);
  expect(fields(textOf("/proc/2/stat"))).toHaveLength(fields(readFileSync("/proc/self/stat", "utf8")).length);
});

it("oom_score_adj is set, and what is no value changes nothing", () => {
  const { textOf, put, processes } = machine();
  expect([put("/proc/2/oom_score_adj", "-17\n"), textOf("/proc/2/oom_score_adj")]).toEqual([4, "-17\n"]);
  for (const bad of ["1001", "-1001", "x", "", "1.5", "0x10", "1 2"])
    expect([bad, put("/proc/2/oom_score_adj", bad)]).toEqual([bad, bad === "" ? 0 : EINVAL]);
  expect(processes.oomAdj[2]).toBe(-17);
  expect([put("/proc/2/oom_score_adj", "-1000"), textOf("/proc/2/oom_score")]).toEqual([5, "0\n"]);
});

it("directories come and go with the tasks, and a file that is open still says ESRCH", () => {
  const { vfs, task, processes, end, take } = machine();
  const files = "comm:8 io:8 oom_score:8 oom_score_adj:8 schedstat:8 stat:8 status:8 wchan:8";
  expect(listVfs(vfs, task, "/proc")).toBe("0 ..:4 .:4 1:4 2:4 filesystems:8 mounts:8 self:10 sys:4 version:8");
  expect(listVfs(vfs, task, "/proc/2")).toBe(`0 ..:4 .:4 ${files}`);
  const stat: FileStat = { ...newStat(), dev: 0 };
  expect([vfs.stat(task, "/proc", stat), stat.links]).toEqual([0, 5]);
  expect([vfs.stat(task, "/proc/2/comm", stat), stat.mode]).toEqual([0, 0o100444]);
  const { ino } = stat;
  const into = new Uint8Array(4096);
  const file = vfs.open(task, "/proc/2/comm", 0);
  const dir = vfs.open(task, "/proc/2", 0);
  expect(vfs.read(task, file, into.subarray(0, 4))).toBe(4);

  end(2);
  expect([vfs.read(task, file, into), vfs.getdents64(task, dir, into)]).toEqual([ESRCH, ENOENT]);
  expect([vfs.open(task, "/proc/2", 0), vfs.open(task, "/proc/2/comm", 0)]).toEqual([ENOENT, ENOENT]);
  expect([vfs.stat(task, "/proc/2", stat), vfs.stat(task, file, stat), stat.ino]).toEqual([ENOENT, 0, ino]);
  expect(listVfs(vfs, task, "/proc")).toBe("0 ..:4 .:4 1:4 filesystems:8 mounts:8 self:10 sys:4 version:8");
  expect([vfs.close(task, file), vfs.close(task, dir)]).toEqual([0, 0]);

  // The row is taken again, by another pid: other inodes.
  take(2);
  expect(processes.pid[2]).toBe(3);
  expect([vfs.open(task, "/proc/2", 0), vfs.stat(task, "/proc/3/comm", stat)]).toEqual([ENOENT, 0]);
  expect(stat.ino).toBe(ino + 64);
});

it("only a pid as it is written names a directory", () => {
  const { vfs, task } = machine();
  for (const name of ["0", "02", "2x", "-2", "2.0", "4294967298", "99999999999999999999"])
    expect([name, vfs.open(task, `/proc/${name}`, 0)]).toEqual([name, ENOENT]);
  expect([vfs.open(task, "/proc/2/x", 0), vfs.open(task, "/proc/2/comm/x", 0)]).toEqual([ENOENT, ENOTDIR]);
  expect(vfs.open(task, "/proc/2/../1/comm", 0)).toBeGreaterThanOrEqual(0);
});

it("a directory read in small steps skips nobody when a task ends between two of them", () => {
  const { vfs, task, take, end } = machine();
  for (const p of [3, 4, 5]) take(p);
  const fd = vfs.open(task, "/proc", 0);
  const names: string[] = [];
  const into = new Uint8Array(32);
  for (let length = 0; (length = vfs.getdents64(task, fd, into)) > 0;) {
    for (let at = 0; at < length; at += into[at + 16]!)
      names.push(new TextDecoder().decode(into.subarray(at + 19, at + into[at + 16]!)).replace(/\0.*$/s, ""));
    if (names.at(-1) === "2") end(2);
  }
  expect(names).toEqual([".", "..", "version", "mounts", "filesystems", "sys", "self", "1", "2", "3", "4", "5"]);
});

/** What an fsync commits: the same table for our ext4, for the oracle of the crash explorer, and for a real Linux. */
import { describe, expect, it } from "vitest";
import type { AceCall } from "../../../harness/crash/ace.ts";
import { CrashDisk } from "../../../harness/crash/crash_disk.ts";
import { guestBench } from "../../../harness/crash/guest_record.ts";
import { GUEST_FS } from "../../../harness/crash/guest_fs.ts";
import { guestTemplate } from "../../../harness/crash/guest_template.ts";
import { MOUNTED } from "../../../harness/crash/guest_workload.ts";
import { Ext4Judge } from "../../../harness/crash/judge_ext4.ts";
import type { Recorded } from "../../../harness/crash/recorded.ts";
import { recordedOf } from "../../../harness/crash/recorded.ts";
import { crashBase, runWorkload } from "../../../harness/crash/workload_run.ts";
import type { WorkloadRun } from "../../../harness/crash/workload_run.ts";
import { lookInto, recovered } from "../ext4/crashed.ts";
import { guest } from "../qemu/tools.ts";
import { BEFORE, FSYNC_ROWS, fsync, hold, mkdir, nameOf } from "./fsync_rows.ts";
import { thorough } from "../../tier.ts";

const BASE = crashBase({ sizeBytes: 4 << 20, blockSize: 1024, journalBytes: 1 << 20 });
const MODES = ["ordered", "journal", "writeback"] as const;
/** Its begin and its end. */
const MARKERS_PER_CALL = 2;
const NOW = 1_700_000_000;

/** Whether a path is there after a crash that left the first `writes` writes. */
function isThere(recorded: Recorded, writes: number, path: string): boolean {
  const image = recorded.base.slice();
  for (const { offset, length, data } of recorded.writes.slice(0, writes))
    if (data === undefined) image.fill(0, offset, offset + length);
    else image.set(data, offset);
  return lookInto(recovered(image, "kernel", NOW)).tree.some((line) => line.endsWith(` ${path}`));
}

/** What the oracle says when the disk has what stood there at one marker, and all promises were made. */
function verdictAt({ recorded, promises }: WorkloadRun, marker: number): string {
  const disk = new CrashDisk(recorded, 1024);
  disk.advance(recorded.markers[marker]!.writes);
  const judge = new Ext4Judge(disk, "kernel");
  judge.promises = promises;
  return judge.verdict(false, recorded.markers.length).class;
}

describe.each(MODES)("fsync with data=%s", (data) => {
  it.each(FSYNC_ROWS.map((row) => [nameOf(row), row] as const))("%s", (_name, { calls, witness, commits, owed }) => {
    const run = runWorkload(BASE, [...BEFORE, ...calls], { data, mount: "" });
    expect(run.failed).toEqual([]);
    const { recorded } = run;
    expect(isThere(recorded, recorded.markers.at(-1)!.writes, witness)).toBe(commits || data === "journal");
    // A disk that had not gone on since the witness was made is blamed for it when it is owed, and only then.
    const made = calls.findIndex(({ path, to }) => (to ?? path) === witness);
    expect(verdictAt(run, MARKERS_PER_CALL * (BEFORE.length + made) - 1) === "lost").toBe(owed);
    expect(verdictAt(run, recorded.markers.length - 1)).toBe("clean");
  });

  it("a file that was not in memory counts as changed by what ran when it was read, and by nothing later", () => {
    const commits = (...calls: readonly AceCall[]): boolean => {
      const { recorded } = runWorkload(BASE, calls, { data, mount: "", before: BEFORE });
      return isThere(recorded, recorded.markers.at(-1)!.writes, "W");
    };
    expect(commits(hold("other"), mkdir("W"), fsync("other"))).toBe(data === "journal");
    expect(commits(mkdir("W"), hold("other"), fsync("other"))).toBe(true);
  });
});

/** The same with the guest's tools, in a folder of its own. */
function shell(folder: string, { op, path, to, offset, length }: AceCall): string {
  const file = `${folder}/${path}`;
  switch (op) {
    case "creat":
      return `: > ${file}`;
    case "write":
      if (offset! > 0) return `head -c ${length} /dev/zero >> ${file}`;
      return `dd if=/dev/zero of=${file} bs=${length} count=1 conv=notrunc 2>/dev/null`;
    case "falloc":
      return `fallocate -l ${length} ${file}`;
    case "truncate":
      return `truncate -s ${length} ${file}`;
    case "link":
      return `ln ${file} ${folder}/${to}`;
    case "rename":
      return `mv ${file} ${folder}/${to}`;
    case "unlink":
      return `rm ${file}`;
    case "mkdir":
      return `mkdir ${file}`;
    case "fsync":
      return `sync ${file}`;
    case "fdatasync":
      return `sync -d ${file}`;
    case "sync":
      return "sync";
    default:
      throw new Error(`fsync_commits: no ${op} here`);
  }
}

const folder = (n: number): string => `${MOUNTED}/r${n}`;
const mount = (mode: string): string =>
  `umount ${MOUNTED} && mount -t ext4 -o commit=300,data=${mode} /dev/vda ${MOUNTED}`;

describe.skipIf(!guest)("Linux's fsync (needs qemu-system-x86, busybox-static and the fetched kernel)", () => {
  it.runIf(thorough)(
    "commits what the table says",
    async () => {
      const DROP = "echo 3 > /proc/sys/vm/drop_caches";
      const plain = FSYNC_ROWS.map((row) => ({
        ...row,
        name: nameOf(row),
        make: (at: string) => row.calls.map((one) => shell(at, one)),
      }));
      // Read again before and after the witness was made.
      const reread = [
        {
          name: "read, W",
          commits: false,
          make: (at: string) => [DROP, `: < ${at}/other`, `mkdir ${at}/W`, `sync ${at}/other`],
        },
        { name: "W, read", commits: true, make: (at: string) => [`mkdir ${at}/W`, DROP, `sync ${at}/other`] },
      ].map((row) => ({ ...row, witness: "W" }));
      // All files are there, and durable, before the first row.
      const rows = [
        ...[...plain, ...reread].map((row) => ({ ...row, mode: "ordered" })),
        ...plain.slice(0, 6).map((row) => ({ ...row, mode: "journal", commits: true })),
      ];
      const setup = rows.flatMap((_row, n) => [
        `mkdir ${folder(n)}`,
        ...BEFORE.slice(0, -1).map((one) => shell(folder(n), one)),
      ]);
      const steps = [
        { command: [...setup, "sync"].join(" && ") },
        ...rows.flatMap(({ make, mode }, n) => [
          ...(mode === (rows[n - 1] ?? rows[0]!).mode ? [] : [{ command: mount(mode) }]),
          { command: make(folder(n)).join(" && "), marker: `row ${n}` },
        ]),
      ];
      const sizeBytes = 16 << 20;
      const template = guestTemplate(GUEST_FS.ext4, sizeBytes, { accel: "tcg" });
      const bench = guestBench(template, { sizeBytes, mkfs: "", mount: "commit=300", listed: false });
      try {
        const { entries, refused } = await bench.record(steps, { step: steps.length, afterMs: 0 });
        expect(refused).toEqual([]);
        const recorded = recordedOf(bench.image, entries, "the guest's recording");
        const found = rows.map(({ mode, name, witness }, n) => {
          const { writes } = recorded.markers.find(({ text }) => text === `row ${n}`)!;
          return `${mode}: ${name}: ${isThere(recorded, writes, `r${n}/${witness}`)}`;
        });
        const wanted = rows.map(({ mode, name, commits }) => `${mode}: ${name}: ${commits}`);
        expect(found).toEqual(wanted);
      } finally {
        bench.close();
        await template.close();
      }
    },
    300_000,
  );
});

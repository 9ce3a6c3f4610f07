/**
 * What a real guest costs: from nothing to its first answered command by booting and by cloning a template; and what
 * recording its disk costs, against our server without recording and against a raw file that QEMU opens itself. Three
 * guests write the same and sync it, in turn.
 */
import { closeSync, ftruncateSync, openSync } from "node:fs";
import { join } from "node:path";
import { SparseDisk } from "../disk/sparse.ts";
import { openFileDisk } from "../disk/file.ts";
import { RecordingDisk, fileSink } from "../nbd/record.ts";
import { serveNbd } from "../nbd/server.ts";
import type { NbdServer } from "../nbd/server.ts";
import { makeTemplate } from "../qemu/clone.ts";
import { bootGuest } from "../qemu/guest.ts";
import type { Guest, GuestOptions } from "../qemu/guest.ts";
import { runFolder } from "../qemu/open_things.ts";
import type { Bench, BenchOptions, BenchRow, BenchTable } from "./bench.ts";
import { median } from "./median.ts";

const ROUNDS = 15;
const ROUNDS_QUICK = 9;
const DISK_BYTES = 128 << 20;
const LOAD_MIB = 32;
const LOAD_MIB_QUICK = 8;

async function timed(action: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await action();
  return performance.now() - startMs;
}

async function cloneRows(folder: string, rounds: number, progress: (line: string) => void): Promise<BenchRow[]> {
  const disk = new SparseDisk(DISK_BYTES);
  const server = await serveNbd(disk, { path: join(folder, "template") });
  let guest: Guest | undefined;
  const bootMs = await timed(async () => {
    guest = await bootGuest({ disk: server.address });
    await guest.must("true");
  });
  const template = await makeTemplate(guest!);
  const restored: number[] = [];
  const answered: number[] = [];
  for (let round = 0; round < rounds; round++) {
    progress(`clone ${round + 1} of ${rounds}`);
    const mine = await serveNbd(disk.snapshot(), { path: join(folder, "clone") });
    const startMs = performance.now();
    const clone = await template.clone(mine.address);
    restored.push(performance.now() - startMs);
    await clone.must("true");
    answered.push(performance.now() - startMs);
    await clone.cut();
    await mine.close();
  }
  await template.remove();
  await server.close();
  const row = (what: string, ms: number): BenchRow => ({ what, ms, ofBoot: ms / bootMs });
  return [
    row("boot to first command answered (one boot)", bootMs),
    row("clone: QEMU's start to running", median(restored)),
    row("clone: QEMU's start to first command answered", median(answered)),
  ];
}

interface Arm {
  readonly what: string;
  readonly guest: Guest;
  readonly times: number[];
}

async function recorderRows(
  folder: string,
  rounds: number,
  mib: number,
  progress: (line: string) => void,
): Promise<BenchRow[]> {
  const servers: NbdServer[] = [];
  const sink = fileSink(join(folder, "log"));
  const image = (name: string): string => {
    const path = join(folder, name);
    const file = openSync(path, "w");
    ftruncateSync(file, DISK_BYTES);
    closeSync(file);
    return path;
  };
  const served = async (name: string, isRecorded: boolean): Promise<GuestOptions> => {
    const disk = openFileDisk(image(name));
    const device = isRecorded ? new RecordingDisk(disk, sink, () => performance.now()) : disk;
    const server = await serveNbd(device, { path: join(folder, `${name}.sock`) });
    servers.push(server);
    return { disk: server.address };
  };
  const plans: readonly (readonly [what: string, options: GuestOptions])[] = [
    ["a raw file, by QEMU itself", { image: image("raw") }],
    ["our server, not recorded", await served("plain", false)],
    ["our server, recorded", await served("recorded", true)],
  ];
  const arms: Arm[] = [];
  for (const [what, options] of plans) arms.push({ what, guest: await bootGuest(options), times: [] });
  const load = `dd if=/dev/zero of=/dev/vda bs=64k count=${mib * 16} conv=fsync`;
  for (const { guest } of arms) await guest.must(load);
  for (let round = 0; round < rounds; round++) {
    progress(`writes, round ${round + 1} of ${rounds}`);
    for (const { guest, times } of arms) times.push(await timed(() => guest.must(load)));
  }
  for (const { guest } of arms) await guest.cut();
  for (const server of servers) await server.close();
  sink.close();
  const against = (other: Arm, mine: Arm): number => median(mine.times.map((ms, round) => ms / other.times[round]!));
  return arms.map((arm) => ({
    what: `write and sync ${mib} MiB: ${arm.what}`,
    ms: median(arm.times),
    ofRawFile: against(arms[0]!, arm),
    ofNotRecorded: against(arms[1]!, arm),
  }));
}

async function run({ quick, progress }: BenchOptions): Promise<BenchTable> {
  const folder = runFolder();
  const rounds = quick ? ROUNDS_QUICK : ROUNDS;
  try {
    const clones = await cloneRows(folder.path, rounds, progress);
    const recorder = await recorderRows(folder.path, rounds, quick ? LOAD_MIB_QUICK : LOAD_MIB, progress);
    const notes = [
      `medians of ${rounds} rounds, the three disks in turn in each; ratios are medians of the rounds' ratios`,
      "guests run under QEMU's translator (tcg); all files are in memory",
      "figures of a machine that does other work at the time must be measured again on an idle one",
    ];
    return { schema: 1, name: "guest", rows: [...clones, ...recorder], notes };
  } finally {
    folder.remove();
  }
}

export const bench: Bench = {
  name: "guest",
  help: "a real Linux guest: boot, template clone, and what recording its disk costs",
  run,
};

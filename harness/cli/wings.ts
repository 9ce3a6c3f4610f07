/**
 * The table of commands: what `orrery --help` lists, and where each lives. A wing's file is loaded only when one of its
 * commands is asked for, so that help and errors come at once however much a wing brings with it.
 */
import type { Command } from "commander";

export interface Wing {
  /** Heading under which help lists the commands; empty: they are not for people. */
  readonly group: string;
  /** Top-level commands that `register` adds -> one line of help. */
  readonly commands: Readonly<Record<string, string>>;
  readonly load: () => Promise<{ register(program: Command): void }>;
}

export const WINGS: readonly Wing[] = [
  {
    group: "Start here:",
    commands: { demo: "a few seconds of everything, and a report to look at" },
    load: () => import("../demo/scenes.ts"),
  },
  {
    group: "Start here:",
    commands: { boot: "the whole machine, with a workload on it" },
    load: () => import("./boot.ts"),
  },
  {
    group: "Start here:",
    commands: { walk: "one path through the system, printed from a real run" },
    load: () => import("./walk.ts"),
  },
  {
    group: "Experiments:",
    commands: { sched: "schedulers: shares, replays, comparison with real Linux" },
    load: () => import("./sched.ts"),
  },
  {
    group: "Experiments:",
    commands: { trace: "statistics of a scheduler trace, real or ours, and its export" },
    load: () => import("./trace.ts"),
  },
  {
    group: "Experiments:",
    commands: { mm: "memory: fragmentation, real traces, eviction, seeded bugs" },
    load: () => import("./mm.ts"),
  },
  {
    group: "Drivers and real devices:",
    commands: { blk: "block drivers against simulated devices and QEMU's" },
    load: () => import("./blk.ts"),
  },
  {
    group: "Drivers and real devices:",
    commands: { nbd: "serve a disk of ours over NBD" },
    load: () => import("./nbd.ts"),
  },
  {
    group: "Drivers and real devices:",
    commands: { guest: "real Linux guests on our disks" },
    load: () => import("./guest.ts"),
  },
  {
    group: "File systems:",
    commands: { ext4: "recover, check and look into ext4 images" },
    load: () => import("./ext4.ts"),
  },
  {
    group: "File systems:",
    commands: { crash: "every state a crash can leave on a recorded disk, judged" },
    load: () => import("./crash.ts"),
  },
  {
    group: "Measure and try:",
    commands: { bench: "run a benchmark against its peers, or list them" },
    load: () => import("./bench.ts"),
  },
  {
    group: "Measure and try:",
    commands: { fuzz: "run a fuzz target, or list them" },
    load: () => import("./fuzz.ts"),
  },
  {
    group: "Runs:",
    commands: { replay: "repeat a recorded run and compare its event log" },
    load: () => import("./replay.ts"),
  },
  {
    group: "This installation:",
    commands: { doctor: "say what is missing here, and the one command that mends it" },
    load: () => import("./doctor.ts"),
  },
  {
    group: "This installation:",
    commands: { version: "print the versions of orrery and of what it stands on" },
    load: () => import("./version.ts"),
  },
  {
    group: "This installation:",
    commands: { completion: "print the completion script of a shell" },
    load: () => import("./completion.ts"),
  },
  {
    group: "This installation:",
    commands: { man: "print the manual page" },
    load: () => import("./manual.ts"),
  },
  {
    group: "",
    commands: { complete: "" },
    load: () => import("./complete.ts"),
  },
];

/** `orrery walk NAME`: one path through the system, from its first event to its last, as a real run took it. */
import type { Command } from "commander";
import { UserError } from "./exit.ts";
import { suggestion } from "./nearest.ts";

interface Walk {
  readonly help: string;
  readonly load: () => Promise<() => Promise<readonly string[]>>;
}

const WALKS: Readonly<Record<string, Walk>> = {
  page: {
    help: "kmalloc of 100 bytes down to a frame; then memory runs short, down to a kill",
    load: async () => (await import("../machine/walk_page.ts")).walkPage,
  },
  switch: {
    help: "a timer wakes a sleeper, which preempts a hog and blocks again",
    load: async () => (await import("../machine/walk_switch.ts")).walkSwitch,
  },
  call: {
    help: "a task of the whole machine writes and syncs: system call, journal, ring, interrupt, and back",
    load: async () => (await import("../machine/walk_call.ts")).walkCall,
  },
  "write-fsync": {
    help: "6000 bytes into a file of our ext4, through page cache and journal onto the disk",
    load: async () => (await import("../ext4/walk_write_fsync.ts")).walkWriteFsync,
  },
};

const NAME_WIDTH = Math.max(...Object.keys(WALKS).map((name) => name.length));

export function register(program: Command): void {
  const list = Object.entries(WALKS).map(([name, { help }]) => `  ${name.padEnd(NAME_WIDTH)}  ${help}`);
  program
    .command("walk")
    .description(`Print one path through the system as a real run took it.\n\n${list.join("\n")}`)
    .argument("<name>", "which")
    .action(async (name: string) => {
      const walk = WALKS[name];
      if (walk === undefined) throw new UserError(`no walk is named "${name}"${suggestion(name, Object.keys(WALKS))}`);
      process.stdout.write(`${(await (await walk.load())()).join("\n")}\n`);
    });
}

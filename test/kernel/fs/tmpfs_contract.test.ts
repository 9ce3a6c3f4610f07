import { Tmpfs } from "../../../kernel/fs/tmpfs/tmpfs.ts";
import { growingArena, load, save } from "../../../kernel/lib/growing_arena.ts";
import { fileSystemContract } from "../../contract/file_system.ts";

fileSystemContract({
  name: "tmpfs",
  make(small, now) {
    const memory = growingArena();
    const fs = new Tmpfs({ memory, pages: small ? 48 : 128, inodes: small ? 24 : 400, now });
    fs.reset();
    return { fs, save: () => save(memory), load: (saved) => load(memory, saved), check: () => fs.check() };
  },
});

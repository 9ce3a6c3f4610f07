/** What the commands of memory and drivers say to input that they cannot use: one line, the value, the way out, the code. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { EXIT } from "../../../harness/cli/exit.ts";
import { linesOf, orrery, scratch } from "../orrery.ts";

const KMEM = "x-1 [000] ..... 1.0: mm_page_alloc: page=0x1 pfn=0x10 order=0 migratetype=1 gfp_flags=GFP_KERNEL";

const FILES: Readonly<Record<string, string>> = {
  empty: "",
  garbage: "\u0000\u0001\u0002 no trace\n",
  cut: `${KMEM}\n${KMEM.slice(0, 60)}`,
  trace: `${KMEM}\n`,
};

const USAGE: readonly (readonly [command: string, says: RegExp])[] = [
  ["mm index", /required option '--free/],
  ["mm index --free garbage", /'garbage' is invalid/],
  ["mm index --free=-1", /'-1' is invalid/],
  ["mm index --free 1,2,3,4,5,6,7,8,9,10,11,12", /One to 11 whole numbers/],
  ["mm replay --trace none", /Cannot read none/],
  ["mm replay --trace empty", /empty has no page or slab events/],
  ["mm replay --trace garbage", /has no page or slab events|cut short/],
  ["mm replay --trace cut", /cut:2: the trace was cut short/],
  ["mm replay --trace trace --memory -5", /'-5' is invalid/],
  ["mm replay --trace trace --memory 17M", /no whole number of pageblocks/],
  ["mm replay --trace trace --after empty", /empty is no \/proc\/pagetypeinfo/],
  ["mm frag --seeds 0", /'0' is invalid/],
  ["mm frag --memory -64M", /'-64M' is invalid/],
  ["mm guest --memory 129M", /no whole number of pageblocks/],
  ["mm guest --seconds 0", /'0' is invalid/],
  ["mm evict --trace zipf --size -4", /'-4' is invalid/],
  ["mm evict --trace none --size 4", /no trace file none/],
  ["mm evict --trace zipf --size 4 --policy none", /no eviction policy "none"/],
  ["mm mutants --only 99", /no mutant 99/],
  ["blk verify --device none", /'none' is invalid. One of: sim-mmio/],
  ["blk verify --ops 0", /'0' is invalid/],
  ["blk verify --queue-size 2000", /'2000' is invalid/],
  ["blk hostile", /required option '--side/],
  ["blk hostile --side driver --oracle qemu", /use it with --side device/],
  ["nbd serve --disk mem:1M", /say where to listen/],
  ["nbd serve --disk mem:100 --socket s", /"mem:100" is no size/],
  ["nbd serve --disk none --socket s", /cannot open disk none: no such file/],
  ["nbd serve --disk mem:1M --socket none/s", /cannot listen on none\/s/],
  ["nbd serve --disk mem:1M --socket s --record none/log", /cannot open none\/log/],
  ["guest run --script none", /cannot run none: no such file/],
  ["guest run --script .", /cannot run .: it is a directory/],
  ["guest run --script empty --record log", /--record needs --disk/],
  ["guest durability --files 0", /'0' is invalid/],
  ["bench blk --device none", /no device "none" \(there is: sim-mmio/],
  ["bench mm --device sim-pci", /bench mm has no devices/],
];

function folder(): string {
  const cwd = scratch();
  for (const [name, text] of Object.entries(FILES)) writeFileSync(join(cwd, name), text);
  return cwd;
}

describe("one line and the code of a usage error", () => {
  it.concurrent.each(USAGE)("orrery %s", async (command, says) => {
    const { code, stdout, stderr } = await orrery(command.split(" "), { cwd: folder() });
    expect([code, stdout, linesOf(stderr).length]).toEqual([EXIT.usage, "", 1]);
    expect(stderr).toMatch(says);
  });
});

describe("without QEMU on PATH: the command that installs it, and code 4", () => {
  it.concurrent.each([
    "blk verify --device qemu-mmio --ops 10",
    "blk hostile --side device --oracle qemu --cases 10",
    "guest run --script empty",
    "guest durability --files 2 --images 1",
    "mm guest",
    "bench qemu --quick",
    "bench guest --quick",
    "bench blk --quick --device qemu-pci",
  ])("orrery %s", async (command) => {
    const cwd = folder();
    const bin = join(cwd, "bin");
    const { code, stderr } = await orrery(command.split(" "), { cwd, env: { PATH: bin } });
    expect([code, linesOf(stderr).length]).toEqual([EXIT.tool, 1]);
    expect(stderr).toMatch(/^orrery: cannot .*: \S+ is not on PATH; run "apt-get install -y \S+"/);
  });
});

/** File systems of a killed Linux, mounted by our ext4: recovered on the way, read, written, and unmounted cleanly. */
import { describe, expect, it } from "vitest";
import { O_CREAT, O_RDWR } from "../../../kernel/abi/fcntl.ts";
import { bareFs, isRefusal, mountOptions } from "../../../kernel/index.ts";
import { SimDisk } from "../../../drivers/index.ts";
import { CRASHED, lookInto, plainImage } from "./crashed.ts";

const NAME = "written here";
const data = Uint8Array.from({ length: 100_000 }, (_, at) => at % 253);

describe("a file system of a killed Linux", () => {
  it.each(CRASHED)("$name: mounted, one file more and one less, unmounted", (crashed) => {
    const image = plainImage(crashed);
    const mount = mountOptions("");
    if (typeof mount === "string") throw new Error(mount);
    const bare = bareFs({ device: new SimDisk({ sectors: image.length / 512, image }), mount });
    if (isRefusal(bare)) throw new Error(bare.reason);
    const { vfs, task } = bare;
    const call = (one: () => number): number => bare.run(one);
    const fd = call(() => vfs.open(task, `/${NAME}`, O_CREAT | O_RDWR, 0o600));
    expect(fd).toBeGreaterThanOrEqual(0);
    for (let done = 0; done < data.length;) {
      const wrote = call(() => vfs.write(task, fd, data.subarray(done)));
      expect(wrote).toBeGreaterThan(0);
      done += wrote;
    }
    expect([call(() => vfs.fsync(task, fd)), call(() => vfs.close(task, fd))]).toEqual([0, 0]);
    const gone = crashed.expected.find((line) => line.startsWith("f"))!;
    const path = gone.split(" ").slice(4).join(" ");
    expect(call(() => vfs.unlink(task, `/${path}`))).toBe(0);
    expect(bare.unmount()).toBe(0);
    const { tree, report } = lookInto(image);
    expect(report).toMatchObject({ clean: true, damage: [] });
    const here = tree.filter((line) => line.endsWith(` ${NAME}`));
    expect(here.map((line) => line.split(" ").slice(0, 3).join(" "))).toEqual([`f 600 ${data.length}`]);
    expect(tree.filter((line) => !here.includes(line))).toEqual(crashed.expected.filter((line) => line !== gone));
  });
});

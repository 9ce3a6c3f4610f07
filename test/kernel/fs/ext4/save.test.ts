/** A bare file system is saved between any two calls, whatever is in flight, and goes on from there on the same bytes. */
import { describe, expect, it } from "vitest";
import { EIOCBQUEUED } from "../../../../kernel/abi/errno.ts";
import { nextBelow, prng } from "../../../../kernel/lib/prng.ts";
import { bytesOf, call, contentOf, damageOf, emptyImage, type MountedOptions } from "./mounted_rig.ts";
import { mounted, pattern, statOf } from "./mounted_rig.ts";

const NEW = { mode: 0o100644, uid: 0, gid: 0 };
const FILES = 3;
const PAGE = 4096;

/** Few pages, so that they are read again and again; small blocks, so that a page is several requests. */
const KINDS: readonly MountedOptions[] = [
  { slow: true, pages: 64 },
  { slow: true, pages: 64, blockSize: 4096, mount: "data=writeback" },
];

describe("BareFs.save(), BareFs.load()", () => {
  for (const [kind, options] of KINDS.entries())
    it(`what is in flight is made again, reads and writes of file data among it: kind ${kind}`, () => {
      const image = emptyImage(options);
      let rig = mounted({ ...options, image: image.slice() });
      const chance = prng(20 + kind);
      const model = Array.from({ length: FILES }, () => new Uint8Array(0));
      const inodes = model.map((_, n) => {
        const { bare } = rig;
        const ino = bare.run(() => bare.fs.create(2, bytesOf(`f${n}`), NEW));
        expect(bare.fs.hold(ino)).toBe(0);
        return ino;
      });
      const into = new Uint8Array(6 * PAGE);
      const seen = { reads: 0, writes: 0 };
      for (let n = 0; n < 300; n++) {
        const { bare, clock } = rig;
        const which = nextBelow(chance, FILES);
        const ino = inodes[which]!;
        const what = nextBelow(chance, 4);
        // None of them is waited for: what it started stays in flight.
        if (what === 0) bare.fs.fsync(ino, false, call());
        else if (what === 1) bare.fs.read(ino, nextBelow(chance, 1 + model[which]!.length), into, 0);
        else {
          const at = nextBelow(chance, 150_000);
          const bytes = pattern(n, 1 + nextBelow(chance, 20_000));
          const done = bare.fs.write(ino, at, bytes, 0);
          expect(done > 0 || done === EIOCBQUEUED).toBe(true);
          const grown = new Uint8Array(Math.max(model[which]!.length, at + Math.max(0, done)));
          grown.set(model[which]!);
          grown.set(bytes.subarray(0, Math.max(0, done)), at);
          if (done > 0) model[which] = grown;
        }
        for (let steps = nextBelow(chance, 4); steps > 0; steps--)
          if (!bare.fs.step()) clock.now = Math.max(clock.now + 1, Math.min(rig.disk.nextAtNs, clock.now + 1e9));
        const { ioLeft, ioPages } = bare.fs.fs;
        for (const [io, left] of ioLeft.entries()) if (left > 0) seen[ioPages[io] === 0 ? "reads" : "writes"]++;
        if (n % 10 !== 9) continue;
        const saved = bare.save();
        const other = mounted({ ...options, image: image.slice() });
        other.disk.image.set(rig.disk.image);
        other.clock.now = clock.now;
        other.bare.load(saved);
        rig = other;
        rig.bare.cache.check();
        rig.bare.fs.fs.journal.check();
      }
      expect(Math.min(seen.reads, seen.writes)).toBeGreaterThan(20);
      const { bare } = rig;
      for (const [n, ino] of inodes.entries()) {
        expect(statOf(bare, ino).size).toBe(model[n]!.length);
        const reader = { fs: bare.fs, run: (make: () => number) => bare.run(make) };
        expect(Buffer.compare(contentOf(reader, ino, model[n]!.length), model[n]!), `file ${n}`).toBe(0);
        expect(bare.fs.release(ino)).toBe(0);
      }
      expect(bare.unmount()).toBe(0);
      expect(damageOf(rig.disk.image)).toEqual([]);
    });
});

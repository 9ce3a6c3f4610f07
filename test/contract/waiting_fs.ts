/**
 * A file system that has to wait: at random it answers EIOCBQUEUED before it asks the one behind it, for every call that
 * may (hold() may not). What was waited for is there when the call comes again, and stays until something changes: a
 * call that is made anew from its start gets further each time. Truncation and sync, which may be several attempts, count in `call` how often they were put off,
 * so that words which are lost or not zero at first are noticed.
 */
import { EIOCBQUEUED } from "../../kernel/abi/errno.ts";
import type { Errno } from "../../kernel/abi/units.ts";
import { assert } from "../../kernel/lib/assert.ts";
import { nextBelow, prng } from "../../kernel/lib/prng.ts";
import type { FileSystem } from "../../kernel/fs/vfs/file_system.ts";

const ALWAYS = new Set(["hold", "root", "waitingOn", "step", "check"]);
const LONG = new Set(["truncate", "fallocate", "fsync", "sync"]);
/** Calls that change nothing. */
const LOOKS = new Set([
  "getattr",
  "lookup",
  "parent",
  "readdir",
  "readlink",
  "read",
  "seek",
  "statfs",
  "getxattr",
  "listxattr",
]);
const TURNS = 3;

/** `once` in how many calls waits; `onWait` is told of each. */
export function waitingFs(behind: FileSystem, seed: number, once: number, onWait: () => void): FileSystem {
  const random = prng(seed);
  const arrived = new Set<string>();
  /** The words of the file system behind are its own; ours say that it has begun. */
  const words = new Map<number, Float64Array>();
  const wordsOf = (call: Float64Array): Float64Array => {
    const own = call[6] === 1 ? words.get(call.byteOffset)! : new Float64Array(call.length);
    call[6] = 1;
    words.set(call.byteOffset, own);
    return own;
  };
  const wait = (): Errno => {
    onWait();
    return EIOCBQUEUED;
  };
  return new Proxy(behind, {
    get(target, key): unknown {
      const member: unknown = Reflect.get(target, key);
      if (typeof member !== "function") return member;
      const method = member.bind(target) as (...args: unknown[]) => number;
      if (typeof key !== "string" || ALWAYS.has(key)) return method;
      if (!LONG.has(key))
        return (...args: unknown[]) => {
          const what = `${key} ${args.slice(0, 2).join(" ")}`;
          if (!arrived.has(what) && nextBelow(random, once) === 0) {
            arrived.add(what);
            return wait();
          }
          if (!LOOKS.has(key)) arrived.clear();
          return method(...args);
        };
      return (...args: unknown[]) => {
        const call = args.at(-1) as Float64Array;
        assert(
          call.length === 8 && call[0]! < TURNS && call[7] === -call[0]!,
          "waitingFs: words of a call were changed",
        );
        if (call[6] === 1 || nextBelow(random, once) > 0 || call[0] === TURNS - 1)
          return method(...args.slice(0, -1), wordsOf(call));
        call[0]! += 1;
        call[7] = -call[0]!;
        return wait();
      };
    },
  });
}

/** Modules come once each, behind what they depend on by their own word. */
import { expect, it } from "vitest";
import { dependsOf, withDependencies } from "../../../harness/qemu/modules.ts";

const MODULES: Readonly<Record<string, string>> = {
  btrfs: "zstd_compress,raid6_pq,xor",
  raid6_pq: "",
  xor: "raid6_pq",
  zstd_compress: "",
};
/** As modpost writes it: strings that end with a zero byte. */
const bytesOf = (name: string): Buffer =>
  Buffer.from(`\u007fELF\0code without depends=none\0license=GPL\0depends=${MODULES[name]!}\0name=${name}\0`, "latin1");

it("dependsOf() reads the string of .modinfo, and only that one", () => {
  expect(dependsOf(bytesOf("btrfs"))).toEqual(["zstd_compress", "raid6_pq", "xor"]);
  expect(dependsOf(bytesOf("raid6_pq"))).toEqual([]);
  expect(dependsOf(Buffer.from("no module"))).toEqual([]);
});

it("withDependencies() puts each module behind those it needs, once", () => {
  expect(withDependencies(["btrfs", "xor"], bytesOf)).toEqual(["zstd_compress", "raid6_pq", "xor", "btrfs"]);
});

/**
 * Benchmarks and fuzz targets are found by their files: harness/bench/NAME.ts exports `bench`, fuzz/NAME.ts exports
 * `target`. A new one is a new file and nothing else; helper files in the same folder export neither and are passed by.
 */
import { readdirSync } from "node:fs";
import type { AnyFuzzTarget } from "../../fuzz/target.ts";
import { modulePath } from "../../kernel/lib/module_path.ts";
import type { Bench } from "../bench/bench.ts";
import { UserError } from "./exit.ts";
import { suggestion } from "./nearest.ts";

export interface Kind<Item> {
  /** For error lines: `benchmark`. */
  readonly what: string;
  /** The file beside which the others lie. */
  readonly beside: URL;
  /** Name of the export. */
  readonly key: string;
  /** Only here for the type. */
  readonly item?: Item;
}

export const TARGETS: Kind<AnyFuzzTarget> = {
  what: "fuzz target",
  beside: modulePath("../../fuzz/target.ts", import.meta.url),
  key: "target",
};

export const BENCHES: Kind<Bench> = {
  what: "benchmark",
  beside: modulePath("../bench/bench.ts", import.meta.url),
  key: "bench",
};

/** Names by file, sorted; those that export nothing of the kind among them. A worker's entry runs when it is loaded. */
function fileNames(kind: Kind<unknown>): string[] {
  const self = kind.beside.pathname.split("/").at(-1)!;
  const extension = self.slice(self.lastIndexOf("."));
  return readdirSync(new URL(".", kind.beside))
    .filter((file) => file.endsWith(extension) && !/\.d\.ts$|_worker\.[jt]s$/.test(file) && file !== self)
    .map((file) => file.slice(0, -extension.length))
    .sort();
}

export const fileOf = (kind: Kind<unknown>, name: string): URL => modulePath(`./${name}.ts`, kind.beside.href);

/** The item of that name; a mistake names the nearest. */
export async function loadItem<Item>(kind: Kind<Item>, name: string): Promise<Item> {
  const names = fileNames(kind);
  const item = names.includes(name) ? await itemIn(kind, name) : undefined;
  if (item !== undefined) return item;
  const known = (await loadAll(kind)).map(([known]) => known);
  throw new UserError(`no ${kind.what} is named "${name}"${suggestion(name, known)}`);
}

export async function loadAll<Item>(kind: Kind<Item>): Promise<[name: string, item: Item][]> {
  const found: [string, Item][] = [];
  for (const name of fileNames(kind)) {
    const item = await itemIn(kind, name);
    if (item !== undefined) found.push([name, item]);
  }
  return found;
}

async function itemIn<Item>(kind: Kind<Item>, name: string): Promise<Item | undefined> {
  const module = (await import(fileOf(kind, name).href)) as Readonly<Record<string, Item | undefined>>;
  return module[kind.key];
}

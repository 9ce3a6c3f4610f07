/**
 * Reads the page and slab events of an ftrace text (`trace` of tracefs, gzipped or not).
 *
 * - readKmemTrace(path)   events in order; UserError when the file cannot be read or has none
 */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { GFP } from "../../mm/index.ts";
import { UserError } from "../cli/exit.ts";

export type KmemEvent =
  | { readonly kind: "page_alloc"; pfn: number; order: number; type: number; gfp: number }
  | { readonly kind: "page_free"; pfn: number; order: number }
  /** A list of pages is being freed; each page's own page_free follows where that event was recorded too. */
  | { readonly kind: "page_free_batched"; pfn: number; order: number }
  | { readonly kind: "slab_alloc"; ptr: string; bytes: number; cacheBytes: number; kmalloc: boolean; gfp: number }
  | { readonly kind: "slab_free"; ptr: string };

const LINE = /^.{0,80}?\[\d+\][^:]*\s[\d.]+: (\w+): (.*)$/;
const NAMES: Readonly<Record<string, number>> = GFP;

/** Flags by name; a name that is unknown (a newer kernel's) asks for nothing we know. */
export const parseGfp = (text: string): number =>
  text.split("|").reduce((flags, name) => flags | (NAMES[name] ?? (name.startsWith("0x") ? Number(name) : 0)), 0);

function fields(text: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const [, key, value] of text.matchAll(/(\w+)=(\S+)/g)) found.set(key!, value!);
  return found;
}

function parseEvent(name: string, text: string): KmemEvent | undefined {
  const at = fields(text);
  const number = (key: string): number => Number(at.get(key));
  switch (name) {
    case "mm_page_alloc": {
      const gfp = parseGfp(at.get("gfp_flags") ?? "");
      return { kind: "page_alloc", pfn: number("pfn"), order: number("order"), type: number("migratetype"), gfp };
    }
    case "mm_page_free":
      return { kind: "page_free", pfn: number("pfn"), order: number("order") };
    case "mm_page_free_batched":
      return { kind: "page_free_batched", pfn: number("pfn"), order: 0 };
    case "kmalloc":
    case "kmalloc_node":
    case "kmem_cache_alloc":
    case "kmem_cache_alloc_node":
      return {
        kind: "slab_alloc",
        ptr: at.get("ptr") ?? "",
        bytes: number("bytes_req"),
        cacheBytes: number("bytes_alloc"),
        kmalloc: name.startsWith("kmalloc"),
        gfp: parseGfp(at.get("gfp_flags") ?? ""),
      };
    case "kfree":
    case "kmem_cache_free":
      return { kind: "slab_free", ptr: at.get("ptr") ?? "" };
    default:
      return undefined;
  }
}

const whole = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;

function sound(event: KmemEvent): boolean {
  if (event.kind === "page_alloc")
    return whole(event.pfn) && event.order >= 0 && event.order <= 10 && whole(event.type);
  if (event.kind === "page_free" || event.kind === "page_free_batched")
    return whole(event.pfn) && event.order >= 0 && event.order <= 10;
  return event.ptr !== "" && (event.kind === "slab_free" || (event.bytes >= 0 && event.cacheBytes > 0));
}

export function readText(path: string): string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
    if (bytes[0] === 0x1f && bytes[1] === 0x8b) bytes = gunzipSync(bytes);
  } catch (error) {
    throw new UserError(`Cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
  return bytes.toString("utf8");
}

export function readKmemTrace(path: string): KmemEvent[] {
  const events: KmemEvent[] = [];
  const lines = readText(path).split("\n");
  // ftrace ends every line: what stands behind the last end was cut, in the middle of a number perhaps.
  const rest = lines.pop()!;
  if (rest !== "")
    throw new UserError(
      `${path}:${lines.length + 1}: the trace was cut short; if its last line is whole, end it: ${rest.trim()}`,
    );
  for (const [index, line] of lines.entries()) {
    const match = line.startsWith("#") ? null : LINE.exec(line);
    const event = match === null ? undefined : parseEvent(match[1]!, match[2]!);
    if (event === undefined) continue;
    if (!sound(event)) throw new UserError(`${path}:${index + 1}: an event that cannot be read: ${line.trim()}`);
    events.push(event);
  }
  if (events.length === 0)
    throw new UserError(`${path} has no page or slab events; record it with events/kmem enabled (mm_page_alloc, ...)`);
  // Only where frees were not recorded one by one do the batched ones stand for them.
  const single = events.some((event) => event.kind === "page_free");
  return single
    ? events
    : events.map((event) => (event.kind === "page_free_batched" ? { ...event, kind: "page_free" } : event));
}

/**
 * The buddy map: what every frame of a machine is, for a terminal and as data for a drawing.
 *
 * - mapCells(mm, framesPerCell)   one Cell for each run of frames
 * - mapRows(cells, columns)       lines of text, one character a cell (GLYPHS)
 */
import { Kind, Migrate, PAGEBLOCK_ORDER, type PageAlloc } from "../../mm/index.ts";

/** What a cell shows, from the worst for a huge page to the best. */
export const Cell = { Pinned: 0, Full: 1, Part: 2, Pieces: 3, Huge: 4 } as const;
export type Cell = (typeof Cell)[keyof typeof Cell];

export const GLYPHS = ["#", "o", "-", ".", " "] as const;
export const MEANINGS = [
  "# holds a page that cannot be moved",
  "o movable pages",
  "- movable pages and free ones",
  ". free, in pieces smaller than 2 MiB",
  "  free, in blocks of 2 MiB and more",
] as const;

/** One byte a frame: 0 free in a huge block, 1 free in pieces, 2 movable, 3 not movable (or on a CPU's list). */
function frameKinds(mm: PageAlloc): Uint8Array {
  const { state, shape } = mm.map;
  const kinds = new Uint8Array(shape.frames).fill(3);
  for (let pfn = 0; pfn < shape.frames;) {
    const byte = state[pfn]!;
    const kind = byte >> 6;
    const order = byte & 15;
    const frames = kind === Kind.Tail ? 1 : 1 << order;
    const movable = kind === Kind.Allocated && ((byte >> 4) & 3) === Migrate.Movable;
    if (kind === Kind.Free) kinds.fill(order >= PAGEBLOCK_ORDER ? 0 : 1, pfn, pfn + frames);
    else if (movable) kinds.fill(2, pfn, pfn + frames);
    pfn += frames;
  }
  return kinds;
}

export function mapCells(mm: PageAlloc, framesPerCell: number): Cell[] {
  const kinds = frameKinds(mm);
  const cells: Cell[] = [];
  for (let at = 0; at < kinds.length; at += framesPerCell) {
    const part = kinds.subarray(at, at + framesPerCell);
    if (part.includes(3)) cells.push(Cell.Pinned);
    else if (!part.includes(2)) cells.push(part.includes(1) ? Cell.Pieces : Cell.Huge);
    else cells.push(part.includes(1) || part.includes(0) ? Cell.Part : Cell.Full);
  }
  return cells;
}

export function mapRows(cells: readonly Cell[], columns: number): string[] {
  const rows: string[] = [];
  for (let at = 0; at < cells.length; at += columns)
    rows.push(
      cells
        .slice(at, at + columns)
        .map((cell) => GLYPHS[cell])
        .join(""),
    );
  return rows;
}

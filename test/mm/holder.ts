/** Somebody who holds movable pages, as a process holds its memory: knows each by an id, and can be asked to move. */
import type { MovablePages } from "../../kernel/abi/reclaim.ts";
import type { Pfn } from "../../kernel/abi/units.ts";

export class Holder implements MovablePages {
  readonly at = new Map<number, { id: number; order: number }>();
  readonly where = new Map<number, number>();
  readonly busy = new Set<number>();
  moves = 0;

  add(pfn: number, order: number, id: number): void {
    this.at.set(pfn, { id, order });
    this.where.set(id, pfn);
  }

  drop(id: number): { pfn: Pfn; order: number } {
    const pfn = this.where.get(id)!;
    const { order } = this.at.get(pfn)!;
    this.where.delete(id);
    this.at.delete(pfn);
    return { pfn: pfn as Pfn, order };
  }

  migrate(from: Pfn, to: Pfn, order: number): boolean {
    const page = this.at.get(from);
    if (page === undefined || page.order !== order || this.busy.has(from)) return false;
    this.at.delete(from);
    this.add(to, order, page.id);
    this.moves += 1 << order;
    return true;
  }
}

/**
 * The buddy system as one would explain it: lists are JavaScript arrays, everything is searched. Same policy as
 * mm/buddy.ts and mm/steal.ts for one zone, written apart from them; tests compare frame by frame.
 */
export interface SlowBlock {
  pfn: number;
  order: number;
}

const FALLBACK: readonly (readonly number[])[] = [
  [2, 1],
  [2, 0],
  [0, 1],
];

export class SlowBuddy {
  readonly lists: SlowBlock[][][];
  readonly blockType: number[];
  readonly movable = new Map<number, number>();
  readonly frames: number;
  readonly orderMax: number;
  readonly blockOrder: number;

  constructor(frames: number, orderMax: number, blockOrder: number) {
    this.frames = frames;
    this.orderMax = orderMax;
    this.blockOrder = blockOrder;
    this.lists = Array.from({ length: 4 }, () => Array.from({ length: orderMax + 1 }, () => []));
    this.blockType = Array.from({ length: frames >> blockOrder }, () => 1);
    for (let pfn = 0; pfn < frames; pfn += 1 << orderMax) this.lists[1]![orderMax]!.push({ pfn, order: orderMax });
  }

  take(order: number, type: number): number {
    for (let size = order; size <= this.orderMax; size++) {
      const block = this.lists[type]![size]!.shift();
      if (block === undefined) continue;
      for (let half = size - 1; half >= order; half--)
        this.lists[type]![half]!.unshift({ pfn: block.pfn + 2 ** half, order: half });
      return block.pfn;
    }
    return -1;
  }

  rmqueue(order: number, type: number): number {
    const own = this.take(order, type);
    if (own !== -1) return own;
    for (let size = this.orderMax; size >= order; size--) {
      const from = FALLBACK[type]!.find((other) => this.lists[other]![size]!.length > 0);
      if (from === undefined) continue;
      const whole = size >= Math.floor(this.blockOrder / 2) || type !== 1;
      if (whole || size === order) this.steal(from, size, type, whole);
      else {
        let small = order;
        while (!FALLBACK[type]!.some((other) => this.lists[other]![small]!.length > 0)) small++;
        const smallFrom = FALLBACK[type]!.find((other) => this.lists[other]![small]!.length > 0)!;
        this.steal(smallFrom, small, type, small >= Math.floor(this.blockOrder / 2));
      }
      return this.take(order, type);
    }
    return -1;
  }

  private steal(from: number, order: number, type: number, whole: boolean): void {
    const block = this.lists[from]![order]![0]!;
    const size = 2 ** this.blockOrder;
    const index = Math.floor(block.pfn / size);
    if (order >= this.blockOrder) {
      for (let at = 0; at < 2 ** (order - this.blockOrder); at++) this.blockType[index + at] = type;
      this.relist(block, from, type);
      return;
    }
    if (!whole) {
      this.relist(block, from, type);
      return;
    }
    const start = index * size;
    let free = 0;
    let movable = 0;
    for (let pfn = start; pfn < start + size; pfn++) {
      movable += this.movable.has(pfn) ? 2 ** this.movable.get(pfn)! : 0;
      for (let other = 0; other < 4; other++)
        for (const list of this.lists[other]!) {
          const found = list.find((candidate) => candidate.pfn === pfn);
          if (found === undefined || free > pfn - start + size) continue;
          free += 2 ** found.order;
          this.relist(found, other, type);
          other = 4;
          break;
        }
    }
    const old = this.blockType[index]!;
    const alike = type === 1 ? movable : old === 1 ? size - free - movable : 0;
    if (free + alike >= size / 2) this.blockType[index] = type;
  }

  private relist(block: SlowBlock, from: number, to: number): void {
    const list = this.lists[from]![block.order]!;
    list.splice(list.indexOf(block), 1);
    this.lists[to]![block.order]!.push(block);
  }

  private findFree(pfn: number, order: number): SlowBlock[] | undefined {
    return this.lists.map((orders) => orders[order]!).find((list) => list.some((block) => block.pfn === pfn));
  }

  put(pfn: number, order: number, type: number): void {
    let head = pfn;
    let size = order;
    for (; size < this.orderMax; size++) {
      const half = 2 ** size;
      const buddy = Math.floor(head / half) % 2 === 0 ? head + half : head - half;
      const list = this.findFree(buddy, size);
      if (list === undefined) break;
      list.splice(
        list.findIndex((block) => block.pfn === buddy),
        1,
      );
      head = Math.min(head, buddy);
    }
    let likely = false;
    if (size < this.orderMax - 1) {
      const pair = 2 ** (size + 1);
      const above = Math.floor(head / pair) * pair;
      const aboveBuddy = Math.floor(above / pair) % 2 === 0 ? above + pair : above - pair;
      likely = this.findFree(aboveBuddy, size + 1) !== undefined;
    }
    const list = this.lists[type]![size]!;
    if (likely) list.push({ pfn: head, order: size });
    else list.unshift({ pfn: head, order: size });
  }
}

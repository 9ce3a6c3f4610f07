/** Why a free is wrong, as the panic that names frame, order and last owner. Called before anything was changed. */
import type { Pfn } from "../kernel/abi/units.ts";
import { panic } from "../kernel/lib/assert.ts";
import { Kind, type Memmap } from "./memmap.ts";

export function badFree(map: Memmap, pfn: Pfn, order: number): never {
  const name = `frame 0x${pfn.toString(16)} order ${order}`;
  const inside = Number.isInteger(pfn) && pfn >= 0 && pfn < map.shape.frames;
  const head = inside ? map.blockAround(pfn) : -1;
  if (head === -1) panic(`free: wild free of ${name}: no such block, last owner none`);
  const state = map.state[head]!;
  const held = state & 15;
  const owner = `last owner ${map.owner[head]!}`;
  if (state >> 6 !== Kind.Allocated) panic(`free: double free of ${name}: already free, ${owner}`);
  if (head !== pfn)
    panic(`free: misaligned free of ${name}: inside the block 0x${head.toString(16)} order ${held}, ${owner}`);
  panic(`free: ${name}: the block was allocated with order ${held}, ${owner}`);
}

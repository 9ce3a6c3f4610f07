/**
 * The arithmetic of the buddy system, written once over a small set of bit operations: the allocator runs it on
 * numbers, and test/mm/smt.test.ts runs the very same functions on 32-bit vectors and proves them for every frame.
 *
 * A frame's state byte (mm/memmap.ts):   7 6 | 5 4        | 3 2 1 0
 *                                        kind | migratetype | order
 *
 * - buddyOf(ops, pfn, order)    the neighbour it merges with
 * - mergedOf(ops, pfn, order)   head of the block that both make
 * - upperHalf(ops, pfn, order)  the half given back when a block of order + 1 is split
 * - offsetIn(ops, pfn, order)   0 when pfn is aligned to the order
 * - headOf(ops, pfn, order)     head of the aligned block around pfn
 * - packState, kindOf, typeOf, orderOf, listOf, mismatch   the state byte and its parts
 * - lowestBit(ops, mask)        smallest non-empty order, as a one-bit mask
 */
export interface BitOps<T> {
  constant(value: number): T;
  and(a: T, b: T): T;
  or(a: T, b: T): T;
  xor(a: T, b: T): T;
  add(a: T, b: T): T;
  sub(a: T, b: T): T;
  not(a: T): T;
  shl(a: T, by: T): T;
  /** Logical: zeros come in from the left. */
  shr(a: T, by: T): T;
}

/** The machine's own: 32-bit integers. */
export const INT32: BitOps<number> = {
  constant: (value) => value,
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  add: (a, b) => (a + b) | 0,
  sub: (a, b) => (a - b) | 0,
  not: (a) => ~a,
  shl: (a, by) => a << by,
  shr: (a, by) => a >>> by,
};

const sizeOf = <T>(ops: BitOps<T>, order: T): T => ops.shl(ops.constant(1), order);

export const buddyOf = <T>(ops: BitOps<T>, pfn: T, order: T): T => ops.xor(pfn, sizeOf(ops, order));

export const mergedOf = <T>(ops: BitOps<T>, pfn: T, order: T): T => ops.and(pfn, ops.not(sizeOf(ops, order)));

export const upperHalf = <T>(ops: BitOps<T>, pfn: T, order: T): T => ops.add(pfn, sizeOf(ops, order));

export const offsetIn = <T>(ops: BitOps<T>, pfn: T, order: T): T =>
  ops.and(pfn, ops.sub(sizeOf(ops, order), ops.constant(1)));

export const headOf = <T>(ops: BitOps<T>, pfn: T, order: T): T => ops.sub(pfn, offsetIn(ops, pfn, order));

export const packState = <T>(ops: BitOps<T>, kind: T, type: T, order: T): T =>
  ops.or(ops.or(ops.shl(kind, ops.constant(6)), ops.shl(type, ops.constant(4))), order);

export const kindOf = <T>(ops: BitOps<T>, state: T): T => ops.shr(state, ops.constant(6));
export const typeOf = <T>(ops: BitOps<T>, state: T): T => ops.and(ops.shr(state, ops.constant(4)), ops.constant(3));
export const orderOf = <T>(ops: BitOps<T>, state: T): T => ops.and(state, ops.constant(15));
/** Number of the free list a free block is on: its migratetype and order together. */
export const listOf = <T>(ops: BitOps<T>, state: T): T => ops.and(state, ops.constant(63));

/** 0 when the state byte says `order` and a kind, of whatever migratetype; `kindBits` is that kind << 6. */
export const mismatch = <T>(ops: BitOps<T>, state: T, kindBits: T, order: T): T =>
  ops.xor(ops.and(state, ops.constant(0xcf)), ops.or(kindBits, order));

export const lowestBit = <T>(ops: BitOps<T>, mask: T): T => ops.and(mask, ops.sub(ops.constant(0), mask));

/**
 * Doubly linked circular lists whose nodes are numbers: next[n] and prev[n] are the neighbours of node n. The head of a
 * list is a node of its own (a number beyond the slots), so that no operation has a special case, as Linux's list_head.
 * From the head, `next` leads to the newest node (front) and `prev` to the oldest (back).
 */

/** Makes `head` an empty list. */
export function listInit(next: Int32Array, prev: Int32Array, head: number): void {
  next[head] = head;
  prev[head] = head;
}

/** Puts `node`, which is in no list, right behind `at` (a head: to the front). */
export function listAdd(next: Int32Array, prev: Int32Array, at: number, node: number): void {
  const after = next[at]!;
  next[node] = after;
  prev[node] = at;
  next[at] = node;
  prev[after] = node;
}

/** Takes `node` out of its list; its own links are stale afterwards. */
export function listDel(next: Int32Array, prev: Int32Array, node: number): void {
  const before = prev[node]!;
  const after = next[node]!;
  next[before] = after;
  prev[after] = before;
}

/** Takes `node` out of its list and puts it behind `at`. */
export function listMove(next: Int32Array, prev: Int32Array, at: number, node: number): void {
  listDel(next, prev, node);
  listAdd(next, prev, at, node);
}

/** Nodes between `head` and itself; -1 when the links disagree or there are more than `bound`. */
export function listCount(next: Int32Array, prev: Int32Array, head: number, bound: number): number {
  let count = 0;
  for (let node = next[head]!; node !== head; node = next[node]!) {
    if (prev[next[node]!] !== node || ++count > bound) return -1;
  }
  return prev[next[head]!] === head ? count : -1;
}

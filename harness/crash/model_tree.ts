/**
 * A file system as a workload's calls leave it, in the plainest way there is, and as it was after each of them: what
 * crash states are compared with. Files are objects with a number; each keeps every content it ever had.
 *
 *   step k     the k-th call of the workload has ended; step 0 is the empty root
 *
 * - new ModelTree()              apply(step, change) for each call that changes something
 * - tree.namesAt(k)              path -> node number, as of step k
 * - tree.versions(node)          contents in order: the step from which each is the file's
 */
export type NodeKind = "file" | "dir" | "link";

export interface Version {
  readonly step: number;
  readonly content: Uint8Array;
}

export interface ModelNode {
  readonly id: number;
  readonly kind: NodeKind;
  /** Of a symbolic link. */
  readonly target: string;
  readonly versions: Version[];
  /** Step -> attributes from then on, sorted by step. */
  readonly xattrs: { readonly step: number; readonly values: ReadonlyMap<string, string> }[];
}

export class ModelTree {
  readonly nodes: ModelNode[] = [];
  /** Names after each step; entries only where they changed. */
  readonly #names: { readonly step: number; readonly names: ReadonlyMap<string, number> }[] = [
    { step: 0, names: new Map() },
  ];

  namesAt(step: number): ReadonlyMap<string, number> {
    return this.#names.findLast((one) => one.step <= step)!.names;
  }

  find(path: string): ModelNode | undefined {
    const id = this.#names.at(-1)!.names.get(path);
    return id === undefined ? undefined : this.nodes[id];
  }

  #rename(step: number, change: (names: Map<string, number>) => void): void {
    const names = new Map(this.#names.at(-1)!.names);
    change(names);
    this.#names.push({ step, names });
  }

  make(step: number, path: string, kind: NodeKind, target = ""): ModelNode {
    const node: ModelNode = {
      id: this.nodes.length,
      kind,
      target,
      versions: [{ step, content: new Uint8Array(0) }],
      xattrs: [{ step, values: new Map() }],
    };
    this.nodes.push(node);
    this.#rename(step, (names) => names.set(path, node.id));
    return node;
  }

  link(step: number, from: string, to: string): void {
    this.#rename(step, (names) => names.set(to, names.get(from)!));
  }

  remove(step: number, path: string): void {
    this.#rename(step, (names) => names.delete(path));
  }

  /** With all that is below it. What was at `to` is gone. */
  move(step: number, from: string, to: string): void {
    this.#rename(step, (names) => {
      const moved = [...names].filter(([path]) => path === from || path.startsWith(`${from}/`));
      // Two names of one file: rename(2) does nothing.
      if (names.get(from) === names.get(to)) return;
      for (const [path] of moved) names.delete(path);
      for (const [path, id] of moved) names.set(to + path.slice(from.length), id);
    });
  }

  content({ versions }: ModelNode): Uint8Array {
    return versions.at(-1)!.content;
  }

  setContent(step: number, node: ModelNode, content: Uint8Array): void {
    node.versions.push({ step, content });
  }

  write(step: number, node: ModelNode, offset: number, bytes: Uint8Array): void {
    const before = this.content(node);
    const content = new Uint8Array(Math.max(before.length, offset + bytes.length));
    content.set(before);
    content.set(bytes, offset);
    this.setContent(step, node, content);
  }

  resize(step: number, node: ModelNode, size: number): void {
    const content = new Uint8Array(size);
    content.set(this.content(node).subarray(0, size));
    this.setContent(step, node, content);
  }

  setXattr(step: number, node: ModelNode, name: string, value: string | undefined): void {
    const values = new Map(node.xattrs.at(-1)!.values);
    if (value === undefined) values.delete(name);
    else values.set(name, value);
    node.xattrs.push({ step, values });
  }
}

/** Contents that a file may have between two steps: those it had, from the one at the first step on. */
export function versionsBetween({ versions }: ModelNode, from: number, to: number): Version[] {
  const first = versions.findLastIndex((version) => version.step <= from);
  return versions.slice(Math.max(0, first)).filter((version) => version.step <= to);
}

export const xattrsAt = ({ xattrs }: ModelNode, step: number): ReadonlyMap<string, string> =>
  (xattrs.findLast((one) => one.step <= step) ?? xattrs[0]!).values;

/** A broken invariant is a panic: the only exception thrown inside the machine, caught once at its edge. */
export class KernelPanic extends Error {
  override readonly name = "KernelPanic";
}

/** Values are joined only on the way out, so that a passing check costs no text. */
export function panic(message: string, ...values: readonly (number | string)[]): never {
  throw new KernelPanic(values.length === 0 ? message : `${message}: ${values.join(" ")}`);
}

/** Never compiled out. `message` is constant text: a template would be built on every passing call. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) panic(message);
}
